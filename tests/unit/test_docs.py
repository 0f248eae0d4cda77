"""The docs are tested like code: what they name exists, and what exists they name."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import unquote

import msgspec
import pytest
from cyclopts import App

from caseus import access, cli, config, logins, verify
from caseus.catalog import schema
from caseus.cli.app import app
from caseus.cli.export import parser as export_parser
from caseus.doctor import CHECKS
from caseus.export.entries import Entry
from caseus.importers.report import Outcome
from caseus.keys import KEYS
from caseus.packages import Line
from caseus.server.limits import Limits
from caseus.server.reload import FIXED
from caseus.units import parse_duration, parse_size
from caseus.upstreams import TABLE_KEYS
from caseus.web import Metrics
from caseus.web.paths import METHODS, Route, parse_path
from caseus.web.request import Body
from proof.promises import PROMISES

TOP = Path(__file__).parents[2]
SOURCE = TOP / "src" / "caseus"
DOCS = (TOP / "README.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("*.md")))
README, REFERENCE, GUIDE, ARCHITECTURE, MIGRATING = (
    (TOP / name).read_text()
    for name in ("README.md", "docs/reference.md", "docs/guide.md", "docs/architecture.md", "docs/migrating.md")
)
COMMON_FLAGS = {"--root", "--config"}
WITHOUT_INDEX = {("passwd-check",), ("passwd-hash",)}  # commands that need neither
SETTING_FLAGS = {config.flag_name(key) for key in KEYS}

each_page = pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def prose(text: str) -> str:
    """The text without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """What stands between backquotes."""
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", prose(text))]


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)


def anchors(text: str) -> set[str]:
    """As the usual renderers make them of headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in headings(text):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of any depth."""
    parts = re.split(r"^(#+ .+)$", text, flags=re.MULTILINE)
    return next(body for title, body in zip(parts[1::2], parts[2::2], strict=True) if title.lstrip("# ") == heading)


def tables(text: str) -> Iterator[list[list[str]]]:
    """The rows of each table, without its head."""
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in table.splitlines()[2:]]
        yield [[cell.strip() for cell in row] for row in rows]


def table(text: str, heading: str) -> list[list[str]]:
    """The first table under a heading."""
    return next(tables(section(text, heading)))


def coded(cell: str) -> str:
    """The first words between backquotes in a cell."""
    match = re.search(r"`([^`]+)`", cell)
    assert match, cell
    return match[1]


# Links, names, hosts


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text()))
    for link in links:
        if re.match(r"https?://", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name} links {link}"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{page.name} links {link}"


def test_readme_leads_to_every_page() -> None:
    for page in DOCS[1:]:
        assert f"]({page.relative_to(TOP)})" in README


def tracked() -> list[Path]:
    """Files of the repository, and new ones that nobody ignores; of an unpacked sdist all."""
    if (TOP / ".git").exists():
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=TOP, check=True, capture_output=True, text=True).stdout.split("\0")
        found = [TOP / name for name in names if name]
    else:
        found = [path for path in TOP.rglob("*") if not path.relative_to(TOP).parts[0].startswith(".venv")]
    return [path for path in found if path.is_file()]


def test_no_file_names_a_registry_or_a_developers_machine() -> None:
    """Written in pieces, so that this file does not hold what it looks for."""
    hosts = ["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(?:org|com)", "debian" + r"\.org"]
    folders = ["/ro" + "ot/", "/wo" + "rk/", "/fa" + "rm/", "/Us" + r"ers/\w", "/ho" + r"me/(?!someone\b)\w"]
    machine = [re.escape(f"{folder}/") for folder in (TOP, Path.home()) if len(folder.parts) > 2]
    forbidden = re.compile("|".join([*hosts, *(rf"(?<![\w.-]){folder}" for folder in [*folders, *machine])]), re.ASCII)
    files = tracked()
    assert {TOP / "README.md", Path(__file__)} <= set(files)
    found = []
    for path in files:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(TOP)}: {match[0]}" for match in forbidden.finditer(text)]
    assert not found


# The project's own commands


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (TOP / "Makefile").read_text(), re.MULTILINE))


def test_readme_begins_with_the_commands_that_ci_runs() -> None:
    first = blocks(README)[0].text
    assert {"serve", "test"} <= set(re.findall(r"^make (\w+)", first, re.MULTILINE))
    assert (TOP / ".ci" / "run").read_text().splitlines()[-2:] == ["make check", "make test"]


@each_page
def test_make_targets_exist(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"^make ([a-z][\w-]*)", text, re.MULTILINE))
    named |= {span.split()[1] for span in spans(text) if re.match(r"make [a-z]", span)}
    assert named <= make_targets()


# Commands and flags


def commands(tree: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """The words and the App of each command that does something."""
    for word in tree:
        if word.startswith("-"):
            continue
        found = tree[word]
        if any(not sub.startswith("-") for sub in found):
            yield from commands(found, (*path, word))
        else:
            yield (*path, word), found


COMMANDS = dict(commands(app))
EXPORT = ("export",)


def flags(command: App) -> set[str]:
    """As they are spelled in the docs."""
    if command is COMMANDS[EXPORT]:  # it has a parser of its own
        actions = export_parser()._actions
        return {name for action in actions for name in action.option_strings if name.startswith("--")} - {"--help"}
    arguments = command.assemble_argument_collection()
    return {name for argument in arguments for name in argument.names if name.startswith("--")}


def documented_commands() -> dict[tuple[str, ...], str]:
    """Words of each command to the section of it."""
    found = {}
    for heading in headings(REFERENCE):
        if heading.startswith("`caseus "):
            words = heading.strip("`").split()[1:]
            found[tuple(word for word in words if word.islower())] = section(REFERENCE, heading)
    return found


def test_every_command_is_in_the_reference() -> None:
    assert set(documented_commands()) == set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_flag_is_in_the_reference(words: tuple[str, ...]) -> None:
    text = documented_commands()[words]
    own = {coded(row[0]).split()[0] for rows in tables(text) for row in rows}
    settings = SETTING_FLAGS if "(#settings)" in text else set()
    common = set() if words in WITHOUT_INDEX else COMMON_FLAGS
    assert own | settings | common == flags(COMMANDS[words])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_argument_is_in_the_headings(words: tuple[str, ...]) -> None:
    heading = next(h for h in headings(REFERENCE) if h.startswith(f"`caseus {' '.join(words)}"))
    named = re.findall(r"[A-Z]+", heading)
    arguments = COMMANDS[words].assemble_argument_collection() if words != EXPORT else []
    assert named == [each.names[0] for each in arguments if re.match(r"[A-Z]", each.names[0])]


def shell_commands(text: str) -> Iterator[list[str]]:
    """The words of every `caseus …` that stands in a block of shell."""
    for block in blocks(text):
        if block.language != "sh":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and "=" in words[0]:
                del words[0]
            if words and words[0].rpartition("/")[2] == "caseus":
                yield words[1 : words.index("<")] if "<" in words else words[1:]


@each_page
def test_shell_lines_are_commands(page: Path) -> None:
    """Whole lines: command, arguments, flags and the values of choices."""
    for words in shell_commands(page.read_text()):
        if words[:1] == list(EXPORT):
            export_parser().parse_args(words[1:])
        else:
            app.parse_args(words, exit_on_error=False, print_error=False)


def test_there_are_shell_lines() -> None:
    assert len(list(shell_commands(GUIDE))) > 15


@each_page
def test_commands_in_the_text_exist(page: Path) -> None:
    """`caseus user add` may be named without its arguments, and `delete --yes` by its flag."""
    everywhere = set().union(*map(flags, COMMANDS.values())) | {"--help"}
    makes = {"--extra-index-url", "--trusted-host", "--skip-existing"}  # of pip and twine
    others = {flag for rows in tables(MIGRATING) for row in rows for flag in re.findall(r"`(--[a-z-]+)", row[0])}
    others |= {"--include-mirrored-files"}  # of devpi-export
    for span in spans(page.read_text()):
        if span.startswith("caseus "):
            words = span.split()[1:]
            assert any(words[: len(command)] == list(command)[: len(words)] for command in COMMANDS), span
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", span):
            assert flag in everywhere | makes | (others if page.name == "migrating.md" else set()), (
                f"{page.name}: {span}"
            )


# Settings


def settings_rows() -> dict[str, list[str]]:
    return {coded(row[2]): row for row in table(REFERENCE, "Settings")}


def test_every_setting_is_in_the_reference() -> None:
    assert list(settings_rows()) == list(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_setting_is_told_as_it_is(key: str) -> None:
    flag, environment, _, default, meaning = settings_rows()[key]
    assert coded(flag) == config.flag_name(key)
    assert coded(environment) == "CASEUS_" + key.upper()
    assert meaning
    if KEYS[key].default in (None, []):
        assert "`" not in default
    else:
        assert KEYS[key].parse(coded(default)) == KEYS[key].parse(KEYS[key].default)


def test_what_may_be_said_of_an_upstream_is_in_the_reference() -> None:
    assert [coded(row[0]) for row in table(REFERENCE, "Upstreams")] == list(TABLE_KEYS)


def test_other_environment_names_are_in_the_reference() -> None:
    rows = list(tables(section(REFERENCE, "Settings")))[1]
    assert {coded(row[0]) for row in rows} == config.EXTRA_NAMES


@each_page
def test_environment_names_exist(page: Path) -> None:
    known = {"CASEUS_" + key.upper() for key in KEYS} | config.EXTRA_NAMES
    named = set(re.findall(r"(?<!_)\bCASEUS_[A-Z_]+\b", page.read_text()))
    assert named <= known


@pytest.mark.parametrize("page", [page for page in DOCS if "```toml" in page.read_text()], ids=lambda page: page.name)
def test_toml_can_be_loaded(page: Path, tmp_path: Path) -> None:
    for block in blocks(page.read_text()):
        if block.language != "toml":
            continue
        content = tomllib.loads(block.text)
        if block.text.startswith("# caseus.toml\n"):
            (tmp_path / "caseus.toml").write_text(block.text)
            loaded = config.load({"root": str(tmp_path)}, {})
            given = {key for key, setting in loaded.settings.items() if setting.source not in ("default", "--root")}
            keys = {key for key in content if key != "index"} | set(content.get("index", {}).get("main", {}))
            assert given == {"upstream" if key == config.UPSTREAM_TABLES else key for key in keys}
        else:
            assert set(content) == {"tool"}, block.text  # of pyproject.toml


# URLs, answers, formats


def test_routes_are_in_the_reference() -> None:
    kinds = set()
    for methods, path, answer in table(REFERENCE, "URLs"):
        segments = coded(path).replace("FILE", "acme_app-1.0-py3-none-any.whl").split("/")
        route = parse_path("/".join("acme-app" if part == "P" else part for part in segments).encode())
        assert isinstance(route, Route), path
        assert tuple(methods.split(", ")) == METHODS[route.kind], path
        assert answer
        kinds.add(route.kind)
    assert kinds == set(METHODS)


def test_status_codes_are_in_the_reference() -> None:
    text = "".join(path.read_text() for folder in ("web", "server") for path in (SOURCE / folder).glob("*.py"))
    used = {HTTPStatus[name].value for name in re.findall(r"HTTPStatus\.([A-Z_]+)", text)}
    documented = [int(row[0]) for row in table(REFERENCE, "Status codes")]
    assert documented == sorted(used - {HTTPStatus.NO_CONTENT})  # which is named for having no body, and never sent


def test_limits_are_in_the_reference() -> None:
    of, pace = Limits(), Body.pace
    sizes = [of.head, of.target, of.headers]
    times = [of.head_seconds, of.queued, of.idle_seconds, of.unread_seconds, pace.idle, pace.patience]
    logins_ = [logins.FREE, logins.LONGEST, logins.FREE_OF_ADDRESS, logins.FORGIVEN, access.AT_ONCE]
    rows = table(REFERENCE, "Limits")
    read = [parse_duration if re.search("[sm]`", row[1]) else parse_size for row in rows]
    told = [parse(coded(row[1])) for parse, row in zip(read, rows, strict=True)]
    assert told == [*sizes, *times, of.connections, of.spare, *logins_]
    assert f"less than {pace.rate:.0f} bytes a second" in section(REFERENCE, "Limits")


def test_metrics_are_in_the_reference() -> None:
    told = {re.split(r"[ {]", line)[0] for line in Metrics().text().decode().splitlines() if line.startswith("caseus_")}
    assert {coded(row[0]) for row in table(REFERENCE, "Metrics")} == {
        *(name for name in told if not name.endswith("_created")),
        "caseus_requests_total",
    }


def test_settings_that_need_a_restart_are_in_the_reference() -> None:
    text = section(REFERENCE, "Signals")
    assert re.findall(r"`(\w+)`", text[text.index("those of the start.") :]) == list(FIXED)


def test_kinds_of_damage_are_in_the_reference() -> None:
    assert {coded(row[0]) for row in table(REFERENCE, "Kinds of damage")} == set(get_args(verify.Kind))


def test_outcomes_of_an_import_are_in_the_reference() -> None:
    assert [coded(row[0]) for row in table(REFERENCE, "Outcomes of an import")] == [each.value for each in Outcome]


def test_checks_of_the_doctor_are_in_the_reference() -> None:
    rows = table(REFERENCE, "Checks of the doctor")
    assert [coded(row[0]) for row in rows] == [check.name for check in CHECKS]
    assert all(meaning for _, meaning in rows)


def test_packages_jsonl_is_in_the_reference() -> None:
    keys = [coded(row[0]) for row in table(REFERENCE, "packages.jsonl")]
    assert keys == [field.encode_name for field in msgspec.structs.fields(Line)]


def test_lines_of_lists_are_in_the_reference() -> None:
    keys = [coded(row[0]) for row in table(REFERENCE, "Lines of a list")]
    assert keys == [field.encode_name for field in msgspec.structs.fields(Entry)]


def test_the_example_tree_is_what_is_made_of_its_list(tmp_path: Path) -> None:
    """Its command stands in the reference."""
    (line,) = [words for words in shell_commands(REFERENCE) if "docs/example/tree" in words]
    assert cli.run([str(TOP / word) if word == line[2] else word for word in line[:-1]] + [str(tmp_path)]) == 0
    (tmp_path / "caseus-export.state").unlink()
    made, kept = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path, TOP / "docs" / "example" / "tree")
    )
    assert made == kept


def test_the_journal_is_in_the_reference() -> None:
    columns = [coded(row[0]) for row in table(REFERENCE, "The journal")]
    assert columns == [column.name for column in schema.journal.columns]


def source_text() -> str:
    """The source with the parts of a text that goes over several lines joined."""
    text = "\n".join(path.read_text() for path in sorted(SOURCE.rglob("*.py")))
    return re.sub(r'" *\n\s*f?"', "", text)


@pytest.mark.parametrize(
    ("page", "heading", "column"),
    [(GUIDE, "Troubleshooting", 0), (REFERENCE, "Status codes", 1)],
    ids=["troubleshooting", "status-codes"],
)
def test_messages_are_those_of_the_code(page: str, heading: str, column: int) -> None:
    """A message is quoted with … for what differs each time; a quoted word or name is no message."""
    source = source_text()
    quoted = [span for row in table(page, heading) for span in re.findall(r"`([^`]+)`", row[column])]
    messages = [span for span in quoted if " " in span]
    assert len(messages) > 10
    for message in messages:
        for part in message.split("…"):
            if len(part.strip()) > 3:
                assert part.strip() in source, message


# Promises


def test_promises_are_those_of_the_proof() -> None:
    """The page is written by `make proof`; what it says besides figures is in `tests/proof/promises.py`."""
    page = " ".join((TOP / "docs/promises.md").read_text().split())
    assert [promise.number for promise in PROMISES] == list(range(1, 22))
    for promise in PROMISES:
        assert f"**{promise.text}** {promise.state.capitalize()}." in page
        for words in (promise.measure, promise.limits, *promise.tests):
            assert words in page


def test_tests_that_the_promises_name_exist() -> None:
    named = [span for span in spans((TOP / "docs/promises.md").read_text()) if span.startswith("tests/")]
    assert len(named) > 30
    for test in named:
        path, *names = test.split("::")
        text = (TOP / path).read_text()
        for name in names:
            assert re.search(rf"^ *(?:def|class) {name}\b", text, re.MULTILINE), test


# Architecture


def drawn_layers() -> list[list[str]]:
    """The names in each row of the picture; what they are for stands behind a wide gap."""
    picture = next(block.text for block in blocks(ARCHITECTURE) if "site.py" in block.text)
    return [re.split(r"\s{4,}", line)[0].split() for line in picture.splitlines()]


def test_every_module_is_in_the_layers() -> None:
    named = [name for row in drawn_layers() for name in row]
    there = [f"{path.name}/" if path.is_dir() else path.name for path in SOURCE.iterdir()]
    modules = [name for name in there if name != "__init__.py" and re.match(r"\w+(\.py|/)\Z", name)]
    assert sorted(named) == sorted(name for name in modules if name != "__pycache__/")


def test_layers_are_those_that_are_checked() -> None:
    """import-linter's contract has the same order; rows that it takes for one may be two in the picture."""
    contract = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    checked = [{name.strip().rpartition(".")[2] for name in re.split("[:|]", row)} for row in contract["layers"]]
    rank = {name: depth for depth, names in enumerate(checked) for name in names}
    drawn = [rank[stem] for row in drawn_layers() for name in row if (stem := re.sub(r"\.py|/", "", name)) in rank]
    assert sorted(drawn) == drawn
    assert len(drawn) == len(rank)


def test_modules_that_the_docs_name_exist() -> None:
    for page in DOCS[2:]:
        for span in spans(page.read_text()):
            if re.fullmatch(r"[a-z_]+(/[a-z_]+)*\.py|(checks|render|catalog|upstream|storage|cli|web|server)/", span):
                assert (SOURCE / span).exists() or (TOP / span).exists(), f"{page.name}: {span}"
