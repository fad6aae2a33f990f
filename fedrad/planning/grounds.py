"""What stands behind a verdict, line by line: the measured scores, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator

from fedrad.planning.outcomes import summarised
from fedrad.planning.readings import Evidence, Readings
from fedrad.planning.verdict import Verdict


def grounds(found: Verdict) -> Iterator[str]:
    """Yield the lines below a verdict, indented by two or more."""
    if not found.readings:
        yield from (f"  {reason}" for reason in found.reasons)
    for readings in found.readings:
        yield from _measured(readings, f"{readings.answer}, " if len(found.readings) > 1 else "")
    yield from (f"  would be measured: {way}" for way in found.ways)
    yield from (f"  would be better: {change}" for change in found.changes)
    if found.answer in ("doubtful", "no") and not found.changes:
        yield "  nothing that was measured would be better, one change at a time"


def _measured(readings: Readings, prefix: str) -> Iterator[str]:
    yield from (f"  {prefix}outside the table: {line}" for line in readings.outside)
    if not readings.nearest:
        return
    evidence = readings.nearest[0]
    seeds = ", ".join(map(str, evidence.seeds))
    yield (
        f"  {prefix}measured on {readings.data}: {evidence.measure}, mean (least to largest) of "
        f"seeds {seeds}; the task's margin is {evidence.margin:g}"
    )
    if readings.cautious == readings.hopeful:
        yield from _cell(evidence)
    if readings.cautious is not None and readings.cautious != readings.hopeful:
        yield _short("with no more than this study has", readings.cautious)
    if readings.hopeful is not None and readings.cautious != readings.hopeful:
        yield _short("with no less", readings.hopeful)
    for recipe in dict.fromkeys(found.recipe for found in readings.nearest):
        if recipe != evidence.own_recipe:
            yield f"  measured with {recipe}; the task has {evidence.own_recipe}"


def _cell(evidence: Evidence) -> Iterator[str]:
    """Yield a cell that is the study's own, row by row."""
    rows = {
        f"private, {evidence.patients} patients a site, epsilon {evidence.epsilon:g}": (
            evidence.private
        ),
        "the same without privacy": evidence.federated,
        f"alone, {evidence.alone_patients} patients": evidence.alone,
        "no skill": evidence.trivial,
    }
    longest = max(map(len, rows))
    for name, scores in rows.items():
        yield f"    {name:<{longest}}  {summarised(scores)}"
    yield f"  {evidence.balance()}"


def _short(which: str, evidence: Evidence) -> str:
    return f"  {which}, {evidence.answer}: {evidence.sentence()}"
