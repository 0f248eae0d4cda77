from __future__ import annotations

import hashlib
import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from caseus.checks import limits
from caseus.checks.archive import read_metadata, read_wheel_metadata
from caseus.errors import Invalid, Unavailable
from support.packages import make_wheel, metadata

WHEEL = "acme_tool-1.0-py3-none-any.whl"
INFO = "acme_tool-1.0.dist-info"
META = metadata("acme-tool", "1.0")
MEMBERS = {f"{INFO}/METADATA": META, f"{INFO}/WHEEL": b"Wheel-Version: 1.0\n", f"{INFO}/RECORD": b""}
MIB = 1 << 20


class CountingReader(io.BytesIO):
    """Counts the bytes that were read."""

    count = 0

    def read(self, n: int | None = -1, /) -> bytes:
        data = super().read(n)
        self.count += len(data)
        return data


def make_zip(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def faults(data: bytes, filename: str = WHEEL) -> tuple[str, ...]:
    with pytest.raises(Invalid) as refused:
        read_metadata(filename, io.BytesIO(data))
    assert all(fault.isascii() and fault.isprintable() and len(fault) < 200 for fault in refused.value.faults)
    return refused.value.faults


@pytest.mark.parametrize(
    ("name", "version"),
    [("acme-tool", "1.0"), ("Acme.Tool", "1.0"), ("acme", "1.0+local.1"), ("acme", "1!2.0"), ("acme", "1.0.dev1")],
)
def test_metadata_of_a_wheel_byte_for_byte(name: str, version: str) -> None:
    filename, data = make_wheel(name, version)
    assert read_metadata(filename, io.BytesIO(data)) == metadata(name, version)
    assert read_wheel_metadata(io.BytesIO(data), filename) == metadata(name, version)


@pytest.mark.parametrize("folder", ["Acme.Tool-1.0.dist-info", "acme-tool-1.0.0.dist-info", "acme_tool-v1.dist-info"])
def test_the_folder_may_be_spelt_otherwise(folder: str) -> None:
    data = make_zip({name.replace(INFO, folder): content for name, content in MEMBERS.items()})
    assert read_metadata(WHEEL, io.BytesIO(data)) == META


def test_platform_wheels_of_plain_linux_are_fine() -> None:
    assert read_metadata("acme_tool-1.0-1-cp311-cp311-linux_x86_64.whl", io.BytesIO(make_zip(MEMBERS))) == META


def test_stored_members_are_fine() -> None:
    assert read_metadata(WHEEL, io.BytesIO(make_zip(MEMBERS, zipfile.ZIP_STORED))) == META


@pytest.mark.parametrize(
    ("folder", "told"),
    [("other-1.0.dist-info", "is not that of acme-tool 1.0"), ("acme_tool-1.1.dist-info", "is not that of"),
     ("acme_tool.dist-info", "is not that of"), ("acme_tool-x.dist-info", "is not that of")],
)  # fmt: skip
def test_a_folder_of_another_wheel_is_refused(folder: str, told: str) -> None:
    data = make_zip({name.replace(INFO, folder): content for name, content in MEMBERS.items()})
    assert told in faults(data)[0]


def test_every_missing_file_is_told() -> None:
    assert faults(make_zip({f"{INFO}/other": b""})) == (
        "the wheel has no METADATA in its .dist-info folder",
        "the wheel has no WHEEL in its .dist-info folder",
        "the wheel has no RECORD in its .dist-info folder",
    )


def test_no_or_several_dist_infos_are_refused() -> None:
    assert faults(make_zip({"acme/__init__.py": b"", f"nested/{INFO}/METADATA": b""})) == (
        "the wheel has no .dist-info folder",
    )
    assert faults(make_zip({**MEMBERS, "other-1.0.dist-info/METADATA": b""})) == (
        "the wheel has more than one .dist-info folder",
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_metadata_are_refused() -> None:
    buffer = io.BytesIO(make_zip(MEMBERS))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(f"{INFO}/METADATA", b"Name: other\n")
    assert faults(buffer.getvalue()) == ("the wheel has more than one METADATA in its .dist-info folder",)


@pytest.mark.parametrize(
    ("name", "told"),
    [("/etc/passwd", "absolute"), ("../x", "'..'"), ("a/../../x", "'..'"), ("a\\..\\x", "'..'"), ("\\x", "absolute")],
)
def test_names_that_lead_elsewhere_are_refused(name: str, told: str) -> None:
    assert any(told in fault for fault in faults(make_zip({**MEMBERS, name: b""})))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method: int) -> None:
    assert "compression" in faults(make_zip(MEMBERS, method))[0]


def test_a_compression_that_nobody_knows_is_refused() -> None:
    data = patch_directory(make_zip(MEMBERS), f"{INFO}/METADATA", 10, "<H", 99)
    assert "compression" in faults(data)[0]


def patch_directory(data: bytes, name: str, offset: int, form: str, value: int) -> bytes:
    """The zip with one field of a central directory entry changed (APPNOTE 4.3.12)."""
    changed = bytearray(data)
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    struct.pack_into(form, changed, at + offset, value)
    return bytes(changed)


def test_the_encrypted_flag_is_refused() -> None:
    data = patch_directory(make_zip(MEMBERS), f"{INFO}/WHEEL", 8, "<H", 1)
    assert faults(data) == ("the zip holds encrypted members",)


@pytest.mark.parametrize("size", [0, 1, len(META) - 1, len(META) + 1, 2**32 - 2])
@pytest.mark.parametrize("field", [20, 24])  # compressed, uncompressed
def test_a_lying_size_is_refused(size: int, field: int) -> None:
    data = make_zip({**MEMBERS, f"{INFO}/METADATA": META}, zipfile.ZIP_STORED)
    try:
        got = read_metadata(WHEEL, io.BytesIO(patch_directory(data, f"{INFO}/METADATA", field, "<I", size)))
    except Invalid:
        return
    assert got == META, "what is accepted is what the checksum says"


def test_metadata_over_the_limit_is_refused_whatever_size_it_tells() -> None:
    bomb = META + b"\n" + bytes(limits.MAX_METADATA)
    data = make_zip({**MEMBERS, f"{INFO}/METADATA": bomb})
    assert len(data) < 100_000
    assert faults(data) == ("METADATA is larger than 10 MiB",)
    assert "broken" in faults(patch_directory(data, f"{INFO}/METADATA", 24, "<I", 100))[0]
    exact = META.ljust(limits.MAX_METADATA, b"\n")
    assert read_metadata(WHEEL, io.BytesIO(make_zip({**MEMBERS, f"{INFO}/METADATA": exact}))) == exact


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        b"PK\x05\x06" + bytes(18),
        make_zip(MEMBERS)[:-30],
        make_zip(MEMBERS)[100:],
        b"\x1f\x8b" + bytes(99),
    ],
)
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    assert faults(data)


def test_of_a_huge_wheel_little_is_read(tmp_path: Path) -> None:
    path = tmp_path / WHEEL
    path.touch()
    os.truncate(path, 1 << 30)  # takes no space
    with zipfile.ZipFile(path, "a") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)

    class Reader(io.FileIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(-1 if size is None else size) or b""
            self.count += len(data)
            return data

    with Reader(path) as reader:
        assert read_metadata(WHEEL, reader) == META
        assert reader.count < MIB


def test_a_member_that_expands_enormously_is_not_expanded() -> None:
    beside = make_zip({"big": bytes(128 * MIB), **MEMBERS})
    itself = make_zip({**MEMBERS, f"{INFO}/METADATA": bytes(128 * MIB)})
    tracemalloc.start()
    try:
        assert read_metadata(WHEEL, io.BytesIO(beside)) == META
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
        assert faults(itself) == ("METADATA is larger than 10 MiB",)
        assert tracemalloc.get_traced_memory()[1] < 48 * MIB
    finally:
        tracemalloc.stop()


def directory_of(count: int) -> bytes:
    """A zip that is nothing but a central directory of so many entries."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * count
    return directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)


@pytest.mark.parametrize("count", [1_000_000, 600_000])
def test_a_huge_directory_is_refused_before_it_is_parsed(count: int) -> None:
    reader = CountingReader(directory_of(count))
    tracemalloc.start()
    try:
        with pytest.raises(Invalid, match=r"more than 100000 members|larger than 32 MiB"):
            read_metadata(WHEEL, reader)
        assert tracemalloc.get_traced_memory()[1] < 80 * MIB
    finally:
        tracemalloc.stop()
    assert reader.count < 34 * MIB


def test_the_member_limit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseus.checks.zips.MAX_ENTRIES", 5)
    assert read_metadata(WHEEL, io.BytesIO(make_zip({**MEMBERS, "a": b"", "b": b""}))) == META
    assert faults(make_zip({**MEMBERS, "a": b"", "b": b"", "c": b""})) == ("the archive has more than 5 members",)


def test_a_failing_reader_is_not_the_archives_fault() -> None:
    class Failing(io.BytesIO):
        def read(self, n: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(Unavailable) as refused:
        read_metadata(WHEEL, Failing(make_zip(MEMBERS)))
    assert refused.value.kind == "local"

    class Elsewhere(io.BytesIO):
        def read(self, n: int | None = -1, /) -> bytes:
            raise Unavailable("the upstream is away", kind="upstream")

    with pytest.raises(Unavailable) as refused:
        read_wheel_metadata(Elsewhere(make_zip(MEMBERS)), WHEEL)
    assert refused.value.kind == "upstream"


class TestOthersWheels:
    """`read_wheel_metadata` takes what pip would."""

    @pytest.mark.parametrize("filename", [WHEEL, "odd.whl", "acme_tool-0.9-py3-none-any.whl"])
    def test_the_only_folder_is_taken(self, filename: str) -> None:
        data = make_zip({f"{INFO}/METADATA": META})
        assert read_wheel_metadata(io.BytesIO(data), filename) == META

    def test_of_several_folders_the_one_that_fits(self) -> None:
        data = make_zip({"vendored-2.0.dist-info/METADATA": b"Name: other\n", f"{INFO}/METADATA": META})
        assert read_wheel_metadata(io.BytesIO(data), WHEEL) == META
        for filename in ("odd.whl", "other-1.0-py3-none-any.whl"):
            with pytest.raises(Invalid):
                read_wheel_metadata(io.BytesIO(data), filename)

    @pytest.mark.parametrize("data", [b"<html>", make_zip({"x": b""}), make_zip({f"{INFO}/METADATA": META})[:-9]])
    def test_a_wheel_without_is_invalid(self, data: bytes) -> None:
        with pytest.raises(Invalid):
            read_wheel_metadata(io.BytesIO(data), WHEEL)

    def test_few_bytes_are_read(self) -> None:
        reader = CountingReader(make_zip({"big.so": os.urandom(5 * MIB), **MEMBERS}))
        assert read_wheel_metadata(reader, WHEEL) == META
        assert reader.count < 300_000


class TestZipSdists:
    FILENAME = "acme-tool-1.0.zip"

    def test_pkg_info_byte_for_byte(self) -> None:
        data = make_zip({"acme-tool-1.0/": b"", "acme-tool-1.0/setup.py": b"", "acme-tool-1.0/PKG-INFO": META,
                         "acme-tool-1.0/acme_tool.egg-info/PKG-INFO": b"other"})  # fmt: skip
        assert read_metadata(self.FILENAME, io.BytesIO(data)) == META

    @pytest.mark.parametrize(
        ("members", "told"),
        [
            ({"a/PKG-INFO": META, "b/x": b""}, "one folder at its top"),
            ({"a/PKG-INFO": META, "x": b""}, "one folder at its top"),
            ({"PKG-INFO": META}, "one folder at its top"),
            ({"a/x": b""}, "no PKG-INFO"),
            ({"a/b/PKG-INFO": META}, "no PKG-INFO"),
            ({"a/PKG-INFO/": b""}, "no PKG-INFO"),
            ({"a/PKG-INFO": META, "a//PKG-INFO": META}, "more than one PKG-INFO"),
            ({"a/PKG-INFO": META, "/a/x": b""}, "absolute"),
            ({"a/PKG-INFO": META, "a/../../x": b""}, "'..'"),
            ({"a/PKG-INFO": bytes(limits.MAX_METADATA + 1)}, "PKG-INFO is larger than 10 MiB"),
            ({}, "no PKG-INFO"),
        ],
    )
    def test_others_are_refused(self, members: dict[str, bytes], told: str) -> None:
        assert any(told in fault for fault in faults(make_zip(members), self.FILENAME))


def test_the_tests_wheel_is_the_helpers_wheel() -> None:
    """So that the names above stay true."""
    filename, data = make_wheel("acme-tool", "1.0")
    assert filename == WHEEL and hashlib.sha256(data).hexdigest() != hashlib.sha256(make_zip(MEMBERS)).hexdigest()
    assert set(zipfile.ZipFile(io.BytesIO(data)).namelist()) >= set(MEMBERS)
