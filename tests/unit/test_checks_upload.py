from __future__ import annotations

import gc
import gzip
import hashlib
import io
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.checks import Checked, Form, check_upload
from caseus.errors import Invalid, Unavailable
from support.packages import make_sdist, make_wheel, metadata

WHEEL, WHEEL_BYTES = make_wheel("acme-tool", "1.0", requires_python=">=3.9")
SDIST, SDIST_BYTES = make_sdist("acme-tool", "1.0")
ARMOURED = b"-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"


def digests(data: bytes) -> dict[str, str]:
    return {
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "blake2b_256": hashlib.blake2b(data, digest_size=32).hexdigest(),
    }


def form(filename: str, data: bytes, changes: Mapping[str, str] | None = None) -> Form:
    """As twine sends it."""
    own = digests(data)
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "name": "acme-tool",
        "version": "1.0",
        "filetype": "bdist_wheel" if filename.endswith(".whl") else "sdist",
        "metadata_version": "2.1",
        "md5_digest": own["md5"],
        "sha256_digest": own["sha256"],
        "blake2_256_digest": own["blake2b_256"],
    }
    return Form.parse({**fields, **(changes or {})}.items())


def check(
    filename: str = WHEEL,
    data: bytes = WHEEL_BYTES,
    changes: Mapping[str, str] | None = None,
    signature: bytes | None = None,
) -> Checked:
    return check_upload(form(filename, data, changes), filename, io.BytesIO(data), digests(data), signature=signature)


def faults(
    filename: str = WHEEL,
    data: bytes = WHEEL_BYTES,
    changes: Mapping[str, str] | None = None,
    signature: bytes | None = None,
) -> tuple[str, ...]:
    with pytest.raises(Invalid) as refused:
        check(filename, data, changes, signature)
    told = refused.value.faults
    assert len(set(told)) == len(told)
    assert all(fault.isascii() and fault.isprintable() and len(fault) < 250 for fault in told)
    return told


def test_a_wheel() -> None:
    assert check() == Checked(
        project=check().project,
        version="1.0",
        filetype="bdist_wheel",
        requires_python=">=3.9",
        metadata=metadata("acme-tool", "1.0", requires_python=">=3.9"),
    )
    assert check().project == "acme-tool"


def test_an_sdist() -> None:
    checked = check(SDIST, SDIST_BYTES)
    assert (checked.project, checked.version, checked.filetype) == ("acme-tool", "1.0", "sdist")
    assert checked.requires_python is None
    assert checked.metadata == metadata("acme-tool", "1.0")


@pytest.mark.parametrize("name", ["Acme.Tool", "acme_tool", "ACME--tool", " acme-tool "])
@pytest.mark.parametrize("version", ["1.0", "v1.0", "1.0.0", "1"])
def test_spellings_are_equal(name: str, version: str) -> None:
    checked = check(changes={"name": name, "version": version})
    assert (checked.project, checked.version) == ("acme-tool", "1.0")


@pytest.mark.parametrize("version", ["1.0+local.7", "1!2.0", "1.0.post1", "1.0rc1"])
def test_versions_that_a_public_index_may_refuse(version: str) -> None:
    for filename, data in (make_wheel("acme-tool", version), make_sdist("acme-tool", version)):
        assert check(filename, data, {"version": version}).version == version


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol_version": ""},
        {"md5_digest": "", "blake2_256_digest": ""},
        {"sha256_digest": "", "blake2_256_digest": ""},
        {"sha256_digest": digests(WHEEL_BYTES)["sha256"].upper()},
        {"classifiers": "Private :: Do Not Upload", "summary": "UNKNOWN", "platform": "UNKNOWN"},
    ],
)
def test_forms_that_are_fine(changes: dict[str, str]) -> None:
    assert check(changes=changes).project == "acme-tool"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol_version": "2"}, "unknown protocol version '2'"),
        ({"name": ""}, "the upload has no name"),
        ({"name": "UNKNOWN"}, "the upload has no name"),
        ({"name": "other"}, "the form's name 'other' is not the filename's, 'acme-tool'"),
        ({"name": "-x-"}, "invalid project name"),
        ({"name": "acme-tool\0"}, "invalid project name"),
        ({"name": "İ"}, "invalid project name"),
        ({"version": ""}, "the upload has no version"),
        ({"version": "2.0"}, "the form's version '2.0' is not the filename's, '1.0'"),
        ({"version": "one"}, "the form's version 'one' is not one"),
        ({"version": "1" * 5000}, "is not one"),
        ({"version": "<script>" + "é" * 500}, "is not one"),
        ({"filetype": ""}, "no filetype: use bdist_wheel or sdist"),
        ({"filetype": "bdist_egg"}, "unknown filetype: use bdist_wheel or sdist"),
        ({"filetype": "sdist"}, "filetype sdist does not fit the filename"),
        ({"md5_digest": "0" * 32}, "md5_digest is not that of the file"),
        ({"sha256_digest": "0" * 64}, "sha256_digest is not that of the file"),
        ({"sha256_digest": "é"}, "sha256_digest is not that of the file"),
        ({"blake2_256_digest": "0" * 64}, "blake2_256_digest is not that of the file"),
        ({"md5_digest": "", "sha256_digest": "", "blake2_256_digest": ""}, "include at least one"),
    ],
)
def test_a_fault_of_the_form_is_the_only_one_told(changes: dict[str, str], told: str) -> None:
    [only] = faults(changes=changes)
    assert told in only


def test_a_single_field_sent_twice() -> None:
    twice = Form({**form(WHEEL, WHEEL_BYTES).fields, "name": ["acme-tool", "other"]})
    with pytest.raises(Invalid) as refused:
        check_upload(twice, WHEEL, io.BytesIO(WHEEL_BYTES), digests(WHEEL_BYTES), signature=None)
    assert refused.value.faults == ("the field name was sent more than once, with different values",)
    same = Form({**twice.fields, "name": ["acme-tool", "acme-tool"]})
    check_upload(same, WHEEL, io.BytesIO(WHEEL_BYTES), digests(WHEEL_BYTES), signature=None)


@pytest.mark.parametrize(
    "filename",
    ["", "acme_tool-1.0.egg", "acme_tool-1.0.exe", "../acme_tool-1.0.tar.gz", "a\nb.whl", "x.whl", ".whl",
     "é-1.0.tar.gz", "acme_tool-1.0.tar.bz2", "acme_tool-one.tar.gz", "acme_tool-1.0-py3.whl",
     "a" * 300 + "-1.0.tar.gz"],
)  # fmt: skip
def test_filenames_that_are_refused(filename: str) -> None:
    assert "filename" in faults(filename)[0] or "kind of file" in faults(filename)[0]


@pytest.mark.parametrize(
    ("core", "told"),
    [
        (b"Name: acme-tool\nVersion: 1.0\n", "METADATA has no Metadata-Version"),
        (b"Metadata-Version: 2.1\nVersion: 1.0\n", "METADATA has no Name"),
        (b"Metadata-Version: 2.1\nName: acme-tool\n", "METADATA has no Version"),
        (b"Metadata-Version: 3.0\nName: acme-tool\nVersion: 1.0\n", "unknown Metadata-Version '3.0'"),
        (b"Metadata-Version: two\nName: acme-tool\nVersion: 1.0\n", "unknown Metadata-Version 'two'"),
        (b"Metadata-Version: 2.1\nName: other\nVersion: 1.0\n", "says Name 'other', the filename says 'acme-tool'"),
        (b"Metadata-Version: 2.1\nName: -\nVersion: 1.0\n", "METADATA has an invalid Name '-'"),
        (b"Metadata-Version: 2.1\nName: acme-tool\nVersion: 1.1\n", "says Version '1.1', the filename says '1.0'"),
        (b"Metadata-Version: 2.1\nName: acme-tool\nVersion: x\n", "METADATA has an invalid Version 'x'"),
        (metadata("acme-tool", "1.0", requires_python="three"), "METADATA has an invalid Requires-Python 'three'"),
        (metadata("acme-tool", "1.0", extra="Name: other\n"), "METADATA has more than one Name"),
        (metadata("acme-tool", "1.0") + b"\xff", "not UTF-8"),
    ],
)
def test_a_fault_of_the_metadata_is_the_only_one_told(core: bytes, told: str) -> None:
    [only] = faults(*make_wheel("acme-tool", "1.0", metadata_bytes=core))
    assert told in only
    [only] = faults(*make_sdist("acme-tool", "1.0", pkg_info=core))
    assert told.replace("METADATA", "PKG-INFO") in only


@pytest.mark.parametrize("known", ["1.0", "1.1", "1.2", "2.0", "2.1", "2.4", "2.9"])
def test_metadata_versions_that_are_known(known: str) -> None:
    core = f"Metadata-Version: {known}\nName: acme-tool\nVersion: 1.0\nClassifier: Private :: x\nX-Own: y\n".encode()
    assert check(*make_wheel("acme-tool", "1.0", metadata_bytes=core)).metadata == core


def test_all_faults_are_told_at_once_worst_first() -> None:
    core = b"Metadata-Version: 2.1\nName: third\nVersion: 3\nRequires-Python: none\n"
    filename, data = make_wheel("acme-tool", "1.0", metadata_bytes=core)
    without = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(without, "w") as new:
        for member in old.infolist():
            if not member.filename.endswith("/RECORD"):
                new.writestr(member.filename, old.read(member))
    told = faults(
        filename,
        without.getvalue(),
        {"name": "other", "version": "2", "filetype": "egg", "md5_digest": "0", "protocol_version": "7"},
        b"binary",
    )
    assert [fault[:22] for fault in told] == [
        "unknown protocol versi",
        "md5_digest is not that",
        "unknown filetype: use ",
        "the form's name 'other",
        "the form's version '2'",
        "the wheel has no RECOR",
        "METADATA says Name 'th",
        "METADATA says Version ",
        "METADATA has an invali",
        "gpg_signature is not A",
    ]


def test_a_damaged_upload_is_told_as_such_first() -> None:
    """What came of the damage follows: the archive can't be read."""
    damaged = WHEEL_BYTES[:-100]
    told = faults(WHEEL, damaged, {"sha256_digest": digests(WHEEL_BYTES)["sha256"]})
    assert told[0].startswith("sha256_digest is not that of the file")
    assert told[1].startswith("the archive is broken")


def test_a_wheel_under_the_name_of_an_sdist() -> None:
    assert "broken" in faults(SDIST, WHEEL_BYTES)[0]
    assert "broken" in faults(WHEEL, SDIST_BYTES)[0]


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        (b"", "not ASCII-armoured"),
        (b"\x89\x01\x33\x04", "not ASCII-armoured"),
        (b"-----BEGIN PGP MESSAGE-----\n", "not ASCII-armoured"),
        (ARMOURED + "é".encode(), "not ASCII-armoured"),
        (ARMOURED + b"\n" * 65_536, "larger than 64 KiB"),
    ],
)
def test_signatures_that_are_refused(signature: bytes, told: str) -> None:
    [only] = faults(signature=signature)
    assert told in only


def test_an_armoured_signature_is_fine() -> None:
    assert check(signature=ARMOURED).project == "acme-tool"


def test_long_versions_are_not_kept() -> None:
    """Whoever sends many of them would fill memory; those that fit a filename are kept for a while."""
    faults(changes={"version": "1.0+" + "a" * 50_000})
    tracemalloc.start()
    try:
        for number in range(100):
            [told] = faults(changes={"version": f"1.0+{number}" + "a" * 50_000})
            assert told.startswith("the form's version") and "is not the filename's" in told
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_failing_disk_is_not_the_uploads_fault() -> None:
    class Failing(io.BytesIO):
        def read(self, n: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    for filename, data in ((WHEEL, WHEEL_BYTES), (SDIST, SDIST_BYTES)):
        with pytest.raises(Unavailable):
            check_upload(form(filename, data), filename, Failing(data), digests(data), signature=None)


def zip_sdist() -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("acme-tool-1.0/PKG-INFO", metadata("acme-tool", "1.0"))
        archive.writestr("acme-tool-1.0/setup.py", b"")
    return "acme-tool-1.0.zip", buffer.getvalue()


def as_python_reads(filename: str, data: bytes) -> bytes:
    """The first METADATA or PKG-INFO, as pip would find it."""
    if filename.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            member = tar.extractfile(next(name for name in tar.getnames() if name.endswith("/PKG-INFO")))
            assert member is not None
            return member.read()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(("/METADATA", "/PKG-INFO"))))


def outcome(filename: str, data: bytes) -> bool:
    """Whether it is checked, with the metadata that Python's own readers find; False if it is invalid."""
    try:
        checked = check(filename, data)
    except Invalid as error:
        told = error.faults
    else:
        assert checked.metadata == as_python_reads(filename, data)
        return True
    assert told and all(fault.isascii() and fault.isprintable() for fault in told)
    return False


@pytest.mark.parametrize("filename", [WHEEL, SDIST, "acme-tool-1.0.zip", "the tar inside"])
def test_two_thousand_mutations_are_checked_or_invalid(filename: str) -> None:
    """One byte changed each time; never another exception."""
    inside = filename == "the tar inside"
    if inside:
        filename = SDIST
    data = {WHEEL: WHEEL_BYTES, SDIST: SDIST_BYTES, **dict([zip_sdist()])}[filename]
    if inside:
        data = gzip.decompress(data)[:4096]
    rng = random.Random(20_240_101)
    outcomes = [0, 0]
    for _ in range(2000):
        mutant = bytearray(data)
        mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        sent = gzip.compress(bytes(mutant), 1) if inside else bytes(mutant)
        outcomes[outcome(filename, sent)] += 1
    assert min(outcomes) > 0


@given(st.sampled_from([WHEEL, SDIST, "acme-tool-1.0.zip"]), st.binary(max_size=600))
@settings(max_examples=100)
def test_any_bytes_are_invalid(filename: str, data: bytes) -> None:
    assert faults(filename, data)


@given(
    st.dictionaries(st.sampled_from(["name", "version", "filetype", "protocol_version", "sha256_digest"]), st.text())
)
@settings(max_examples=100)
def test_any_form_is_checked_or_invalid(changes: dict[str, str]) -> None:
    try:
        check(changes=changes)
    except Invalid as error:
        told = error.faults
    else:
        return
    assert all(fault.isascii() and fault.isprintable() for fault in told)
