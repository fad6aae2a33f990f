"""Judge the windows that were released: alarms, what they probably are, and what to do.

Everything is computed anew from all releases of the model in use; an alarm that was raised, and
a proposal that was decided, stay. Collecting windows is ``watch``'s work, which sites alarm is
decided in ``shifts``, what an alarm means in ``diagnoses``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from aggregator import effects, shifts, unlabelled
from aggregator.blame import sparing
from aggregator.diagnoses import EVENT, Diagnosis, diagnosed
from aggregator.setup import RunSetup
from aggregator.shifts import History
from aggregator.store import Store
from aggregator.tables import Action, Alarm, Shift, Table
from aggregator.windows import Promoted, records, released
from fedrad.shift.agreed import RECORD, layout_of, phases
from fedrad.shift.alarms import Note
from fedrad.shift.blocks import Layout
from fedrad.shift.claims import METRICS, Interval, contradicted
from fedrad.shift.windows import Released

_TOGETHER = ("*", "macro", "worst")  # stand in the column ``site`` for several of them
APART = 0.01  # adjusted p value under which a standing difference is put into words
PROPOSED: Mapping[str, tuple[str, ...]] = {
    "image": ("ask-about-scanner", "recalibrate"),
    "acquisition": ("ask-about-scanner", "recalibrate"),
    "label": ("recalibrate", "move-threshold"),
    "concept": ("set-aside", "query-annotations"),
    "population": ("ask-about-patients", "reweight", "personalise"),
    "unknown": ("look-together",),
}
"""What a person is proposed to do about an alarm of a kind."""


UNREADABLE = "its windows cannot be read ({}); nothing is said of its changes until they can"
"""Stands among the notes of a site that was left out, with the kind of error."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What one site released: windows of each kind, in order, and the time before them."""

    kinds: tuple[tuple[Released, ...], ...]
    record: Released | None

    @property
    def windows(self) -> set[str]:
        """Their names."""
        return {name for kind in self.kinds for one in kind for name in one.windows}


@dataclass(frozen=True, slots=True)
class _Look:
    """What windows of some sites say, before any of it is written."""

    fresh: tuple[Diagnosis, ...]
    also: tuple[Table, ...]
    notes: dict[str, list[str]]
    apart: tuple[dict[str, str], ...]
    sites: tuple[str, ...]


def judge(setup: RunSetup, store: Store, model: Promoted) -> tuple[Alarm, ...]:
    """Write what all windows of a model say; return the alarms that were not raised before.

    A site whose windows cannot be read is left out with a note; the others are judged.
    """
    outcome = sparing(_told(setup, store, model), partial(_look, setup, store, model))
    look = outcome.found or _Look((), (), {}, (), ())
    notes = look.notes | {site: [UNREADABLE.format(why)] for site, why in outcome.blamed.items()}
    named = tuple(one.alarm for one in look.fresh)
    for one in look.fresh:
        if one.detail is not None:
            store.record_event(EVENT, model.round, site=one.alarm.site, detail=one.detail)
    detail = {
        "sites": list(look.sites),
        "alarms": len(named),
        "notes": _with_claims(notes, store, model),
        "apart": list(look.apart),
        "unreadable": sorted(outcome.blamed),
        "problem": outcome.problem,
    }
    store.record_event("shift-looked", model.round, detail=detail, also=look.also)
    return named


def _told(setup: RunSetup, store: Store, model: Promoted) -> dict[str, _Told]:
    told = phases(setup.task)
    kinds = [released(store, model, phase) for phase in told]
    before = records(store, model, told[0])
    sites = sorted({site for kind in kinds for site in kind} | before.keys())
    return {
        site: _Told(tuple(kind.get(site, ()) for kind in kinds), before.get(site)) for site in sites
    }


def _look(setup: RunSetup, store: Store, model: Promoted, told: Mapping[str, _Told]) -> _Look:
    layout = layout_of(setup.task)
    read = {site: shifts.history_of(site, own.kinds, layout) for site, own in told.items()}
    histories = {site: history for site, history in read.items() if history is not None}
    rows, notes = shifts.rows(histories)
    raised = set(_raised(store, told))
    fresh = [
        diagnosed(row, histories[row.site], layout, seed=setup.seed)
        for row in rows
        if isinstance(row, Alarm) and (row.site, row.channel) not in raised
    ]
    named = [one.alarm for one in fresh]
    before = {site: own.record for site, own in told.items() if own.record is not None}
    differences = shifts.standing(before, layout, RECORD)
    also: list[Table] = [*differences, *(row for row in rows if not isinstance(row, Alarm))]
    also += effects.recalibrated(store, model.round, histories, layout=layout, seed=setup.seed)
    also += [*named, *_proposals(store, model, _asked(named, histories, layout))]
    return _Look(
        tuple(fresh),
        tuple(also),
        _noted(notes, histories, unlabelled.notes(histories, layout, seed=setup.seed)),
        tuple(_apart(differences, before, layout)),
        tuple(sorted(histories)),
    )


def _raised(store: Store, told: Mapping[str, _Told]) -> Iterator[tuple[str, str]]:
    """Yield the sites and channels of alarms in windows of this model; others had another's."""
    for row in store.rows("alarms"):
        if row["site"] in told and row["window"] in told[row["site"]].windows:
            yield str(row["site"]), str(row["channel"])


def _noted(
    notes: Mapping[str, Sequence[Note]], histories: Mapping[str, History], more: Mapping[str, str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for site, own in notes.items():
        names = histories[site].names
        said = [f"{names[n.window]} {n.channel}: {n.text}" for n in own]
        said += [more[site]] if site in more else []
        found |= {site: said} if said else {}
    return found


def _with_claims(
    notes: dict[str, list[str]], store: Store, model: Promoted
) -> dict[str, list[str]]:
    """Add what sites say of themselves and the others' values contradict; never an alarm."""
    claims: dict[tuple[str, str], dict[str, Interval]] = defaultdict(dict)
    for row in store.rows("metrics", round=model.round, split="window"):
        known = None not in (row["value"], row["lo"], row["hi"])
        if row["metric"] in METRICS and known and row["site"] not in _TOGETHER:
            key = str(row["metric"]), str(row["window"])
            claims[key][str(row["site"])] = (row["value"], row["lo"], row["hi"])
    for one in contradicted(claims):
        said = (
            f"{one.window} claim: {METRICS[one.metric]} {one.value:.2f}; the other "
            f"hospitals' values predict {max(one.low, 0):.2f} to {min(one.high, 1):.2f} here"
        )
        notes.setdefault(one.site, []).append(said)
    return notes


def _asked(
    alarms: Sequence[Alarm], histories: Mapping[str, History], layout: Layout
) -> Iterator[tuple[Alarm, str, dict[str, float]]]:
    """Yield what is to be proposed about each alarm, with its parameters."""
    for alarm in alarms:
        for action in PROPOSED[alarm.kind]:
            if action != effects.RECALIBRATE:
                yield alarm, action, {}
            elif made := effects.parameters(histories[alarm.site], alarm, layout):
                yield alarm, action, made


def _proposals(
    store: Store, model: Promoted, asked: Iterator[tuple[Alarm, str, dict[str, float]]]
) -> Iterator[Action]:
    """Yield each proposal once, whatever was proposed or decided before left as it is."""
    known = {(row["site"], row["window"], row["action"]) for row in store.rows("actions")}
    for alarm, action, made in asked:
        if (alarm.site, alarm.window, action) not in known:
            known.add((alarm.site, alarm.window, action))
            yield Action(
                round=model.round, window=alarm.window, site=alarm.site, action=action,
                parameters_json=json.dumps(made), reason=alarm.evidence, decided_by="",
                decision="proposed", effect="",
            )  # fmt: skip


def _apart(
    differences: Sequence[Shift], records_of: Mapping[str, Released], layout: Layout
) -> Iterator[dict[str, str]]:
    """Yield in words how the sites that stand apart from the others do, before any window."""
    for row in differences:
        if row.p is not None and row.p < APART:
            words = shifts.apart(records_of, layout, row.site, row.channel)
            said = f"stands apart in {shifts.SPOKEN[row.channel]}: {words or 'in many small ways'}"
            yield {"site": row.site, "channel": row.channel, "said": said}
