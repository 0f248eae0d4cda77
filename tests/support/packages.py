"""Small real packages, made in memory: bytes that pip and uv install."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

EPOCH = (2024, 1, 1, 0, 0, 0)


def metadata(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extra: str = "",
    description: str = "",
) -> bytes:
    """Core metadata 2.1 as wheels and sdists carry it."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", f"Summary: The package {name}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    return ("\n".join(lines) + "\n" + extra + "\n" + description).encode()


def make_wheel(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    content: bytes = b"",
    files: Mapping[str, bytes] | None = None,
    metadata_bytes: bytes | None = None,
    compress: bool = True,
    tag: str = "py3-none-any",
) -> tuple[str, bytes]:
    """(filename, bytes) of a wheel with one module; `content` makes two builds of one version differ."""
    module = name.replace("-", "_").replace(".", "_").lower()
    info = f"{module}-{version}.dist-info"
    members: dict[str, bytes] = {
        f"{module}/__init__.py": f"version = {version!r}\n".encode() + content,
        **(files or {}),
        f"{info}/METADATA": metadata_bytes
        if metadata_bytes is not None
        else metadata(name, version, requires=requires, requires_python=requires_python),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n{_tags(tag)}".encode(),
    }
    record = "".join(f"{path},{_record_hash(data)},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), data, method)
    return f"{module}-{version}-{tag}.whl", buffer.getvalue()


def make_sdist(
    name: str, version: str, *, requires_python: str | None = None, content: bytes = b"", pkg_info: bytes | None = None
) -> tuple[str, bytes]:
    """(filename, bytes) of a source distribution (PEP 625) that flit_core builds."""
    module = name.replace("-", "_").replace(".", "_").lower()
    top = f"{module}-{version}"
    pyproject = (
        '[build-system]\nrequires = ["flit_core>=3.2"]\nbuild-backend = "flit_core.buildapi"\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndescription = "The package {name}"\n'
    )
    members = {
        f"{top}/PKG-INFO": pkg_info
        if pkg_info is not None
        else metadata(name, version, requires_python=requires_python),
        f"{top}/pyproject.toml": pyproject.encode(),
        f"{top}/{module}/__init__.py": f"version = {version!r}\n".encode() + content,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for path, data in members.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mtime = 1_704_067_200
            archive.addfile(entry, io.BytesIO(data))
    return f"{top}.tar.gz", buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tags(compressed: str) -> str:
    """One line for each tag of a set such as py2.py3-none-any (PEP 425)."""
    pythons, abi, platform = compressed.split("-")
    return "".join(f"Tag: {python}-{abi}-{platform}\n" for python in pythons.split("."))


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
