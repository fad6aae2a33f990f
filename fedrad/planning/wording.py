"""A forecast in words and tables, for a person in front of a terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

from fedrad.planning.forecast import Forecast, SiteForecast
from fedrad.planning.noise import FALSE_ALARM, Spending
from fedrad.planning.traffic import MEGABYTE

_WIDTH = 140


def as_text(forecast: Forecast) -> str:
    """Return what ``plan`` prints."""
    file = io.StringIO()
    console = Console(file=file, width=_WIDTH, highlight=False, no_color=True)
    console.print(_headline(forecast))
    console.print(_table(forecast))
    for line in (*_spending(forecast), *_releases(forecast), *_rounds(forecast)):
        console.print(line, soft_wrap=True)
    for lines in _verdicts(forecast):
        console.print()
        console.print("\n".join(lines), soft_wrap=True)
    return file.getvalue().rstrip()


def _headline(forecast: Forecast) -> str:
    name = f"Task {forecast.task} ({forecast.task_hash[:12]})"
    if not forecast.private:
        return f"{name}: without privacy."
    return f"{name}: epsilon {forecast.epsilon:g} at delta {forecast.delta:g} for each patient."


def _table(forecast: Forecast) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    asked = next((site.asked for site in forecast.sites if site.asked), None)
    names = ["site", "patients", "noise", "drawn", "steps", "epsilon"]
    names += [] if asked is None else [f"at noise {asked.sigma:g}"]
    names += ["audit", f"{forecast.metric} ±", "exact ±", "verdict"]
    for name in names:
        side: JustifyMethod = "left" if name in ("site", "verdict") else "right"
        table.add_column(name, justify=side, no_wrap=True)
    for site in forecast.sites:
        table.add_row(*_row(site))
    return table


def _row(site: SiteForecast) -> list[str]:
    paid, sharp = site.training, site.precision
    extra = [_epsilon(site.asked)] if site.asked else []
    return [
        site.site,
        str(site.patients_agreed),
        f"{paid.sigma:g}" if paid.private else "none",
        f"{100 * paid.q:.3g} %",
        str(paid.steps),
        _epsilon(paid),
        *extra,
        f"{sharp.patients:.0f}",
        _width(sharp.half_width),
        _width(sharp.sampling),
        site.verdict.answer,
    ]


def _spending(forecast: Forecast) -> Iterator[str]:
    worst = max(forecast.sites, key=lambda site: site.training.epsilon)
    if worst.training.private:
        yield (
            f"At {100 * FALSE_ALARM:g} % false alarms a perfect attacker recognises at most "
            f"{math.ceil(100 * worst.training.attack - 1e-9)} % of training participants."
        )
    spares = [(site, site.spare) for site in forecast.sites if site.spare is not None]
    if spares:
        raised = ", ".join(
            f"{site.site} {spare.sigma_without:g} to {site.training.sigma:g}"
            for site, spare in spares
        )
        unused = max(spare.epsilon_unused for _, spare in spares)
        yield (
            f"The {spares[0][1].rounds} spare rounds raise the noise ({raised}); if none is "
            f"needed, epsilon {unused:.2f} is paid at most."
        )


def _releases(forecast: Forecast) -> Iterator[str]:
    rounds = ", ".join(map(str, forecast.releases))
    how = f"noise {forecast.release.sigma:g}" if forecast.release.private else "exact sums"
    yield (
        f"Metrics are released {len(forecast.releases)} times, after rounds {rounds}, with {how}. "
        f"± is half of the 95 % interval of one release, if {_guessed(forecast)}; exact ± is "
        "what sampling alone leaves."
    )
    if forecast.pooled is not None:
        sharp = forecast.pooled
        yield (f"All sites pooled: ± {_width(sharp.half_width)} (exact {_width(sharp.sampling)}).")


def _guessed(forecast: Forecast) -> str:
    guess = forecast.guess
    if forecast.metric == "auroc":
        return f"the AUROC is {guess.quality:g} and {100 * guess.prevalence:g} % are positive"
    return f"the mean Dice is {guess.quality:g} and patients' Dice spread by {guess.dice_spread:g}"


def _rounds(forecast: Forecast) -> Iterator[str]:
    effort, traffic = forecast.effort, forecast.traffic
    scaled = (
        f"; one step of {effort.patients} patients took {effort.step_s:.2g} s, scaled to the "
        f"{effort.expected_batch:g} expected"
        if effort.scaled
        else ""
    )
    yield (
        f"Time: {_seconds(effort.round_s)} a round, measured here and now on {effort.threads} "
        f"{'thread' if effort.threads == 1 else 'threads'}: {effort.what}{scaled}."
    )
    yield (
        f"Traffic of a site: {_megabytes(traffic.model + traffic.update)} a round, "
        f"{_megabytes(traffic.round_down + traffic.round_up)} where it is evaluated too "
        f"({_megabytes(traffic.model)} for each model received, {_megabytes(traffic.update)} for "
        f"the update, {_megabytes(traffic.report)} for the sums); "
        f"{_megabytes(traffic.study)} in the study."
    )


def _verdicts(forecast: Forecast) -> Iterator[list[str]]:
    """Yield what is said of each site, once for those of which the same is said."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for site in forecast.sites:
        alike.setdefault(tuple(_site(site)), []).append(site.site)
    for (answer, *lines), names in alike.items():
        yield [f"{', '.join(names)}: {answer}", *lines]


def _site(site: SiteForecast) -> Iterator[str]:
    found = site.verdict
    yield found.answer
    for problem in site.problems:
        yield f"  refused: {problem}"
    for reason in found.reasons:
        yield f"  {reason}"
    for change in found.changes:
        yield f"  would be better: {change}"
    if found.answer in ("no", "doubtful") and not found.changes:
        yield "  nothing that was measured would be better, one change at a time"


def _epsilon(paid: Spending | None) -> str:
    if paid is None or not math.isfinite(paid.epsilon):
        return "without bound"
    return f"{paid.epsilon:.2f}"


def _width(half: float | None) -> str:
    return "no estimate" if half is None else f"{half:.3f}"


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 100 else f"{value / 60:.2g} min"


def _megabytes(count: int) -> str:
    return f"{count / MEGABYTE:.3g} MB"
