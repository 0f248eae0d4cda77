"""OpenSSL's own client."""

from __future__ import annotations

import subprocess


def s_client(port: int, *flags: str, send: bytes = b"") -> str:
    """What `openssl s_client` says when it connects to a port of this machine, and what it is answered."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *flags],
        input=send, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).decode(errors="replace")
