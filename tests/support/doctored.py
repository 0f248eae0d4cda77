"""An index for `caseus doctor`: a real server behind a proxy that makes one fault, and how faults are made."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from caseus.doctor import Login, Report, Request, examine
from support.clients import upload
from support.front import Answer, Asked, Fault, Forward, Front, sound
from support.packages import make_sdist, make_wheel
from support.server import CaseusServer

FILES = [make_wheel("acme-app", "1.0", requires_python=">=3.8"), make_sdist("acme-app", "1.0")]
FILES += [make_wheel("acme-app", f"1.{minor}") for minor in range(1, 12)]  # a page that is worth compressing
FILES += [make_wheel("other", "1.0")]


class Index(NamedTuple):
    """An index to look at, with or without a fault."""

    front: Front
    server: CaseusServer

    def examine(self, fault: Fault = sound, *, login: bool | Login = True, **options: Any) -> Report:
        """`login`: whether by the admin, or by whom else."""
        self.front.fault = fault
        whom = login if isinstance(login, Login) else Login(*self.server.admin) if login else None
        options = {"projects": ("acme-app",), "login": whom, "rounds": 3} | options
        return examine(Request(url=f"{self.front.url}simple/", **options))


@contextmanager
def doctored(root: Path, *flags: str, prefix: str = "") -> Iterator[Index]:
    """A server with the files behind a proxy."""
    with CaseusServer(root, flags=flags) as server, Front(server.url, prefix=prefix) as front:
        for name, data in FILES:
            assert upload(server.url, name, data, login=server.admin).status == 200
        yield Index(front, server)


def found(report: Report) -> dict[str, str]:
    """Check to what it says, of all that is wrong: `fail: …`."""
    return {fault.check: f"{fault.result}: {fault.detail}" for fault in report.faults}


# What can be wrong, by where it is.


def is_page(asked: Asked) -> bool:
    return re.fullmatch(r"/simple/[\w.-]+/", asked.path) is not None


def is_file(asked: Asked, ending: str = "") -> bool:
    return re.fullmatch(r"/simple/[\w.-]+/[^/]+", asked.path) is not None and asked.path.endswith(ending)


def answers(when: Callable[[Asked], bool], answer: Answer) -> Fault:
    """That instead of what the index says."""
    return lambda asked, forward: answer if when(asked) else forward(asked)


def told(when: Callable[[Asked], bool], **headers: str | None) -> Fault:
    """Other headers of the answer."""
    return lambda asked, forward: forward(asked).with_headers(**headers) if when(asked) else forward(asked)


def heard(when: Callable[[Asked], bool], **headers: str | None) -> Fault:
    """Other headers of the request."""
    return lambda asked, forward: forward(asked.with_headers(**headers) if when(asked) else asked)


def page(change: Callable[[str], str], form: str = "") -> Fault:
    """Another text of pages, of the one form only if `form` says so."""

    def fault(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        if (
            answer.status != 200
            or not is_page(asked)
            or not answer.body
            or form not in answer.headers.get("content-type", "")
        ):
            return answer
        zipped = answer.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(answer.body) if zipped else answer.body
        body = change(body.decode()).encode()
        return replace(answer, body=gzip.compress(body) if zipped else body)

    return fault


def document(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Another JSON."""

    def changed(text: str) -> str:
        loaded = json.loads(text)
        change(loaded)
        return json.dumps(loaded)

    return page(changed, "json")


def md5_only(text: str) -> str:
    """Of either form: another hash instead of the file's sha256; that of its metadata stays."""
    if not text.startswith("{"):
        return re.sub(r"#sha256=[0-9a-f]+", f"#md5={'0' * 32}", text)
    loaded = json.loads(text)
    for file in loaded["files"]:
        file["hashes"] = {"md5": "0" * 32}
    return json.dumps(loaded)


def each_file(change: Callable[[dict[str, Any]], object]) -> Fault:
    return document(lambda loaded: [change(file) for file in loaded["files"]])


def bytes_of(ending: str, change: Callable[[bytes], bytes]) -> Fault:
    """Other bytes of files."""

    def fault(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        return replace(answer, body=change(answer.body)) if is_file(asked, ending) else answer

    return fault


def flipped(data: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in data)


def absolute(origin: Callable[[], str]) -> Fault:
    def fault(asked: Asked, forward: Forward) -> Answer:
        base = f"{origin()}{asked.path}"
        return page(lambda text: re.sub(r'("url":\s*"|href=")', rf"\g<1>{base}", text))(asked, forward)

    return fault


def unknown(asked: Asked) -> bool:
    return re.fullmatch(r"/simple/caseus-doctor-[0-9a-f]+/", asked.path) is not None


def wheel(asked: Asked) -> bool:
    return is_file(asked, ".whl")


def post(asked: Asked) -> bool:
    return asked.method == "POST"
