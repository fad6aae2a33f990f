"""The last screen of a simulation: the report's own facts, the table, where the report is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aggregator.comparison import Comparison, read_comparison
from aggregator.report import facts_of
from fedrad.settings import as_table
from simulations import contest


def summary(report: Path) -> tuple[dict[str, Any], str]:
    """Return a finished run as a JSON table and as text."""
    run = report.parent
    facts, comparison = facts_of(run), read_comparison(run)
    table = {
        "report": str(report),
        "facts": facts,
        "comparison": as_table(comparison) if comparison else None,
    }
    told, found = list(_lines(report, facts, comparison)), contest.read_contest(run)
    if found is not None:
        table["contest"] = as_table(found)
        told[-1:-1] = [*contest.lines(found), ""]
    return table, "\n".join(told)


def _lines(
    report: Path, facts: list[dict[str, Any]], comparison: Comparison | None
) -> Iterator[str]:
    banner = [fact["text"] for fact in facts if fact["key"] == "banner"]
    yield ""
    yield from banner
    for fact in facts:
        if fact["key"] != "banner":
            yield ""
            yield f"{fact['value']} {fact['text']}".strip()
            if fact["command"]:
                yield f"    {fact['command']}"
    if comparison:
        yield ""
        yield from _table(comparison)
    yield ""
    yield f"report: {report}"


def _table(comparison: Comparison) -> Iterator[str]:
    name = {"auroc": "AUROC", "dice_mean": "mean Dice"}[comparison.primary]
    yield f"{name} on each hospital's own test patients (simulation, from local files)"
    yield f"{'':14} {'alone':>7} {'federated':>10} {'difference and 95 % interval':>32}  verdict"
    for site in comparison.sites:
        run = site.federated_private if site.federated_private is not None else site.federated_exact
        interval = f"{_signed(site.difference)} [{_signed(site.lo)}, {_signed(site.hi)}]"
        verdict = {"federated": "federated is better", "alone": "alone is better"}.get(
            site.verdict, "cannot tell"
        )
        yield f"{site.site:14} {_plain(site.alone):>7} {_plain(run):>10} {interval:>32}  {verdict}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
