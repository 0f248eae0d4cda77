"""What a resolver waits for."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from operator import truediv
from pathlib import Path

from bench.peers import PeerError, caseus, nginx, proxpi
from bench.results import Part, Row, Run, at_most, told
from bench.universe import PACKAGES, WANTED, wanted, write
from support.clients import Shell, tool

WARM = 4
"""Rounds that are not in the medians: what caseus is asked for again becomes ready, and then its fast lane has it."""


def rows(run: Run) -> Iterator[Row]:
    run.tell("packages")
    static = run.folder / "static"
    write(static)
    (run.folder / "wanted.in").write_text(wanted())
    with ExitStack() as stack:
        limit = stack.enter_context(nginx(run.folder / "nginx", static))
        upstream = stack.enter_context(nginx(run.folder / "upstream", static, name="upstream")).url + "/index/"
        ours, _ = stack.enter_context(caseus(run.folder / "data", upstream=upstream))
        urls = {"caseus": f"{ours.url}/simple/", "nginx": f"{limit.url}/index/"}
        if not run.quick:
            peer = stack.enter_context(proxpi(run.folder / "proxpi", upstream, keep=False))
            urls["proxpi"] = f"{peer.url}/index/"
        clean = run.folder / "clean"
        resolve(
            run.folder, clean, "", urls["nginx"]
        )  # uv looks once what the interpreter is, which is not ours to time
        times: dict[str, list[float]] = {server: [] for server in urls}
        answers = set()
        for _ in range(WARM + (3 if run.quick else 7)):
            for server, url in urls.items():
                run.tell(f"uv pip compile, {server}")
                cache = run.folder / "cache"
                shutil.copytree(clean, cache)
                begin = time.perf_counter()
                answers.add(resolve(run.folder, cache, "wanted.in", url))
                times[server].append(time.perf_counter() - begin)
                shutil.rmtree(cache)
    (answer,) = answers  # all found the same
    if (count := answer.count("==")) != PACKAGES:
        raise PeerError(f"uv resolved {count} packages, not {PACKAGES}")
    what = f"`uv pip compile` of {WANTED} packages, {PACKAGES} with what they need"
    for name, number in (("nothing is cached", 0), ("for the second time", 1)):
        yield Row(f"{what}: {name}", {server: _told([found[number]]) for server, found in times.items()})
    warm = {server: found[WARM:] for server, found in times.items()}
    goals = tuple(
        at_most(bound, statistics.median(map(truediv, warm["caseus"], warm[server])), f"{server}'s time")
        for server, bound in (("nginx", 1.3), ("proxpi", 0.5))
        if server in warm
    )
    yield Row(f"{what}: warm", {server: _told(found) for server, found in warm.items()}, goals)


def _told(times: list[float]) -> str:
    return f"{told(1000 * statistics.median(times))} ms"


def resolve(folder: Path, cache: Path, wanted: str, index: str) -> str:
    """What uv prints. `wanted`: a file of requirements, "" for none."""
    command = [tool("uv"), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--cache-dir", str(cache)]
    command += ["--default-index", index, "--python", tool("python"), wanted or "/dev/null"]
    done = subprocess.run(
        command, cwd=folder, env=Shell(folder / "home").env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PeerError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


PART = Part(
    title="A resolver",
    text=f"""\
uv with an empty cache, but for what it knows of the interpreter, resolves {WANTED} packages out of a closed world of
{PACKAGES} with 40 versions each. caseus and proxpi have nginx as upstream; nginx itself serves the same pages and
`.metadata` as static files. The first {WARM} rounds make them warm, what follows is the median of the others. proxpi is
told to keep no connections: uv opens some before it has a request for them, and a thread of gunicorn waits up to five
seconds for it.""",
    rows=rows,
)
