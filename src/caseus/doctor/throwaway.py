"""A tiny package that `--upload` publishes, and the form that it goes in."""

from __future__ import annotations

import hashlib
import io
import secrets
import zipfile
from collections.abc import Mapping
from typing import Final, NamedTuple

PROJECT: Final = "caseus-doctor-throwaway"
_MODULE: Final = PROJECT.replace("-", "_")
_EPOCH: Final = (2024, 1, 1, 0, 0, 0)


class Package(NamedTuple):
    version: str
    filename: str
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def wheel(version: str, content: str = "") -> Package:
    """A wheel with nothing in it but a word; `content` makes other bytes of the same version."""
    info = f"{_MODULE}-{version}.dist-info"
    members = {
        f"{_MODULE}.py": f"{content!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {version}\n"
        "Summary: Published by caseus doctor --upload; may be deleted\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: caseus doctor\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*members, f"{info}/RECORD"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), text)
    return Package(version, f"{_MODULE}-{version}-py3-none-any.whl", buffer.getvalue())


def form(fields: Mapping[str, str], package: Package | None) -> tuple[bytes, str]:
    """(body, Content-Type) of a multipart form, with the package as its `content` if there is one."""
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Disposition: form-data; name="
    body = "".join(f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()).encode()
    if package is not None:
        part = f'{head}"content"; filename="{package.filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        body += part.encode() + package.data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
