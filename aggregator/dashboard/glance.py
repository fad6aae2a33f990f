"""The first screen of one run: is anything wrong, where, and how far is it.

Tiles, what needs a look, and one line a site. What was not measured says so; the time left is
said only while a run goes on and rounds were finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from aggregator import first_screen
from aggregator.dashboard import matters
from aggregator.dashboard.book import Book, opened
from aggregator.dashboard.lines import Line, site_lines
from aggregator.dashboard.matters import Matter
from aggregator.dashboard.tiles import Tile, alarm_tile, course_tiles
from aggregator.decisions import Place
from aggregator.quarantine import QUARANTINED
from aggregator.run_folder import Row, Run
from aggregator.wording import subtitle
from fedrad.metrics.names import spoken
from fedrad.shift.agreed import RECORD

_WINDOWS = "SELECT DISTINCT window FROM shifts WHERE window <> ?"
_SAID, _LOOKED_BACK = 8, 40  # lines of "Lately"; of so many turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The first screen."""

    run: Run
    banner: str
    subtitle: str
    status: str
    verdict: str
    verdict_where: str
    detail: str
    tiles: tuple[Tile, ...]
    matters: tuple[Matter, ...]
    lines: tuple[Line, ...]
    metric: str
    waiting: int  # proposals
    windows: int
    history: tuple[Row, ...] = field(default=())


def read_glance(book: Book, online: Mapping[str, str], now: datetime) -> Glance:
    """Read the first screen.

    Args:
        book: The run.
        online: Site to what its node is, where a server could be asked; else empty.
        now: The time, in UTC.
    """
    rounds, turns = book.rounds(), book.turns()
    alarms = book.rows("SELECT * FROM alarms")
    actions = book.rows("SELECT * FROM actions")
    run = book.run(rounds=rounds, events=turns)
    last = _last_replies(book, rounds)
    found = [
        *matters.alarm_matters(run, alarms),
        *matters.run_matters(run, rounds, turns),
        *matters.site_matters(run, turns, last),
        *_offline(run, online),
    ]
    waiting = matters.proposals(actions)
    verdict, where = _verdict(found)
    tiles = (*course_tiles(run, rounds, last, online=online, now=now), alarm_tile(alarms, waiting))
    return Glance(
        run=run, banner=banner_of(run), subtitle=subtitle(run), status=first_screen.status(run),
        verdict=verdict, verdict_where=where, detail=_detail(rounds, last, found),
        tiles=tiles, matters=tuple(found),
        lines=site_lines(book, run, last, online=online, alarms=alarms),
        metric=spoken(book.primary()), waiting=len(waiting),
        windows=len(book.rows(_WINDOWS, RECORD)), history=_lately(run, turns),
    )  # fmt: skip


def others_that_matter(runs: Mapping[str, Place], shown: Path) -> tuple[tuple[str, str], ...]:
    """Return the other runs that have an alarm or a site in quarantine, and how many."""
    found = []
    for name, place in runs.items():
        if place.folder != shown:
            with opened(place.folder, letters_only=True) as book:
                alarms = len(book.rows("SELECT 1 FROM alarms"))
                shut = len(book.rows("SELECT 1 FROM sites WHERE status = ?", QUARANTINED))
            said = [f"{alarms} alarm{'s' if alarms > 1 else ''}"] if alarms else []
            said += [f"{shut} in quarantine"] if shut else []
            found += [(name, ", ".join(said))] if said else []
    return tuple(found)


def banner_of(run: Run) -> str:
    """Return what every page of a run says on top; empty for a study between hospitals."""
    exact = "exact metrics: not private" if run.exact else ""
    return " · ".join(part for part in (first_screen.banner(run), exact) if part)


def _lately(run: Run, turns: Sequence[Row]) -> tuple[Row, ...]:
    """Return the last things that happened, newest first; what repeats itself is said once."""
    found: dict[str, Row] = {}
    for row in turns[-_LOOKED_BACK:]:
        detail = json.loads(row["detail_json"] or "{}")
        about = [row["kind"].replace("-", " ")]
        about += [f"round {row['round']}"] if row["round"] else []
        about += [f"window of {detail['window']}"] if detail.get("window") else []
        about += [run.full_name(row["site"])] if row["site"] else []
        text = ", ".join(about)
        found.pop(text, None)
        found[text] = row | {"text": text}
    return tuple(reversed(found.values()))[:_SAID]


def _verdict(found: Sequence[Matter]) -> tuple[str, str]:
    if not found:
        return "Nothing needs a look.", ""
    first = found[0]
    return f"{first.short[:1].lower()}{first.short[1:]}.", first.site or "the run"


def _detail(rounds: Sequence[Row], last: Sequence[Row], found: Sequence[Matter]) -> str:
    if len(found) > 1:
        return f"And {len(found) - 1} more below."
    if found or not last:
        return "" if found else "No round was asked yet."
    number, trained = rounds[-1]["round"], [row for row in last if row["phase"] == "train"]
    done = sum(row["outcome"] == "done" for row in trained)
    return f"In round {number}, {done} of {len(trained)} replies to training could be used."


def _last_replies(book: Book, rounds: Sequence[Row]) -> list[Row]:
    """Return the replies of the last round that is over, else of the one that is open."""
    over = [row["round"] for row in rounds if row["ended"]]
    number = over[-1] if over else rounds[-1]["round"] if rounds else 0
    return book.rows(
        "SELECT round, phase, site, outcome, reason_code FROM replies WHERE round = ? "
        "AND phase IN ('train', 'evaluate') ORDER BY site, phase",
        number,
    )


def _offline(run: Run, online: Mapping[str, str]) -> list[Matter]:
    if not any(node == "online" for node in online.values()):
        return []  # nobody could be asked, or nobody came yet: the tile says so
    gone = [site for site in run.sites if online.get(site, "online") != "online"]
    return [
        Matter(site=run.full_name(site), key=site, short=f"its node is {online[site]}",
               text=f"Its node is {online[site]}: it answers nothing now.", page="site")
        for site in gone
    ]  # fmt: skip
