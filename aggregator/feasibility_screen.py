"""Feasibility records in words and one table; no count under 10 is shown as a number."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from aggregator.feasibility import LEVELS, Feasibility, Numbers, SiteAnswer
from fedrad.feasibility.estimates import Estimate
from fedrad.metrics.metric import SMALLEST_SHOWN, shown_count
from fedrad.planning import wording
from fedrad.planning.forecast import Forecast
from fedrad.planning.forecast import as_table as plan_table


def as_table(found: Feasibility) -> dict[str, Any]:
    """Return everything as one JSON object; ``null`` stands for a count under 10.

    A share that noise leaves open, and a plan with fewer sites than the quorum, are ``null``
    too.
    """
    return {
        "task": found.task,
        "task_hash": found.task_hash,
        "delta": found.delta,
        "quorum": found.quorum,
        "sites": [_row(site) for site in found.sites],
        "plans": {
            level: None if plan is None else _planned(plan) for level, plan in found.plans.items()
        },
    }


def as_text(found: Feasibility, width: int) -> str:
    """Return what ``fedrad-aggregator feasibility`` prints on ``width`` columns."""
    parts = [wording.folded(_headline(found), width), _table(found, width)]
    parts += [wording.folded(_scanners(site.numbers), width) for site in found.sites]
    parts.append(wording.folded(_answers(found), width))
    plan = found.plans["estimate"]
    if plan is not None:
        parts += ["The plan with the estimated counts:", wording.as_text(plan, width)]
    return "\n\n".join(parts)


def _planned(plan: Forecast) -> dict[str, Any]:
    table = plan_table(plan)
    for site in table["sites"]:
        site["precision"]["patients"] = _shown(site["precision"]["patients"])
    return table


def _row(site: SiteAnswer) -> dict[str, Any]:
    numbers = site.numbers
    return {
        "site": numbers.site,
        "record": numbers.number,
        "noise": numbers.noise,
        "epsilon": numbers.epsilon,
        "patients": _counted(numbers.patients),
        "labels": _all_counted(numbers.labels),
        "labelled": _shared(numbers.labelled),
        "train": _counted(numbers.train),
        "audit": _counted(numbers.audit),
        "vendors": _all_counted(numbers.vendors),
        "views": _all_counted(numbers.views),
        "patients_agreed": _shown(site.agreed),
        "answer": site.answer,
        "answers": dict(site.answers),
    }


def _counted(estimate: Estimate) -> dict[str, int | None]:
    return {name: _shown(value) for name, value in _parts(estimate).items()}


def _all_counted(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, int | None]]:
    return {name: _counted(estimate) for name, estimate in estimates.items()}


def _shared(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else {k: round(v, 3) for k, v in _parts(estimate).items()}


def _parts(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "lo": estimate.lo, "hi": estimate.hi}


def _shown(value: float) -> int | None:
    return round(value) if value >= SMALLEST_SHOWN else None


def _headline(found: Feasibility) -> Iterator[str]:
    sites = f"{len(found.sites)} site" + ("s" if len(found.sites) > 1 else "")
    yield (
        f"Task {found.task} ({found.task_hash[:12]}): {sites}. Patients as told with noise; in "
        "brackets 95 % intervals for the noise."
    )


def _table(found: Feasibility, width: int) -> str:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    labels = list(found.sites[0].numbers.labels)
    for name in ("site", "patients", *labels, "labelled", "to train on", "to measure on"):
        table.add_column(name, justify="left" if name == "site" else "right", no_wrap=True)
    table.add_column("agree on", justify="right", no_wrap=True)
    table.add_column("record's epsilon", justify="right")
    for site in found.sites:
        table.add_row(*_cells(site))
    console = Console(file=io.StringIO(), width=500, highlight=False, no_color=True)
    console.width = max(width, console.measure(table).maximum)
    with console.capture() as drawn:
        console.print(table)
    return "\n".join(line.rstrip() for line in drawn.get().rstrip().splitlines())


def _cells(site: SiteAnswer) -> tuple[str, ...]:
    numbers = site.numbers
    return (
        numbers.site,
        _within(numbers.patients),
        *map(_within, numbers.labels.values()),
        _share(numbers.labelled),
        _within(numbers.train),
        _within(numbers.audit),
        shown_count(site.agreed),
        f"{numbers.epsilon:.2f}",
    )


def _scanners(numbers: Numbers) -> Iterator[str]:
    yield f"{numbers.site}: what the noise lets see"
    for what, estimates in (("makers", numbers.vendors), ("views", numbers.views)):
        seen = {name: one for name, one in estimates.items() if one.lo > 0}
        ordered = sorted(seen.items(), key=lambda item: -item[1].value)
        said = ", ".join(f"{name} {_within(one)}" for name, one in ordered)
        yield f"  {what}: {said or 'none'}"


def _answers(found: Feasibility) -> Iterator[str]:
    for site in found.sites:
        said = ", ".join(f"{site.answers[level]} at the {_AT[level]}" for level in LEVELS)
        if len(set(site.answers.values())) == 1:
            said = "at both ends of the intervals and between"
        yield f"{site.numbers.site}: {site.answer} ({said})"
    if None in found.plans.values():
        yield (
            f"Where fewer than {found.quorum} sites have {SMALLEST_SHOWN} patients or more to "
            "train on, no round can be aggregated and the answer is no."
        )


_AT = {"lower": "lower ends", "estimate": "estimates", "upper": "upper ends"}


def _within(estimate: Estimate) -> str:
    value, lo, hi = map(shown_count, _parts(estimate).values())
    return value if value == lo == hi else f"{value} ({lo}-{hi})"


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "open"
    value, lo, hi = (round(100 * part) for part in _parts(estimate).values())
    return f"{value} % ({lo}-{hi})"
