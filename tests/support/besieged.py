"""A server with secrets around and in its folder, for requests that try to get at them or to break it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.clients import upload
from support.packages import make_wheel
from support.raw import Answer, ask, connected, request
from support.server import CaseusServer

CANARY = "canary-3f1c9e-outside-of-the-root"
DELIBERATE = frozenset({501, 503, 505})
"""Answers of 500 and more that a request may be given for what it is: a method, version or coding that is not known
here, and too many of something."""


class Besieged:
    """`server` with one project, `acme`; `wheel` is the name of its file and `data` its content."""

    def __init__(self, server: CaseusServer) -> None:
        self.server = server
        self.port = server.port
        self.wheel, self.data = make_wheel("acme", "1.0")
        self.login = server.admin
        assert upload(server.url, self.wheel, self.data, login=self.login).status == 200
        (server.root.parent / "canary.txt").write_text(CANARY)
        (server.root / "canary.txt").write_text(CANARY)
        (server.root / "files" / "canary.txt").write_text(CANARY)
        self.secrets = (CANARY.encode(), self.login[1].encode(), b"SQLite format", b"root:x:0")

    @property
    def authorization(self) -> str:
        return "Authorization: Basic " + base64.b64encode(":".join(self.login).encode()).decode()

    def listing(self) -> set[str]:
        """Everything that lies in the server's folder and beside it; SQLite's own files come and go."""
        top = self.server.root.parent
        return {str(path.relative_to(top)) for path in top.rglob("*") if not path.name.startswith("catalog.sqlite-")}

    def judge(self, answer: Answer) -> None:
        """What holds for every answer to every request."""
        assert answer.status < 500 or answer.status in DELIBERATE, answer
        assert answer.status != 503 or "retry-after" in answer.headers, answer
        assert not any(secret in answer.wire for secret in self.secrets), answer
        if answer.status >= 400 and answer.body:
            problem = answer.problem
            assert problem["status"] == answer.status
            assert answer.reason and answer.headers["x-error-message"] == answer.reason, answer

    def ask(self, data: bytes, *, head: bool = False) -> Answer:
        """The answer to one request on a connection of its own, judged."""
        answer = ask(self.port, data, head=head)
        self.judge(answer)
        return answer

    def is_well(self) -> bool:
        """Whether a new connection is served, and the project is as it was."""
        with connected(self.port) as raw:
            raw.send(request("GET", f"/simple/acme/{self.wheel}"))
            answer = raw.answer()
            return answer is not None and answer.body == self.data and raw.is_open()


@contextmanager
def besieged(root: Path, *flags: str) -> Iterator[Besieged]:
    """At the end nothing may be there that was not there at the begin, and the log tells of no fault of our own."""
    root.mkdir(parents=True, exist_ok=True)
    with CaseusServer(root / "data", flags=flags) as server:
        found = Besieged(server)
        before = found.listing()
        yield found
        assert found.is_well()
        assert found.listing() == before
        assert "Traceback" not in server.log and '"level": "error"' not in server.log, server.log[-5000:]
