"""`caseus doctor`, logins and uploads: who is asked for one, what is published, and what must not leave the house."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from caseus.doctor import Login
from support.doctored import (
    Index,
    answers,
    doctored,
    document,
    found,
    heard,
    is_file,
    is_page,
    post,
    told,
    unknown,
)
from support.front import Answer, Asked, Fault, Forward, Front


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with doctored(tmp_path_factory.mktemp("open") / "root", prefix="/python") as index:
        yield index


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with doctored(tmp_path_factory.mktemp("closed") / "root", "--read", "users") as index:
        yield index


def challenge(header: str | None, status: int = 401) -> Fault:
    def fault(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        if answer.status != 401 or asked.method == "POST":
            return answer
        return replace(answer, status=status, reason="").with_headers(www_authenticate=header, location="/login/")

    return fault


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (challenge(None), "a page: 401 with WWW-Authenticate missing"),
        (challenge("Bearer"), "a page: 401 with WWW-Authenticate Bearer"),
        (challenge("Basic", 403), "a page: 403 Forbidden without login: pip and uv ask for none then"),
        (challenge("Basic", 302), "a page: 302 Found without login: a login page is no page for pip"),
    ],
    ids=["no challenge", "bearer only", "403", "login page"],
)
def test_closed_without_a_right_challenge(closed: Index, fault: Fault, words: str) -> None:
    assert found(closed.examine(fault))["reading without login"] == f"fail: {words}"


def test_closed_is_no_fault(closed: Index) -> None:
    report = closed.examine()
    assert found(report) == {}
    assert report.unseen is None


def test_closed_shows_nothing_to_nobody(closed: Index) -> None:
    report = closed.examine(login=False)
    assert found(report) == {}
    assert {finding.check for finding in report.findings} == {
        "TLS", "reading without login", "unknown names without login"
    }  # fmt: skip
    assert report.unseen is not None and "give --user" in report.unseen


def test_closed_with_a_wrong_login(closed: Index) -> None:
    report = closed.examine(login=Login("admin", "not the password"))
    assert report.unseen is not None and "refuses these credentials" in report.unseen
    assert "not the password" not in report.unseen


def anonymous(asked: Asked) -> bool:
    return "authorization" not in asked.headers and asked.method != "POST"


@pytest.mark.parametrize("what", ["files", "names", "caches", "wrong logins"])
def test_closed_with_a_leak(closed: Index, what: str) -> None:
    user, password = closed.server.admin
    key = Login(user, password).header
    faults: dict[str, tuple[Fault, dict[str, str]]] = {
        "files": (
            heard(lambda a: anonymous(a) and is_file(a, ".whl"), authorization=key),
            {"files without login": "warn: acme_app-1"},
        ),
        "names": (
            answers(lambda a: anonymous(a) and unknown(a), Answer(404)),
            {"unknown names without login": "warn: a project that nobody has answers 404"},
        ),
        "caches": (told(is_page, cache_control="public, max-age=60"), {"caching of pages": "fail: acme-app: public"}),
        "wrong logins": (
            heard(lambda a: not anonymous(a) and not post(a), authorization=key),
            {"reading with a wrong login": "fail: a wrong login is shown the page"},
        ),
    }
    fault, expected = faults[what]
    seen = found(closed.examine(fault))
    assert seen.keys() == expected.keys()
    assert all(seen[check].startswith(words) for check, words in expected.items()), seen


# Uploads that are asked for.


class Tick:
    """A clock that gives each upload a version of its own."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        Tick.now += 1
        return Tick.now


def test_an_upload_that_is_asked_for(opened: Index) -> None:
    report = opened.examine(upload=True, clock=Tick())
    assert found(report) == {}
    assert next(finding for finding in report.findings if finding.check == "upload").detail.endswith("never replaced")


def test_nothing_is_published_unasked(opened: Index) -> None:
    opened.front.asked.clear()
    opened.examine()
    posted = [asked for asked in opened.front.asked if asked.method == "POST"]
    assert posted
    assert not any(b'name="content"' in asked.body for asked in posted)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (answers(lambda a: post(a) and b"content" in a.body, Answer(418)), "fail: a sound wheel is refused: 418"),
        (
            lambda asked, forward: replace(answer, status=200) if (answer := forward(asked)).status == 409 else answer,
            "fail: other bytes under a used name are taken: 200",
        ),
        (
            lambda asked, forward: (
                (replace(answer, status=200) if b"0" * 64 in asked.body else answer)
                if (answer := forward(asked))
                else answer
            ),
            "fail: an upload with a wrong sha256_digest is taken: 200",
        ),
        (
            answers(lambda asked: asked.path == "/simple/caseus-doctor-throwaway/", Answer(404)),
            "warn: caseus_doctor_throwaway-0.18",
        ),
        (
            lambda asked, forward: replace(forward(asked), reason="") if b"content" in asked.body else forward(asked),
            "warn: other bytes under a used name are refused by 409 Conflict, without a reason",
        ),
    ],
    ids=["refused", "replaced", "unchecked", "unseen", "unexplained"],
)
def test_an_upload_that_goes_wrong(opened: Index, fault: Fault, words: str) -> None:
    seen = found(opened.examine(fault, upload=True, clock=Tick()))
    assert seen.keys() == {"upload"}
    assert seen["upload"].startswith(words)


def test_who_asks_for_no_login_before_an_upload(opened: Index) -> None:
    user, password = opened.server.admin
    seen = found(opened.examine(heard(post, authorization=Login(user, password).header)))
    assert seen.keys() == {"upload without login"}
    assert seen["upload without login"].startswith("warn: an upload by nobody is not asked for a login: 400 malformed")


def test_an_index_that_takes_no_uploads(opened: Index) -> None:
    report = opened.examine(answers(post, Answer(405)))
    assert found(report) == {}
    told_of_it = {finding.check: finding.detail for finding in report.findings}
    assert told_of_it["upload without login"].startswith("no uploads are taken here: 405 Method Not Allowed at http:")
    assert found(opened.examine(answers(post, Answer(405)), upload=True)).keys() == {"upload"}


# What must not leave the house.


def test_credentials_go_to_the_index_only(opened: Index) -> None:
    with Front(opened.server.url) as stranger:

        def away(asked: Asked, forward: Forward) -> Answer:
            if is_page(asked) or is_file(asked):
                return Answer(302, headers={"location": f"{stranger.origin}{asked.path}"})
            return forward(asked)

        opened.examine(away)
        assert stranger.asked
        assert not [asked for asked in stranger.asked if "authorization" in asked.headers]
        assert [asked for asked in opened.front.asked if "authorization" in asked.headers]


def test_secrets_are_not_told_though_the_index_does(opened: Index) -> None:
    _, password = opened.server.admin

    def echo(asked: Asked, forward: Forward) -> Answer:
        secret = asked.headers.get("authorization", "nobody")
        if asked.method == "POST":
            return Answer(500, f"{secret} and {password}", {"x-error-message": secret})
        return forward(asked)

    report = opened.examine(echo)
    text = repr(report)
    assert "***" in text
    assert password not in text
    assert Login(*opened.server.admin).header.partition(" ")[2] not in text


def test_control_characters_are_not_shown(opened: Index) -> None:
    report = opened.examine(document(lambda loaded: loaded.update(name="\x1b[2Jevil\r\n")))
    assert found(report)["JSON keys"] == "fail: acme-app: the key name is [2Jevil, not the normalised name"
