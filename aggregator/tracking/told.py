"""What a tracker may know of a run: released and agreed numbers, hospitals by letter alone.

A tracker is somebody else's program, perhaps somebody else's machine: letters stay letters even
where the contract agreed to names. What was not measured, or is not finite, has no point.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from aggregator import attendance, first_screen, measures
from aggregator.letters import Letters
from aggregator.run_folder import Row, Run
from aggregator.wording import small
from fedrad.durable import canonical_json
from fedrad.shift.agreed import RECORD

_NOT_IN_KEYS = re.compile(r"[^\w./ -]")
_SPLITS = {"audit": "", "window": "in windows/"}  # before the name of a figure


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One number of a curve."""

    key: str
    step: int  # a round; of figures in windows its number, 0 is the training period
    time_ms: int  # since 1970, UTC
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that is said of one run."""

    id: str  # the same run has the same one
    study: str
    run: str
    status: str  # as recorded: running, done, stopped, failed, interrupted
    params: dict[str, str]
    tags: dict[str, str]
    points: tuple[Point, ...]


def told(run: Run) -> Told:
    """Return what a tracker is told.

    Raises:
        RunError: A site's name would be in it.
    """
    letters = Letters.always(run)
    about = run.about
    who = [str(about.get(key) or "") for key in ("study", "run", "started")]
    found = Told(
        id=hashlib.sha256(canonical_json(who)).hexdigest()[:32],
        study=letters.text(who[0] or run.folder.name),
        run=letters.text(who[1] or run.folder.name),
        status=str(about.get("status") or "running"),
        params=_params(run),
        tags=_tags(run, letters),
        points=tuple(sorted(_points(run, letters))),
    )
    texts = [found.study, found.run, *found.params.values(), *found.tags.values()]
    letters.refuse_names([*texts, *{point.key for point in found.points}])
    return found


def _params(run: Run) -> dict[str, str]:
    task = run.task
    known = {"task": str(run.about.get("task_hash") or ""), "hospitals": str(len(run.sites))}
    if task is None:
        return known
    known |= {
        "model": task.model.name,
        "rounds": str(task.federation.rounds),
        "quorum": str(task.federation.quorum),
        "primary metric": task.analysis.primary,
    }
    if task.privacy.enabled and not run.exact:
        known |= {"epsilon planned": f"{task.privacy.epsilon:g}"}
        known |= {"delta": small(task.privacy.delta)}
    return known


def _tags(run: Run, letters: Letters) -> dict[str, str]:
    exact = "exact metrics: not private" if run.exact else ""
    said = {"fedrad.banner": first_screen.banner(run), "fedrad.metrics": exact}
    said["fedrad.state"] = first_screen.status(run)
    return {key: letters.text(text) for key, text in said.items() if text}


def _points(run: Run, letters: Letters) -> Iterator[Point]:
    times = {int(row["round"]): _ms(row["ended"] or row["started"]) for row in run.tables["rounds"]}
    begun = _ms(str(run.about.get("started") or ""))
    for key, step, at_ms, value in (*_figures(run, letters), *_course(run), *_paid(run, letters)):
        if value is not None and math.isfinite(value):
            when = at_ms or times.get(step, begun)
            yield Point(_NOT_IN_KEYS.sub("_", key), step, when, float(value))


_Raw = tuple[str, int, int, float | None]  # key, step, time or 0, value


def _figures(run: Run, letters: Letters) -> Iterator[_Raw]:
    rows = [row for row in run.tables["metrics"] if row["model"] == "global"]
    rows = [row for row in rows if row["split"] in _SPLITS and row["metric"] not in measures.COUNTS]
    windows = sorted({row["window"] for row in rows} - {"", RECORD})
    places = {name: n for n, name in enumerate([RECORD, *windows])}
    for row in rows:
        site = measures.SUMMARIES.get(row["site"]) or letters.of(str(row["site"]))
        key = f"{_SPLITS[row['split']]}{row['metric']}/{site}"
        if row["window"]:
            yield key, places[row["window"]], _ms(row["window"]), row["value"]
        else:
            yield key, int(row["round"]), 0, row["value"]


def _course(run: Run) -> Iterator[_Raw]:
    for line in attendance.round_lines(run):
        if line.seconds is not None:
            yield "round/seconds", line.number, 0, line.seconds
            yield "round/replies that could be used", line.number, 0, float(line.accepted)


def _paid(run: Run, letters: Letters) -> Iterator[_Raw]:
    """Yield what the most exposed patient of each site had paid after a round, as recorded."""
    if run.exact:
        return
    rows = [row for row in run.tables["privacy"] if row["epsilon"] is not None]
    for site in sorted({str(row["site"]) for row in rows}):
        own = sorted((row for row in rows if row["site"] == site), key=_round)
        most = 0.0
        by_round: dict[int, float] = {}
        for row in own:
            most = max(most, float(row["epsilon"]))
            by_round[_round(row)] = most
        yield from ((f"epsilon/{letters.of(site)}", n, 0, value) for n, value in by_round.items())


def _round(row: Row) -> int:
    return int(row["round"])


def _ms(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return 0
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
