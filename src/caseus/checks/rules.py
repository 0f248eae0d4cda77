"""The rules of an upload: each is a small function that yields faults; `RULES` is their order, worst first.

A rule sees the whole upload. What can't be had (the filename doesn't parse, the archive is broken) raises Invalid when
a rule asks for it; the runner takes that as the rule's faults too, and tells each fault once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Generic, TypeVar, get_args

from packaging.specifiers import SpecifierSet

from caseus.checks.archive import look_into
from caseus.checks.armour import check_signature
from caseus.checks.form import Form
from caseus.checks.limits import Contents, shown
from caseus.checks.metadata import CoreMetadata, parse_metadata
from caseus.errors import Invalid
from caseus.names import Filetype, ParsedFilename, check_filename, normalize, parse_filename, parse_version

DIGEST_FIELDS = {"sha256_digest": "sha256", "blake2_256_digest": "blake2b_256", "md5_digest": "md5"}
"""Field of the form to the name under which a store tells the digest."""

_SINGLE = (":action", "protocol_version", "name", "version", "filetype", *DIGEST_FIELDS)

T = TypeVar("T")


class _worked_out(Generic[T]):  # it reads as `property` does
    """A property that is worked out when first asked for; where that raises Invalid, it does so again each time."""

    def __init__(self, make: Callable[[Upload], T]) -> None:
        self._make, self._name = make, make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, upload: Upload, owner: type[Upload]) -> T:
        if self._name in upload.broken:
            raise upload.broken[self._name]
        try:
            value = self._make(upload)
        except Invalid as error:
            upload.broken[self._name] = error
            raise
        upload.__dict__[self._name] = value  # where it is found from now on
        return value


class Upload:
    """What was sent; `parsed`, `metadata` and `core` raise Invalid where the file doesn't give them.

    `parsed`: what the filename says, where the caller knows better than its text alone tells.
    """

    def __init__(
        self,
        form: Form,
        filename: str,
        reader: BinaryIO,
        digests: Mapping[str, str],
        signature: bytes | None,
        parsed: ParsedFilename | None = None,
    ) -> None:
        self.form = form
        self.filename = filename
        self.digests = digests
        self.signature = signature
        self._reader, self._told = reader, parsed
        self.broken: dict[str, Invalid] = {}
        """What can't be had, by its name."""

    @_worked_out
    def parsed(self) -> ParsedFilename:
        """What the filename says."""
        return self._told or parse_filename(check_filename(self.filename))

    @_worked_out
    def contents(self) -> Contents:
        """What the archive holds, and what is wrong with it."""
        return look_into(self.filename, self._reader)

    @property
    def metadata(self) -> bytes:
        """METADATA or PKG-INFO."""
        contents = self.contents
        if contents.metadata is None:
            raise Invalid(contents.faults)
        return contents.metadata

    @_worked_out
    def core(self) -> CoreMetadata:
        """What METADATA or PKG-INFO says."""
        return parse_metadata(self.metadata)

    @property
    def metadata_file(self) -> str:
        """How METADATA is called in this kind of file."""
        return "METADATA" if self.filename.endswith(".whl") else "PKG-INFO"


Rule = Callable[[Upload], Iterator[str]]


def protocol(upload: Upload) -> Iterator[str]:
    version = upload.form.first("protocol_version")
    if version not in (None, "1"):
        yield f"unknown protocol version {shown(version)}: send protocol_version 1"


def single_fields(upload: Upload) -> Iterator[str]:
    for field in _SINGLE:
        if len(set(upload.form.fields.get(field, ()))) > 1:
            yield f"the field {field} was sent more than once, with different values"


def digests(upload: Upload) -> Iterator[str]:
    """Every digest that was sent; Warehouse asks for one at least, and each client sends one."""
    sent = {field: value for field in DIGEST_FIELDS if (value := upload.form.first(field))}
    if not sent:
        yield "the upload has no digest: include at least one, such as sha256_digest"
    for field, value in sent.items():
        if value.lower() != upload.digests[DIGEST_FIELDS[field]]:
            yield f"{field} is not that of the file: it was damaged on its way or changed meanwhile, upload it again"


def filename(upload: Upload) -> Iterator[str]:
    _ = upload.parsed
    yield from ()


def filetype(upload: Upload) -> Iterator[str]:
    sent = upload.form.first("filetype")
    known = get_args(Filetype)
    if sent not in known:
        yield f"{'unknown' if sent else 'no'} filetype: use {' or '.join(known)}"
    elif sent != upload.parsed.filetype:
        yield f"filetype {sent} does not fit the filename, which is that of a {upload.parsed.filetype}"


def name(upload: Upload) -> Iterator[str]:
    """Form and filename say the same project."""
    sent = upload.form.first("name")
    if sent is None:
        yield "the upload has no name"
    elif normalize(sent) != upload.parsed.project:
        yield f"the form's name {shown(sent)} is not the filename's, {shown(upload.parsed.project)}"


def version(upload: Upload) -> Iterator[str]:
    """Form and filename say the same version (PEP 440)."""
    sent = upload.form.first("version")
    if sent is None:
        yield "the upload has no version"
    elif (parsed := parse_version(sent)) is None:
        yield f"the form's version {shown(sent)} is not one: see PEP 440"
    elif parsed != parse_version(upload.parsed.version):
        yield f"the form's version {shown(sent)} is not the filename's, {shown(upload.parsed.version)}"


def archive(upload: Upload) -> Iterator[str]:
    """Whole, safe to unpack, and with what its kind must hold."""
    yield from upload.contents.faults


def metadata_fields(upload: Upload) -> Iterator[str]:
    for field in upload.core.doubled:
        yield f"{upload.metadata_file} has more than one {field}, or an unreadable one"


def metadata_version(upload: Upload) -> Iterator[str]:
    """PEP 643 and the core metadata specification: tools refuse a higher major version, and take any minor one."""
    told = upload.core.metadata_version
    if told is None:
        if "Metadata-Version" not in upload.core.doubled:
            yield f"{upload.metadata_file} has no Metadata-Version"
        return
    major, _, minor = told.partition(".")
    if major not in ("1", "2") or not (minor.isascii() and minor.isdigit()):
        yield f"{upload.metadata_file} has an unknown Metadata-Version {shown(told)}: 1.x and 2.x are known"


def metadata_name(upload: Upload) -> Iterator[str]:
    """The file is the truth (PEP 658 serves it), so the filename and the form must say what it says."""
    told = upload.core.name
    if told is None:
        if "Name" not in upload.core.doubled:
            yield f"{upload.metadata_file} has no Name"
        return
    try:
        project = normalize(told)
    except Invalid:
        yield f"{upload.metadata_file} has an invalid Name {shown(told)}"
        return
    if project != upload.parsed.project:
        yield f"{upload.metadata_file} says Name {shown(told)}, the filename says {shown(upload.parsed.project)}"


def metadata_version_field(upload: Upload) -> Iterator[str]:
    told = upload.core.version
    if told is None:
        if "Version" not in upload.core.doubled:
            yield f"{upload.metadata_file} has no Version"
    elif (parsed := parse_version(told)) is None:
        yield f"{upload.metadata_file} has an invalid Version {shown(told)}: see PEP 440"
    elif parsed != parse_version(upload.parsed.version):
        yield f"{upload.metadata_file} says Version {shown(told)}, the filename says {shown(upload.parsed.version)}"


def requires_python(upload: Upload) -> Iterator[str]:
    told = upload.core.requires_python
    if told is not None:
        try:
            SpecifierSet(told)
        except ValueError:  # InvalidSpecifier, and Python's own limit of digits
            yield f"{upload.metadata_file} has an invalid Requires-Python {shown(told)}: see PEP 440"


def signature(upload: Upload) -> Iterator[str]:
    if upload.signature is None:
        return
    try:
        check_signature(upload.signature)
    except Invalid as error:
        yield f"gpg_signature {error}: make it with gpg --armor --detach-sign"


RULES: tuple[Rule, ...] = (
    protocol,
    single_fields,
    digests,
    filename,
    filetype,
    name,
    version,
    archive,
    metadata_fields,
    metadata_version,
    metadata_name,
    metadata_version_field,
    requires_python,
    signature,
)


FILE_RULES: tuple[Rule, ...] = (
    archive,
    metadata_fields,
    metadata_version,
    metadata_name,
    metadata_version_field,
    requires_python,
)
"""Those that judge the file alone, whatever form it came with."""


def find_faults(upload: Upload, rules: Sequence[Rule] = RULES) -> list[str]:
    """Every fault that any rule finds, each once, in the rules' order."""
    faults: dict[str, None] = {}
    for rule in rules:
        try:
            for fault in rule(upload):
                faults[fault] = None
        except Invalid as error:
            faults |= dict.fromkeys(error.faults)
    return list(faults)
