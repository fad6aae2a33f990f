"""What the report says of windows: sentences, and the panels that show what they rest on.

Reads the tables ``shifts``, ``alarms`` and ``events`` as ``judging`` wrote them, and the released
sums that ``panels`` show; nothing is judged anew. Everything is plain numbers and words for the
template. A run without windows has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from aggregator.blame import sparing
from aggregator.panels import (
    calibration,
    diagnosis,
    maps,
    standing,
    subgroups,
    tag_shares,
    unread,
)
from aggregator.run_folder import DATABASE, Run, read_tables
from aggregator.windows import told
from fedrad.shift.agreed import RECORD, layout_of, most_patients, phases
from fedrad.shift.evidence import KINDS
from fedrad.shift.windows import Released
from fedrad.task import Task


@dataclass(frozen=True, slots=True)
class Sums:
    """What is drawn of the released sums themselves, each with its sentence."""

    calibration: tuple[calibration.Reliability, ...] = ()
    calibration_said: str = ""
    shares: tuple[tag_shares.SiteShares, ...] = ()
    shares_said: str = ""
    subgroups: tuple[subgroups.Subgroup, ...] = ()
    subgroups_said: str = ""
    unread: tuple[str, ...] = ()
    unread_said: str = ""


@dataclass(frozen=True, slots=True)
class Panels:
    """Everything that the section shows."""

    windows: tuple[str, ...]
    sentences: tuple[str, ...]
    apart: tuple[str, ...]
    map: tuple[maps.Strip, ...]
    map_said: str
    strips: tuple[maps.Strip, ...]
    sums: tuple[maps.Sum, ...]
    notes: tuple[str, ...]
    diagnoses: tuple[diagnosis.Diagnosis, ...]
    released: Sums


def panels(run: Run) -> Panels | None:
    """Return what is shown of a run's windows; ``None`` where none was judged."""
    looked = [row for row in run.tables["events"] if row["kind"] == "shift-looked"]
    if not looked:
        return None
    detail = json.loads(looked[-1]["detail_json"])
    rows = [row for row in run.tables["shifts"] if row["window"] != RECORD]
    windows = tuple(sorted({str(row["window"]) for row in rows}))
    strips = tuple(maps.strips(run, rows, windows))
    by_site = tuple(maps.by_site(strips))
    return Panels(
        windows,
        tuple(_sentences(run, windows, str(detail.get("problem", "")))),
        tuple(standing.sentences(run, detail.get("apart", []))),
        by_site,
        maps.headline(by_site),
        strips,
        tuple(maps.sums(run, rows, windows)),
        tuple(
            f"{run.full_name(site)}: {note}"
            for site, notes in sorted(detail.get("notes", {}).items())
            for note in notes
        ),
        diagnosis.diagnoses(run),
        _sums(run, int(looked[-1]["round"])),
    )


def subgroups_of(run: Run, number: int) -> tuple[subgroups.Subgroup, ...]:
    """Return the subgroups of a round's model, over all hospitals and its windows; if any."""
    return _sums(run, number).subgroups


def spoken_day(text: str) -> str:
    """Return a day as people say it: ``27 September 2020``."""
    day = date.fromisoformat(text)
    return f"{day.day} {day.strftime('%B %Y')}"


def _sentences(run: Run, windows: tuple[str, ...], problem: str) -> Iterator[str]:
    alarms = run.tables["alarms"]
    if problem:
        yield f"The windows could not be judged at the last look ({problem}); nothing new is said."
    if windows and not alarms:
        yield f"No hospital has an alarm in the {len(windows)} windows that were judged."
    if not windows:
        yield "No window was judged yet: a hospital's first six are its reference."
    for row in alarms:
        since, raised = spoken_day(row["since_window"]), spoken_day(row["window"])
        yield (
            f"{run.full_name(row['site'])}: {KINDS[row['kind']][0]} since {since}; seen in the "
            f"window of {raised}. Evidence: {row['evidence']}."
        )


def _sums(run: Run, model_round: int) -> Sums:
    """Return the panels of released sums of one model; empty where the task has no windows.

    A site whose sums cannot be read is drawn nowhere, and a gap says so.
    """
    if run.task is None or run.task.monitoring is None:
        return Sums()
    every = read_tables(run.folder / DATABASE, ("reports",))["reports"]
    rows = [row for row in every if row["window"] and row["round"] == model_round]
    seen, labelled = (told(rows, phases(run.task)[place]) for place in (0, -1))
    each = {site: (seen.get(site, ()), labelled.get(site, ())) for site in {**seen, **labelled}}
    outcome = sparing(each, partial(_drawn, run, run.task))
    drawn = outcome.found or Sums()
    gaps = (*unread.aside(run, outcome.blamed, outcome.problem), *drawn.unread)
    return replace(drawn, unread=gaps, unread_said=unread.headline(gaps, seen))


def _drawn(run: Run, task: Task, each: Mapping[str, tuple[Sequence[Released], ...]]) -> Sums:
    layout = layout_of(task)
    seen, labelled = ({s: own[place] for s, own in each.items() if own[place]} for place in (0, 1))
    curves = calibration.reliabilities(run, labelled, layout)
    shares = tag_shares.site_shares(run, seen, layout)
    groups = subgroups.subgroups(labelled, layout, most=most_patients(task))
    return Sums(
        curves,
        calibration.headline(curves),
        shares,
        tag_shares.headline(shares),
        groups,
        subgroups.sentence(groups) if groups else "",
        unread.sentences(run, seen),
    )
