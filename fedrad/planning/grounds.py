"""What stands behind a verdict, line by line: the measured scores, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator

from fedrad.planning.outcomes import summarised
from fedrad.planning.verdict import Evidence, Verdict


def grounds(found: Verdict) -> Iterator[str]:
    """Yield the lines below a verdict, indented by two or more."""
    if not found.evidence:
        yield from (f"  {reason}" for reason in found.reasons)
        return
    for evidence in found.evidence:
        yield from _measured(evidence, f"{evidence.answer}, " if len(found.evidence) > 1 else "")
    yield from (f"  would be better: {change}" for change in found.changes)
    if found.answer != "go" and not found.changes:
        yield "  nothing that was measured would be better, one change at a time"


def _measured(evidence: Evidence, prefix: str) -> Iterator[str]:
    seeds = ", ".join(map(str, evidence.seeds))
    yield (
        f"  {prefix}measured on {evidence.data}: {evidence.measure}, mean (least to largest) of "
        f"seeds {seeds}"
    )
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
    yield f"  {evidence.balance()}; the task's margin is {evidence.margin:g}"
    if evidence.recipe != evidence.own_recipe:
        yield f"  measured with {evidence.recipe}; the task has {evidence.own_recipe}"
