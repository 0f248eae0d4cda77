"""Guessing passwords over HTTP: slower with each try, for the guesser alone, and no answer tells who exists."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from support.raw import Answer, ask, request
from support.server import CaseusServer

Start = Callable[..., CaseusServer]


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def read(server: CaseusServer, *headers: str) -> Answer:
    return ask(server.port, request("GET", "/simple/", *headers))


def guess_until_refused(server: CaseusServer, user: str, *headers: str) -> list[Answer]:
    """At most some tries more than are free, as each wait ends at its time on a slow machine too."""
    answers: list[Answer] = []
    while not answers or answers[-1].status == 401:
        assert len(answers) < 15, "guessing is not slowed down"
        answers.append(read(server, basic(user, f"guess {len(answers)}"), *headers))
    return answers


def told(answer: Answer) -> dict[str, Any]:
    """All of an answer but its request id."""
    own = ("x-request-id", "content-length", "date")
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    problem = {name: value for name, value in answer.problem.items() if name != "request_id"}
    return {"status": answer.status, "reason": answer.reason, "headers": headers, "problem": problem}


def test_guessing_is_slowed_down_for_the_guesser_alone(start_caseus: Start) -> None:
    server = start_caseus(flags=("--read", "users"))
    admin, mia = server.admin, server.add_user("mia", "camembert de Normandie")
    token = server.token("mia")
    *wrong, refused = guess_until_refused(server, "mia")
    assert len(wrong) >= 5 and {answer.reason.split(":")[0] for answer in wrong} == {
        "wrong user name, password or token"
    }
    assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
    assert refused.reason == "too many failed logins: wait before the next one, or use a token"
    assert read(server, f"Authorization: Bearer {token}").status == 200
    assert read(server, basic("__token__", token)).status == 200
    assert read(server, basic(*admin)).status == 200
    answer = read(server, basic(*mia))
    while answer.status == 429:  # also the right password waits, else it would tell itself
        answer = read(server, basic(*mia))
    assert answer.status == 200


def test_nobody_is_answered_as_a_user_with_a_wrong_password(start_caseus: Start) -> None:
    server = start_caseus(flags=("--read", "users"))
    server.add_user("mia", "camembert de Normandie")
    known, unknown = (guess_until_refused(server, user) for user in ("mia", "nobody"))
    assert told(known[0]) == told(unknown[0])
    assert {str(told(answer)) for answer in known[:-1]} == {str(told(answer)) for answer in unknown[:-1]}
    for answer in (known[-1], unknown[-1]):
        answer.headers["retry-after"] = "n"
    assert told(known[-1]) == told(unknown[-1])


def test_an_address_is_that_of_the_connection_unless_a_trusted_proxy_says_another(start_caseus: Start) -> None:
    for flags, counted_apart in (((), False), (("--trusted-proxies", "127.0.0.1"), True)):
        server = start_caseus(flags=("--read", "users", *flags))
        guess_until_refused(server, "admin", "X-Forwarded-For: 192.0.2.1")
        for client, apart in (
            ("192.0.2.9, 192.0.2.1", False),  # the proxy adds what it sees behind what the client wrote
            ("192.0.2.2", counted_apart),
            ("2001:db8::1", counted_apart),
        ):
            tries = len(guess_until_refused(server, "admin", f"X-Forwarded-For: {client}"))
            assert tries > 5 if apart else tries <= 4


def test_where_reading_is_open_wrong_passwords_on_reads_are_not_looked_at(caseus: CaseusServer) -> None:
    for number in range(40):
        assert read(caseus, basic("admin", f"wrong {number}")).status == 200
    answer = ask(caseus.port, request("POST", "/legacy/", basic(*caseus.admin), body=b""))
    assert answer.status == 415
