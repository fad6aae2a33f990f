"""What a reader meets first: the banner, the state of the run, and its facts.

Facts that the simulation measured itself come from ``facts.json``; the others are made here
from the run's own records. Every fact names the command that shows it again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from aggregator import attendance
from aggregator.comparison import SiteComparison
from aggregator.facts import Fact
from aggregator.figures import signed
from aggregator.lineage import HELD, ROLLED_BACK
from aggregator.paid import Paid, attack_sentence
from aggregator.run_folder import Row, Run
from aggregator.wording import (
    VERDICTS,
    interval_of_difference,
    score,
    small,
    spent_epsilon,
    versions,
)
from fedrad.metrics.names import spoken

PHANTOMS = "Phantoms, not clinical evidence"
PUBLIC_IMAGES = "Public images, not clinical evidence"
SIMULATED = ("local", "ray")  # engines that run every hospital on one machine
BANNER = "banner"
MOST_LINES = 6


def banner(run: Run) -> str:
    """Return the sentence for every page; empty for a study between hospitals.

    A fact with the key ``banner`` wins, then ``banner`` among the run's versions, then what
    the engine says: a simulation is phantoms unless ``images`` is ``public``.
    """
    stated = [fact.text for fact in run.stated if fact.key == BANNER]
    about = versions(run.about)
    if stated or about.get(BANNER):
        return stated[-1] if stated else about[BANNER]
    if run.about.get("engine") not in SIMULATED:
        return ""
    return PUBLIC_IMAGES if about.get("images") == "public" else PHANTOMS


def status(run: Run) -> str:
    """Say in a few words how the run ended, and why if it did not end well."""
    state = run.about.get("status") or "not recorded"
    reason = run.about.get("reason")
    return f"{state}: {reason}" if reason else str(state)


def facts(run: Run, spent: Sequence[Paid]) -> tuple[Fact, ...]:
    """Return the facts of the first screen in the order in which they are read."""
    stated = [fact for fact in run.stated if fact.key != BANNER]
    told = {fact.key.split(" ")[0] for fact in stated}
    made = [*_turns(run), *_verdict(run), *_absences(run), *_privacy(run, spent)]
    return (*stated, *(fact for fact in made if fact.key not in told))


def _show_again(run: Run) -> str:
    return f"fedrad-aggregator report --json {run.folder}"


def _verdict(run: Run) -> list[Fact]:
    comparison = run.comparison
    if comparison is None or not comparison.sites:
        return []
    found = [site.verdict for site in comparison.sites]
    text = (
        f"hospitals do better federated, {found.count('alone')} better alone, and at "
        f"{found.count('cannot tell')} one cannot tell: {spoken(comparison.primary)} on the same "
        "test patients, against the hospital alone without privacy."
    )
    lines = _shortened([_at_one(run, site) for site in comparison.sites])
    value = f"{found.count('federated')} of {len(found)}"
    return [Fact(key="worth", value=value, text=text, lines=lines, command=comparison.command)]


def _at_one(run: Run, site: SiteComparison) -> str:
    name = run.full_name(site.site)
    if site.difference is None:
        return f"{name}: not measured."
    within = interval_of_difference(site.lo, site.hi)
    numbers = f"difference {signed(site.difference)}" + (f" ({within})" if within else "")
    why = f" ({site.reason})" if site.reason else ""
    ours = site.federated_exact if site.federated_private is None else site.federated_private
    arms = f"alone {score(site.alone)}, federated {score(ours)}, {numbers}"
    return f"{name}: {arms}: {VERDICTS[site.verdict]}{why}."


def _shortened(lines: Sequence[str]) -> tuple[str, ...]:
    more = len(lines) - MOST_LINES
    return (*lines[:MOST_LINES], f"{more} more below.") if more > 0 else tuple(lines)


def _turns(run: Run) -> list[Fact]:
    """Say where the model was set back, by the gate or by a person."""
    return [
        Fact(key="turned back", text=text, command=_show_again(run))
        for text in (_turn(row) for row in run.tables["events"])
        if text
    ]


def _turn(row: Row) -> str:
    if row["kind"] not in (HELD, ROLLED_BACK):
        return ""
    detail = json.loads(row["detail_json"])
    back = f"that of round {detail['back_to']}"
    if row["kind"] == ROLLED_BACK:
        return f"{detail['by']} set the model back to {back}: {detail['reason']}."
    where = f"{len(detail['sites'])} of {detail['measured']} sites"
    return (
        f"Round {row['round']} was held: {spoken(detail['metric'])} fell at {where} by more than "
        f"its intervals explain; the model went back to {back}."
    )


def _absences(run: Run) -> list[Fact]:
    found = attendance.sentences(run)
    if not found:
        return []
    return [
        Fact(
            key="refusal",
            text=found[0],
            lines=_shortened(found[1:]),
            command=_show_again(run),
        )
    ]


def _privacy(run: Run, spent: Sequence[Paid]) -> list[Fact]:
    paid = [(s.epsilon, s) for s in spent if s.epsilon is not None]
    if not paid or run.task is None:
        return []
    most, worst = max(paid, key=lambda pair: pair[0])
    name = run.full_name(worst.site)
    if not math.isfinite(most):
        return [Fact(key="privacy", text=f"{name} released something without noise: not private.")]
    text = (
        f"at delta {small(worst.delta)} is the most that a patient has paid, at {name}: "
        f"{attack_sentence(worst)}."
    )
    value = f"ε {spent_epsilon(most)}"
    return [Fact(key="privacy", value=value, text=text, command=_show_again(run))]
