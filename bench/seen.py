"""An upload is seen by the next request, whichever worker answers it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from bench.peers import PeerError, caseus
from bench.results import Goal, Part, Row, Run, told
from support.clients import upload
from support.packages import make_wheel
from support.workers import lines_to_all


def rows(run: Run) -> Iterator[Row]:
    count, missed, times = 50 if run.quick else 300, 0, []
    with caseus(run.folder / "data", workers=3) as (_, server):
        login = ("__token__", server.token("admin"))
        run.tell(f"{count} uploads")
        with lines_to_all(server) as lines:
            for number in range(count):
                filename, data = make_wheel("seen", f"1.{number}")
                answer = upload(server.url, filename, data, login=login)
                if answer.status != 200:
                    raise PeerError(f"caseus answers an upload by {answer.status} {answer.reason}")
                for line in lines:
                    begin = time.perf_counter()
                    page = line.begin("/simple/seen/").read()
                    times.append(time.perf_counter() - begin)
                    missed += filename.encode() not in page
            asked = count * len(lines)
    figures = {"looks": f"{asked:,}", "not seen": str(missed), "p50": f"{told(1000 * statistics.median(times))} ms"}
    yield Row(
        "upload answered, next request",
        figures,
        (Goal("seen at once", f"{asked - missed:,} of {asked:,}", not missed),),
    )


PART = Part(
    title="Seen by all workers",
    text="""\
Of three workers one takes the uploads. As soon as one is answered, the project's page is asked for over a kept
connection to each of the two others.""",
    rows=rows,
)
