"""Who took part in which round, and who did not, in sentences.

Reads the rows of ``replies`` and ``rounds``. The wire carries a reason in one word; what
depends on a site's patients stays on that site's own screens and cannot appear here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from aggregator import quarantine
from aggregator.accepted import LATE
from aggregator.run_folder import Row, Run

Presence = Literal["done", "abstained", "refused", "failed", "none"]

_OF_ROUNDS = ("train", "evaluate", LATE)  # phases: what windows and comparisons bring is no round's
_LATE = {
    "late-carried": "what it sent was folded in a later round",
    "late-discarded": "what it sent was not used",
}
VERBS = {"refused": "declined", "abstained": "sat out", "failed": "could not finish"}
REASONS = {
    "budget": "its privacy budget",
    "declined": "its own decision",
    "contract-changed": "the contract had changed",
    "not-ready": "it was not ready (the details stay on its own screens)",
    "offline": "it could not be reached",
    "version": "it speaks another wire protocol: its fedrad, or the coordinator's, must be updated",
    "failed": "an error (the details stay on its own screens)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLine:
    """One round as a reader sees it; ``None`` is not measured.

    ``bytes`` are those of replies to training and evaluation, however late.
    """

    number: int
    state: str
    accepted: int
    asked: int
    bytes: int | None
    seconds: float | None
    model_digest: str


def sentences(run: Run) -> tuple[str, ...]:
    """Return one plain sentence for each quarantine, refusal, abstention and failure, by site.

    A site whose budget is spent is not asked again, so its refusal holds from then on. Windows are
    no rounds: who did not tell one is said with them (``panels.unread``).
    """
    found: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    for row in run.tables["replies"]:
        if row["outcome"] in VERBS and row["phase"] != LATE and not of_window(row):
            key = (row["site"], row["phase"], row["outcome"], row["reason_code"] or "")
            found[key].append(row["round"])
    order = {site: place for place, site in enumerate(run.sites)}
    keys = sorted(found, key=lambda key: (order.get(key[0], 999), key[1] != "train", found[key]))
    absent = tuple(_sentence(run, key, found[key]) for key in keys)
    return (*_quarantines(run), *absent, *_late(run))


def of_window(reply: Row) -> bool:
    """Whether a reply was about a window of patients and not about a round."""
    return str(reply["phase"]).startswith("window")


def grid(run: Run) -> dict[str, list[Presence]]:
    """Return for each site its training outcome in every round, in round order."""
    outcome = {
        (row["site"], row["round"]): row["outcome"]
        for row in run.tables["replies"]
        if row["phase"] == "train"
    }
    numbers = [row["round"] for row in rounds_in_order(run)]
    return {site: [_known(outcome.get((site, n))) for n in numbers] for site in run.sites}


def round_lines(run: Run) -> list[RoundLine]:
    """Return one line for each round, in order."""
    replies: dict[int, list[Row]] = defaultdict(list)
    for row in run.tables["replies"]:
        replies[row["round"]].append(row)
    return [_line(row, replies[row["round"]]) for row in rounds_in_order(run)]


def rounds_in_order(run: Run) -> list[Row]:
    """Return the rows of ``rounds`` by number."""
    return sorted(run.tables["rounds"], key=lambda row: int(row["round"]))


def _quarantines(run: Run) -> Iterator[str]:
    """Yield what became of every site whose replies were bad too often, in order of time."""
    said: dict[str, str] = {}  # site -> how it came to its last quarantine
    for row in run.tables["events"]:
        site, detail = str(row["site"]), json.loads(row["detail_json"])
        if row["kind"] == quarantine.QUARANTINED:
            said[site] = f"round {row['round']}{_why_quarantined(detail)}"
        elif row["kind"] == quarantine.LIFTED:
            again = f"{detail['by']} let it in again after round {row['round']}"
            how = said.pop(site)
            yield (
                f"{run.full_name(site)} was in quarantine after {how}. {again}: {detail['reason']}."
            )
    for site, how in said.items():
        way_out = f"fedrad-aggregator lift {site} asks it again"
        yield f"{run.full_name(site)} is in quarantine since {how}, and it is not asked; {way_out}."


def _why_quarantined(detail: Mapping[str, Any]) -> str:
    if detail.get("by"):
        return f" ({detail['by']} set it aside: {detail['reason']})"
    return f": {len(detail['bad'])} of its replies could not be used"


def _late(run: Run) -> Iterator[str]:
    """Yield one sentence for each site whose updates came late."""
    came: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in run.tables["events"]:
        if row["kind"] in _LATE:
            of_round = int(json.loads(row["detail_json"])["of_round"])
            came[str(row["site"]), str(row["kind"])].append(of_round)
    for (site, kind), rounds in sorted(came.items()):
        which = ("round " if len(rounds) == 1 else "rounds ") + _joined(_spans(sorted(rounds)))
        yield f"{run.full_name(site)} answered {which} late: {_LATE[kind]}."


def _known(outcome: str | None) -> Presence:
    known: dict[str, Presence] = {
        "done": "done",
        "abstained": "abstained",
        "refused": "refused",
        "failed": "failed",
    }
    return known.get(outcome or "", "none")


def _line(row: Row, replies: Sequence[Row]) -> RoundLine:
    train = [reply for reply in replies if reply["phase"] == "train"]
    own = [reply for reply in replies if reply["phase"] in _OF_ROUNDS]
    sizes = [reply["bytes"] for reply in own if reply["bytes"] is not None]
    return RoundLine(
        number=row["round"],
        state=row["state"],
        accepted=sum(reply["outcome"] == "done" for reply in train),
        asked=len(train),
        bytes=sum(sizes) or None,
        seconds=_seconds(row["started"], row["ended"]),
        model_digest=row["model_digest"] or "",
    )


def _seconds(started: str | None, ended: str | None) -> float | None:
    if not started or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def _sentence(run: Run, key: tuple[str, str, str, str], numbers: Iterable[int]) -> str:
    site, phase, outcome, reason = key
    of_phase = [row for row in run.tables["replies"] if row["phase"] == phase]
    asked = sorted({row["round"] for row in of_phase})
    told = set(numbers)
    if reason == "budget":
        last = max(row["round"] for row in of_phase if row["site"] == site)
        told |= {number for number in asked if number > last}
    what = " to send metrics" if phase == "evaluate" and outcome == "refused" else ""
    where = " of the evaluation" if phase == "evaluate" and not what else ""
    why = REASONS.get(reason, reason)
    when = _when(sorted(told), asked) + where
    return f"{run.full_name(site)} {VERBS[outcome]}{what} {when}" + (f": {why}." if why else ".")


def _when(numbers: Sequence[int], asked: Sequence[int]) -> str:
    tail = [number for number in asked if number >= numbers[0]]
    if list(numbers) == tail and len(numbers) > 1:
        return f"from round {numbers[0]} on"
    spans = _spans(numbers)
    word = "round" if len(numbers) == 1 else "rounds"
    return f"in {word} {_joined(spans)}"


def _spans(numbers: Sequence[int]) -> list[str]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
