"""Hostile bodies of uploads, by somebody who may upload: refused with a reason, and nothing of them stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support.besieged import Besieged, besieged
from support.clients import upload_form
from support.packages import make_wheel
from support.raw import Answer, connected

B = "xyzzy"
TYPE = f"Content-Type: multipart/form-data; boundary={B}"
END = f"--{B}--\r\n".encode()
WHEEL, DATA = make_wheel("acme", "2.0")
LIMIT = 64 << 10


def part(name: str, value: bytes = b"v", filename: str | None = None, *headers: str) -> bytes:
    named = f'Content-Disposition: form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    lines = [f"--{B}", named, *headers, "", ""]
    return "\r\n".join(lines).encode() + value + b"\r\n"


def raw_part(*lines: str, value: bytes = b"v") -> bytes:
    return "\r\n".join([f"--{B}", *lines, "", ""]).encode() + value + b"\r\n"


ACTION = part(":action", b"file_upload") + part("name", b"acme") + part("version", b"2.0")
FILE = part("content", DATA, WHEEL)


class Body(NamedTuple):
    data: bytes
    status: int = 400
    type: str = TYPE


SHAPES = {
    "no body": Body(b""),
    "only the end": Body(END),
    "no boundary at all": Body(b"hello" * 100),
    "another boundary": Body(ACTION.replace(B.encode(), b"other")),
    "no last boundary": Body(ACTION + FILE),
    "a boundary too long": Body(ACTION + END, type=f"Content-Type: multipart/form-data; boundary={'x' * 71}"),
    "an empty boundary": Body(ACTION + END, type='Content-Type: multipart/form-data; boundary=""'),
    "no boundary in the type": Body(ACTION + END, type="Content-Type: multipart/form-data"),
    "a boundary with other letters": Body(ACTION + END, type='Content-Type: multipart/form-data; boundary="a\xffb"'),
    "two types": Body(ACTION + END, 400, f"{TYPE}\r\n{TYPE}x"),
    "another type": Body(ACTION + END, 415, "Content-Type: application/x-www-form-urlencoded"),
    "a nested type": Body(ACTION + END, 415, f"Content-Type: multipart/mixed; boundary={B}"),
    "no type": Body(ACTION + END, 415, "X-A: b"),
    "a bomb of parameters": Body(ACTION + END, 400, "Content-Type: multipart/form-data" + ";a=b" * 3000),
    "a bomb of quotes": Body(ACTION + END, 400, 'Content-Type: multipart/form-data; boundary="' + '\\"' * 6000),
    "301 parts": Body(part("classifiers") * 301 + END, 413),
    "a hundred thousand parts": Body(part("a", b"") * 100_000 + END, 413),
    "nine headers in a part": Body(raw_part(*["X-A: b"] * 9) + END, 413),
    "a huge header in a part": Body(raw_part('Content-Disposition: form-data; name="' + "a" * 5000 + '"') + END, 413),
    "a header without end in a part": Body(f"--{B}\r\nX-A: ".encode() + b"a" * 200_000, 413),
    "no disposition": Body(raw_part("X-A: b") + END),
    "no header": Body(f"--{B}\r\n\r\nv\r\n".encode() + END),
    "no colon": Body(raw_part("X-A") + END),
    "a name that is no UTF-8": Body(f"--{B}\r\nContent-Disposition: form-data; name=".encode() + b'"\xff"\r\n\r\n\r\n'),
    "a value that is no UTF-8": Body(ACTION + part("summary", b"\xff\xfe") + FILE + END),
    "bare LF": Body((ACTION + FILE + END).replace(b"\r\n", b"\n")),
    "a length in a part": Body(raw_part('Content-Disposition: form-data; name="a"', "Content-Length: -5") + END),
    "a wrong length in a part": Body(raw_part('Content-Disposition: form-data; name="a"', "Content-Length: 1") + FILE),
    "a part in base64": Body(
        raw_part('Content-Disposition: form-data; name="a"', "Content-Transfer-Encoding: base64") + END
    ),
    "a text field of 2 MiB": Body(ACTION + part("summary", b"a" * (2 << 20)) + END, 413),
    "a signature of 65 KiB": Body(ACTION + part("gpg_signature", b"a" * (65 << 10), "a.asc") + END, 413),
    "a file over the limit": Body(ACTION + part("content", b"a" * (LIMIT + 1), WHEEL) + END, 413),
    "two files": Body(ACTION + FILE + FILE + END),
    "two signatures": Body(ACTION + part("gpg_signature", b"a", "a.asc") * 2 + END),
    "a file in a text field": Body(ACTION + part("summary", b"v", "a.txt") + END),
    "no file": Body(ACTION + END),
    "no action": Body(FILE + END),
    "another action": Body(part(":action", b"doc_upload") + FILE + END, 410),
    "nested parts": Body(
        ACTION + part("content", b"--i\r\n\r\nz\r\n--i--", WHEEL, "Content-Type: multipart/mixed; boundary=i") + END
    ),
    "a preamble longer than any upload": Body(b"x" * (20 << 20) + b"\r\n" + ACTION + FILE + END, 413),
    "NUL in every field": Body(ACTION.replace(b"acme", b"ac\0me") + FILE + END),
}  # fmt: skip

LONG = "a" * 300
FILENAMES = {
    "up": "../../../canary.whl",
    "up, escaped": "..%2f..%2facme-2.0-py3-none-any.whl",
    "absolute": "/tmp/acme-2.0-py3-none-any.whl",
    "of another system": "..\\\\..\\\\acme-2.0-py3-none-any.whl",
    "a drive": "C:acme-2.0-py3-none-any.whl",
    "with NUL": "acme-2.0-py3-none-any.whl\0.txt",
    "with a line break": "acme-2.0%0d%0a-py3-none-any.whl",
    "with a control": "acme-2.0\x1b[31m-py3-none-any.whl",
    "with a space": "acme-2.0-py3-none-any .whl",
    "hidden": ".acme-2.0-py3-none-any.whl",
    "empty": "",
    "dots": "..",
    "too long": f"{LONG}-2.0-py3-none-any.whl",
    "a sidecar": "acme-2.0-py3-none-any.whl.metadata",
    "our own list": "packages.jsonl",
    "of another project": "other-2.0-py3-none-any.whl",
    "of another version": "acme-3.0-py3-none-any.whl",
    "in other letters": "аcme-2.0-py3-none-any.whl",
    "not a wheel": "acme-2.0.exe",
    "markup": "<script>-2.0-py3-none-any.whl",
    "fully wide": "acme-2．0-py3-none-any.whl",
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    with besieged(tmp_path_factory.mktemp("uploads"), "--max-file-bytes", str(LIMIT)) as found:
        yield found


def send(target: Besieged, body: Body, *, chunked: bool = False) -> Answer:
    """The answer, judged; nothing may be left in the folder, and the connection goes on or is closed as it says."""
    before = target.listing()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body.data)}"
    head = "\r\n".join(["POST /legacy/ HTTP/1.1", "Host: x", target.authorization, body.type, framing, "", ""])
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(body.data)) + b"0\r\n\r\n"
    with connected(target.port) as raw:
        raw.send(head.encode("latin-1") + (data if chunked else body.data))
        answer = raw.answer()
        assert answer is not None
        target.judge(answer)
        assert raw.is_open() is (answer.headers.get("connection") != "close")
    assert target.listing() == before
    return answer


def pieces(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 9973] for at in range(0, len(data), 9973))


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES.keys())
def test_a_malformed_form_is_refused_and_leaves_nothing(target: Besieged, body: Body, chunked: bool) -> None:
    assert send(target, body, chunked=chunked).status == body.status


@pytest.mark.parametrize("filename", FILENAMES.values(), ids=FILENAMES.keys())
def test_no_filename_leads_anywhere(target: Besieged, filename: str) -> None:
    answer = send(target, Body(ACTION + part("content", DATA, filename) + END))
    assert answer.status == 400


@pytest.mark.parametrize(
    "disposition",
    [
        f"form-data; name=\"content\"; filename*=UTF-8''..%2F..%2F{WHEEL}",
        f"form-data; name=\"content\"; filename=\"{WHEEL}\"; filename*=UTF-8''..%2Fcanary.txt",
        'form-data; name="content"; filename="../canary.txt"; filename="' + WHEEL + '"',
        f'form-data; name="content"; name="summary"; filename="{WHEEL}"',
        f'attachment; name="content"; filename="{WHEEL}"',
        f'form-data; name="content; filename="{WHEEL}"',
        'form-data; name="content"; filename="' + '\\"' * 1500 + '"',
    ],
)  # fmt: skip
def test_a_disposition_that_says_two_things_never_writes_elsewhere(target: Besieged, disposition: str) -> None:
    body = ACTION + raw_part(f"Content-Disposition: {disposition}", value=DATA[:-1]) + END  # damaged: never published
    assert send(target, Body(body)).status == 400


def test_a_length_over_the_limit_is_refused_by_its_number_alone(target: Besieged) -> None:
    for length in (str(LIMIT + (32 << 20)), "999999999999999999", "9999999999999999999"):
        head = ["POST /legacy/ HTTP/1.1", "Host: x", target.authorization, TYPE, f"Content-Length: {length}"]
        answer = target.ask("\r\n".join([*head, "Expect: 100-continue", "", ""]).encode())
        assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_good_form_is_still_judged_by_its_file(target: Besieged) -> None:
    body, content_type = upload_form(WHEEL, DATA)
    damaged = body.replace(DATA, DATA[:-1] + b"!")
    answer = send(target, Body(damaged, 400, f"Content-Type: {content_type}"))
    assert "damaged on its way" in answer.reason
