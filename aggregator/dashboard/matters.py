"""What needs a look, gravest first: the sentences that a coordinator meets on the first screen.

Made from rows alone: alarms, quarantines, refusals, rounds that came to nothing, a run that
stopped. What an alarm's kind means is said in words here; how it was found is
``fedrad.shift``'s business. Nothing is guessed: no row, no sentence.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aggregator.attendance import REASONS, VERBS
from aggregator.lineage import HELD, ROLLED_BACK
from aggregator.quarantine import QUARANTINED
from aggregator.run_folder import Row, Run
from fedrad.shift import evidence

OPEN = "proposed"  # the decision of an action that waits for a person
KINDS, CHANNELS = evidence.KINDS, evidence.CHANNELS
ACTIONS = {
    "ask-about-scanner": "Ask the hospital whether a scanner, its software or a protocol changed",
    "ask-about-patients": "Ask the hospital whether other patients come since then",
    "recalibrate": "Recalibrate the scores for this hospital",
    "move-threshold": "Move the operating point for this hospital",
    "query-annotations": "Ask for a second reading of some cases",
    "look-together": "Look at images and labels since then together with the hospital",
    "reweight": "Weigh this hospital's updates more",
    "personalise": "Let this hospital train a last layer of its own",
    "set-aside": "Leave this hospital's updates aside until it is clear what happened",
    "none": "Do nothing and go on looking",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """One thing to look at."""

    site: str  # as the reader calls it; empty: the whole run
    short: str  # within a sentence: "another scanner or protocol, since the window of ..."
    text: str
    key: str = ""  # the site's place in an address
    page: str = ""  # where to look: a word of ``site_map``


def alarm_matters(run: Run, alarms: Sequence[Row]) -> Iterator[Matter]:
    """Yield one matter for each alarm, the last raised first."""
    for row in sorted(alarms, key=lambda row: str(row["window"]), reverse=True):
        kind, meaning = KINDS.get(str(row["kind"]), KINDS["unknown"])
        since = f"since the window of {row['since_window']}"
        later = (
            f", raised in that of {row['window']}" if row["window"] != row["since_window"] else ""
        )
        yield Matter(
            site=run.full_name(row["site"]),
            key=str(row["site"]),
            short=f"{kind}, {since}",
            text=f"{kind.capitalize()}, {since}{later}: {meaning}. {sentence(row['evidence'])}",
            page="alarms",
        )


def run_matters(run: Run, rounds: Sequence[Row], turns: Sequence[Row]) -> Iterator[Matter]:
    """Yield what is wrong with the run as a whole."""
    status, reason = str(run.about.get("status", "")), str(run.about.get("reason") or "")
    if status in ("failed", "interrupted", "stopped"):
        why = f": {reason}" if reason else ""
        yield Matter(site="", short=f"the run is {status}{why}", text=f"The run is {status}{why}.")
    if rounds and rounds[-1]["state"] == "void":
        number = rounds[-1]["round"]
        yield Matter(
            site="",
            short=f"round {number} came to nothing",
            text=f"Round {number} is void: too few hospitals answered for its quorum.",
            page="run",
        )
    yield from _held(turns)


def site_matters(run: Run, turns: Sequence[Row], last: Sequence[Row]) -> Iterator[Matter]:
    """Yield what is wrong with single sites.

    Args:
        run: With its sites.
        turns: Its history.
        last: The replies of its last round.
    """
    bad = {str(row["site"]): row for row in turns if row["kind"] == QUARANTINED}
    for row in run.tables["sites"]:
        if row["status"] == QUARANTINED:
            site = str(row["site"])
            since = f" since round {bad[site]['round']}" if site in bad else ""
            yield Matter(
                site=run.full_name(site),
                key=site,
                short=f"in quarantine{since}",
                text=f"In quarantine{since}: {_why(bad.get(site))}, and it is not asked "
                "until a person lifts it.",
                page="alarms",
            )
    yield from _absent(run, last)


def proposals(actions: Sequence[Row]) -> list[Row]:
    """Return the actions that wait for a person, the newest first."""
    waiting = [row for row in actions if row["decision"] == OPEN]
    return sorted(waiting, key=lambda row: (str(row["window"]), row["round"]), reverse=True)


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital first, a full stop last."""
    said = str(text).strip().rstrip(".")
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def action_text(action: str) -> str:
    """Return what an action is, in words."""
    return ACTIONS.get(action, action.replace("-", " ").capitalize())


def _why(turn: Row | None) -> str:
    detail = json.loads(turn["detail_json"]) if turn else {}
    return "a person set it aside" if detail.get("by") else "its replies could not be used"


def _held(turns: Sequence[Row]) -> Iterator[Matter]:
    held = [row for row in turns if row["kind"] in (HELD, ROLLED_BACK)]
    if held and held[-1]["kind"] == HELD:
        number, back = held[-1]["round"], json.loads(held[-1]["detail_json"])["back_to"]
        yield Matter(
            site="",
            short=f"round {number} was held",
            text=f"Round {number} was held: its figures fell at several hospitals by more than "
            f"their intervals explain; the model went back to that of round {back}.",
            page="run",
        )


def _absent(run: Run, last: Sequence[Row]) -> Iterator[Matter]:
    said: dict[str, list[str]] = defaultdict(list)
    for row in last:
        if row["outcome"] in VERBS:
            why = REASONS.get(str(row["reason_code"]), str(row["reason_code"]))
            what = "training" if row["phase"] == "train" else "measuring"
            said[str(row["site"])].append(f"{VERBS[row['outcome']]} {what}: {why}")
    for site, reasons in said.items():
        number = last[0]["round"]
        both = "; ".join(dict.fromkeys(reasons))
        yield Matter(
            site=run.full_name(site), key=site, short=f"in round {number} it {reasons[0]}",
            text=f"In round {number} it {both}.", page="site",
        )  # fmt: skip
