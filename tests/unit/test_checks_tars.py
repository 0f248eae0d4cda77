from __future__ import annotations

import gzip
import io
import os
import resource
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable, Iterable

import pytest

from caseus.checks import limits
from caseus.checks.archive import read_metadata
from caseus.errors import Invalid
from support.packages import make_sdist, metadata

SDIST = "acme_tool-1.0.tar.gz"
TOP = "acme_tool-1.0"
META = metadata("acme-tool", "1.0")


def entry(name: str, data: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    return member, data


PKG_INFO = entry(f"{TOP}/PKG-INFO", META)


def make_tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for member, data in entries:
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def read(tar: bytes) -> bytes:
    return read_metadata(SDIST, io.BytesIO(gzip.compress(tar)))


def faults(tar: bytes) -> tuple[str, ...]:
    return faults_of_file(gzip.compress(tar))


def faults_of_file(data: bytes) -> tuple[str, ...]:
    with pytest.raises(Invalid) as refused:
        read_metadata(SDIST, io.BytesIO(data))
    assert all(fault.isascii() and fault.isprintable() and len(fault) < 200 for fault in refused.value.faults)
    return refused.value.faults


@pytest.mark.parametrize(("name", "version"), [("acme-tool", "1.0"), ("Acme.Tool", "1.0"), ("acme", "1.0+local")])
def test_pkg_info_byte_for_byte(name: str, version: str) -> None:
    filename, data = make_sdist(name, version)
    assert read_metadata(filename, io.BytesIO(data)) == metadata(name, version)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_format_and_long_names(format: int) -> None:
    long = f"{TOP}/" + "/".join(["folder"] * (25 if format == tarfile.USTAR_FORMAT else 60)) + "/ü.py"
    entries = [
        entry("./", type=tarfile.DIRTYPE),
        entry(TOP, type=tarfile.DIRTYPE, size=0),
        entry(long, b"x" * 1000),
        entry(f"./{TOP}/PKG-INFO", META),
        entry(f"{TOP}/sub/PKG-INFO", b"another"),
        entry(f"{TOP}/link", type=tarfile.SYMTYPE, linkname="PKG-INFO"),
        entry(f"{TOP}/sub/up", type=tarfile.SYMTYPE, linkname="../PKG-INFO"),
        entry(f"{TOP}/hard", type=tarfile.LNKTYPE, linkname=f"{TOP}/PKG-INFO"),
    ]
    assert read(make_tar(entries, format)) == META


def test_the_name_in_a_long_header_counts() -> None:
    """A name over 100 characters stands in an extended header; the short one is cut."""
    top = "acme_tool-1.0" + "x" * 120
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert read(make_tar([entry(f"{top}/PKG-INFO", META), entry(f"{top}/a", b"x")], format)) == META


def test_a_git_archive_begins_with_a_global_header() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "a" * 40}) as archive:
        archive.addfile(PKG_INFO[0], io.BytesIO(META))
    assert buffer.getvalue()[156:157] == tarfile.XGLTYPE
    assert read(buffer.getvalue()) == META


def test_without_the_closing_zeros() -> None:
    tar = make_tar([PKG_INFO]).rstrip(b"\0")
    assert read(tar.ljust(-(-len(tar) // 512) * 512, b"\0")) == META


def test_several_gzip_members_and_padding() -> None:
    tar = make_tar([PKG_INFO])
    data = gzip.compress(tar[:700]) + b"\0" * 100_000 + gzip.compress(tar[700:]) + b"\0\0"
    assert read_metadata(SDIST, io.BytesIO(data)) == META


def link(name: str, target: str, type: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=type, linkname=target)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([PKG_INFO, entry("/etc/passwd")], "absolute name: '/etc/passwd'"),
        ([PKG_INFO, entry("../x")], "'..' in its name"),
        ([PKG_INFO, entry(f"{TOP}/../../x")], "'..' in its name"),
        ([PKG_INFO, entry(f"{TOP}\\..\\x")], "'..' in its name"),
        ([PKG_INFO, entry("other/x")], "one folder at its top"),
        ([PKG_INFO, entry("x")], "one folder at its top"),
        ([entry("PKG-INFO", META)], "one folder at its top"),
        ([entry(f"{TOP}/setup.py")], "no PKG-INFO"),
        ([entry(f"{TOP}/sub/PKG-INFO", META)], "no PKG-INFO"),
        ([], "no PKG-INFO"),
        ([link(f"{TOP}/PKG-INFO", "other"), entry(f"{TOP}/other", META)], "PKG-INFO is not a plain file"),
        ([entry(f"{TOP}/o", META), link(f"{TOP}/PKG-INFO", f"{TOP}/o", tarfile.LNKTYPE)], "PKG-INFO is not a plain"),
        ([entry(f"{TOP}/PKG-INFO", type=tarfile.DIRTYPE)], "PKG-INFO is not a plain file"),
        ([PKG_INFO, PKG_INFO], "more than one PKG-INFO"),
        ([PKG_INFO, entry(f"./{TOP}//PKG-INFO", b"other")], "more than one PKG-INFO"),
        ([PKG_INFO, entry(f"{TOP}/fifo", type=tarfile.FIFOTYPE)], "special"),
        ([PKG_INFO, entry(f"{TOP}/null", type=tarfile.CHRTYPE)], "special"),
        ([PKG_INFO, entry(f"{TOP}/disk", type=tarfile.BLKTYPE)], "special"),
        ([PKG_INFO, entry(f"{TOP}/odd", type=b"Z")], "special"),
        ([PKG_INFO, entry(f"{TOP}/holes", type=tarfile.GNUTYPE_SPARSE)], "sparse"),
        ([PKG_INFO, entry(f"{TOP}/holes", pax_headers={"GNU.sparse.major": "1"})], "sparse"),
        ([PKG_INFO, link(f"{TOP}/out", "/etc/passwd")], "leads out"),
        ([PKG_INFO, link(f"{TOP}/out", "../../x")], "leads out"),
        ([PKG_INFO, link(f"{TOP}/sub/out", "../../x")], "leads out"),
        ([PKG_INFO, link(f"{TOP}/out", "/etc/passwd", tarfile.LNKTYPE)], "leads out"),
        ([PKG_INFO, link(f"{TOP}/out", "../x", tarfile.LNKTYPE)], "leads out"),
        ([entry(f"{TOP}/PKG-INFO", bytes(limits.MAX_METADATA + 1))], "PKG-INFO is larger than 10 MiB"),
        ([PKG_INFO, entry(f"{TOP}/x", pax_headers={"comment": "c" * 70_000})], "extended header over 64 KiB"),
        ([PKG_INFO, entry(f"{TOP}/x", b"x", pax_headers={"size": "-512"})], "negative size"),
    ],
)  # fmt: skip
def test_what_is_refused(entries: list[tuple[tarfile.TarInfo, bytes]], told: str) -> None:
    assert any(told in fault for fault in faults(make_tar(entries)))


def test_all_faults_are_told_at_once() -> None:
    told = faults(make_tar([entry("/a"), entry("b/../c"), entry("b/fifo", type=tarfile.FIFOTYPE)]))
    assert [fault.partition(":")[0] for fault in told] == [
        "the archive holds a member with an absolute name",
        "the archive holds a member with '..' in its name",
        "a source distribution has one folder at its top, with everything in it",
        "the archive holds a special (device, pipe or unknown) member",
        "the archive has no PKG-INFO in its top folder",
    ]


def test_not_a_thousand_faults_are_told() -> None:
    assert 20 < len(faults(make_tar([entry(f"/{number}") for number in range(1000)]))) < 30


def extended(type: bytes, data: bytes) -> bytes:
    """An extended header of any content, as tarfile would not write it."""
    header = tarfile.TarInfo("header")
    header.type, header.size = type, len(data)
    return header.tobuf(tarfile.USTAR_FORMAT) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + 2
    return f"{length + (len(str(length)) > 2):d}".encode() + body


LONG_NAME = extended(tarfile.GNUTYPE_LONGNAME, b"other/PKG-INFO\0")
PAX_NAME = extended(tarfile.XHDTYPE, record("path", "other/PKG-INFO"))


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (LONG_NAME + PAX_NAME, "named twice"),
        (PAX_NAME + LONG_NAME, "named twice"),
        (PAX_NAME + PAX_NAME, "two extended headers"),
        (LONG_NAME + LONG_NAME, "two extended headers"),
        (extended(tarfile.XGLTYPE, record("path", "other/PKG-INFO")), "global header that names members"),
        (extended(tarfile.XGLTYPE, record("GNU.sparse.major", "1")), "global header that names members"),
        (extended(tarfile.XHDTYPE, record("path", "a") + record("path", "b")), "doubled field"),
        *[
            (extended(tarfile.XHDTYPE, data), "broken pax header")
            for data in (
                b"x",
                b"0 a=b\n",
                b"99 a=b\n",
                b"7 a=bc",
                b"6 ab=\n\n",
                b"+6 a=b\n",
                b"1_0 a=bcd\n",
                b"-1 a=b\n",
            )
        ],
        (extended(tarfile.XHDTYPE, record("size", "many")), "broken"),
    ],
)
def test_a_name_that_readers_could_take_differently_is_refused(head: bytes, told: str) -> None:
    assert any(told in fault for fault in faults(head + make_tar([PKG_INFO])))


def test_a_single_long_name_is_taken() -> None:
    """Or else the test above could pass for another reason."""
    for head in (LONG_NAME, PAX_NAME):
        tar = head + make_tar([PKG_INFO])
        assert read(tar) == META
        assert tarfile.open(fileobj=io.BytesIO(tar)).getnames() == ["other/PKG-INFO"]  # noqa: SIM115


@pytest.mark.parametrize("type", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_folders_and_links_have_no_data_whatever_size_they_tell(type: bytes) -> None:
    """Old tars tell a size for them; `tarfile`, and so pip, goes on right behind the header."""
    member = tarfile.TarInfo(f"{TOP}/x")
    member.type, member.size, member.linkname = type, 1024, f"{TOP}/PKG-INFO" if type == tarfile.LNKTYPE else "PKG-INFO"
    tar = member.tobuf(tarfile.GNU_FORMAT) + make_tar([PKG_INFO])
    assert read(tar) == META
    assert tarfile.open(fileobj=io.BytesIO(tar)).getnames() == [f"{TOP}/x", f"{TOP}/PKG-INFO"]  # noqa: SIM115


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"no gzip at all",
        lambda data: data[:-4],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"garbage",
        lambda data: data[:-6] + b"\0\0" + data[-4:],  # the checksum
        lambda data: gzip.compress(gzip.decompress(data)[:700]),
        lambda data: gzip.compress(b"\xff" * 2000),
        lambda data: gzip.compress(gzip.decompress(data)[:-9000] + b"\xff" * 512),
        lambda data: gzip.decompress(data),
    ],
)
def test_what_is_cut_or_broken_is_refused(change: Callable[[bytes], bytes]) -> None:
    assert faults_of_file(change(gzip.compress(make_tar([PKG_INFO]))))


def test_the_member_limit_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseus.checks.tars.MAX_ENTRIES", 5)
    others = [entry(f"{TOP}/{number}ü") for number in range(5)]  # each with a pax header
    assert read(make_tar([PKG_INFO, *others[:4]])) == META
    assert faults(make_tar([PKG_INFO, *others])) == ("the archive has more than 5 members",)


def test_the_size_limit_grows_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseus.checks.tars.MAX_PRODUCED", 100_000)
    assert faults(make_tar([PKG_INFO, entry(f"{TOP}/zeros", bytes(200_000))])) == (
        "the archive unpacks to more than 0 MiB",
    )
    assert read(make_tar([PKG_INFO, entry(f"{TOP}/random", os.urandom(200_000))])) == META


def test_zeros_after_the_end_are_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseus.checks.tars.MAX_PRODUCED", 100_000)
    assert "unpacks to more than" in faults(make_tar([PKG_INFO]) + bytes(200_000))[0]


BOMBS = {
    "a member": "gzip.compress(member(2 << 30)) + gzip.compress(bytes(16 << 20), 1) * 64",
    "a pax header": "gzip.compress(member(2 << 30, tarfile.XHDTYPE)) + gzip.compress(bytes(16 << 20), 1) * 64",
    "PKG-INFO": "gzip.compress(member(2 << 30, name='top/PKG-INFO')) + gzip.compress(bytes(16 << 20), 1) * 64",
    "members": "gzip.compress(member(0), 1) * 100_001",
    "extended headers": "gzip.compress((member(0, tarfile.XGLTYPE) * 1000 + member(0)) * 350, 1)",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_little_memory(bomb: str) -> None:
    """1 GiB comes out of each of the first; in its own process, so that the peak is its own."""
    program = f"""
        import gzip, io, resource, tarfile, zlib
        from caseus.checks.archive import read_metadata
        from caseus.errors import Invalid
        def member(size, type=tarfile.REGTYPE, name="top/x"):
            info = tarfile.TarInfo(name)
            info.size, info.type = size, type
            return info.tobuf(tarfile.GNU_FORMAT)
        data = {BOMBS[bomb]}
        warm = io.BytesIO(gzip.compress(member(0)))
        for reader in (warm, io.BytesIO(data)):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                read_metadata("acme_tool-1.0.tar.gz", reader)
            except Invalid as error:
                print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    grown, _, told = done.stdout.splitlines()[1].partition(" ")
    assert int(grown) < 64 << 10, "KiB"
    assert any(
        text in told for text in ("more than 512 MiB", "over 64 KiB", "larger than 10 MiB", "more than 100000", "two")
    )


def test_peak_memory_is_told_in_kib() -> None:
    """The bound above means what it says: on Linux ru_maxrss counts KiB."""
    assert 1 << 10 < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 64 << 20
