"""What an upload client sends beside the file."""

from __future__ import annotations

from caseus.checks.form import Form
from support.packages import sha256


def form_for(name: str, version: str, filename: str, data: bytes, **changes: str) -> Form:
    """The fields of a correct upload (twine 7), with changes."""
    filetype = "bdist_wheel" if filename.endswith(".whl") else "sdist"
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": name,
        "version": version,
        "filetype": filetype,
        "pyversion": "py3" if filetype == "bdist_wheel" else "source",
        "sha256_digest": sha256(data),
    }
    return Form.parse((fields | changes).items())
