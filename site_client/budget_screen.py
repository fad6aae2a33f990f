"""A site's budget in words and one table, for a person in front of a terminal."""

from __future__ import annotations

import io
import math

from rich.console import Console
from rich.table import Table

from fedrad.privacy.accounting import FALSE_ALARM
from site_client.budget import Budget, Paid

_WIDTH = 100


def as_text(budget: Budget) -> str:
    """Return what ``fedrad-site budget`` prints: what is spent, left, and what it means."""
    console = Console(file=io.StringIO(), width=_WIDTH, highlight=False, no_color=True)
    console.print(_headline(budget))
    if budget.streams:
        console.print(_table(budget))
        console.print(
            "A patient is in one stream and pays that row. Reserved is work that runs or died; "
            "it counts."
        )
    console.print(f"Ledger: {budget.lines} lines, every hash checked; head {budget.head or '-'}")
    if budget.refused:
        console.print(f"The last request was not answered: {budget.refused}")
    for warning in budget.warnings:
        console.print(f"Warning of {warning}")
    file = console.file
    return file.getvalue().rstrip() if isinstance(file, io.StringIO) else ""


def _headline(budget: Budget) -> str:
    worst = budget.worst
    if worst is None:
        return (
            f"Site {budget.site}: nothing is spent of epsilon {budget.limit:g} "
            f"at delta {budget.delta:g}."
        )
    share = math.ceil(worst.attack * 100 - 1e-9)
    return (
        f"Site {budget.site}: epsilon {_said(worst.spent + worst.reserved)} of {budget.limit:g} "
        f"at delta {budget.delta:g}, for the patients who paid most ({worst.stream}).\n"
        f"At {FALSE_ALARM * 100:g} % false alarms a perfect attacker recognises at most {share} % "
        "of participants."
    )


def _table(budget: Budget) -> Table:
    table = Table("task", "stream", "counted", title_justify="left")
    for name in ("spent", "reserved", "left", "limit", "steps", "more like the last"):
        table.add_column(name, justify="right")
    for paid in (*budget.streams, *budget.tasks):
        table.add_row(*_cells(paid))
    return table


def _cells(paid: Paid) -> tuple[str, ...]:
    numbers = (paid.spent, paid.reserved, paid.left)
    return (
        paid.task or "all",
        paid.stream,
        "filter" if paid.filtered else "exactly",
        *(_said(number) for number in numbers),
        f"{paid.limit:g}",
        str(paid.steps),
        str(paid.more),
    )


def _said(epsilon: float) -> str:
    return f"{epsilon:.2f}" if math.isfinite(epsilon) else "without bound"
