"""A forecast in words and one table, for a person in front of a terminal.

Nothing is shown finer than it is known: two digits of an interval's half-width, of seconds
and of bytes, three of a measured score. What stands behind a verdict is told by ``grounds``.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

from fedrad.metrics.metric import WIDEST, shown_count
from fedrad.planning.forecast import Forecast, SiteForecast
from fedrad.planning.grounds import grounds
from fedrad.planning.noise import Spending
from fedrad.planning.precision import MOST_PATIENTS, Precision
from fedrad.privacy.accounting import FALSE_ALARM

_METRICS = {"auroc": "AUROC", "dice_mean": "Dice"}
_UNKNOWN = "–"  # a half-width that noise leaves no estimate of
_UNBROKEN = "\u00a0%"  # a line does not begin with a percent sign


def as_text(forecast: Forecast, width: int) -> str:
    """Return what ``plan`` prints on a screen of ``width`` columns."""
    about = (*_training(forecast), *_releases(forecast), *_rounds(forecast))
    parts = [folded([_headline(forecast)], width), _table(forecast, width), folded(about, width)]
    return "\n\n".join([*parts, *(folded(lines, width) for lines in _verdicts(forecast))])


def folded(lines: Iterable[str], width: int) -> str:
    """Fold lines to ``width`` columns; what a line goes on with is two columns further in."""
    return "\n".join(
        textwrap.fill(
            line.replace(" %", _UNBROKEN),
            width,
            subsequent_indent=" " * (len(line) - len(line.lstrip()) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        ).replace(_UNBROKEN, " %")
        for line in lines
    )


def _headline(forecast: Forecast) -> str:
    name = f"Task {forecast.task} ({forecast.task_hash[:12]})"
    if not forecast.private:
        return f"{name}: without privacy."
    return f"{name}: epsilon {forecast.epsilon:g} at delta {forecast.delta:g} for each patient."


def _table(forecast: Forecast, width: int) -> str:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    asked = next((site.asked for site in forecast.sites if site.asked), None)
    names = ["site", "patients", "noise", "drawn", "epsilon"]
    names += [] if asked is None else [f"epsilon\nat {asked.sigma:g}"]
    names += ["audit", f"{_METRICS[forecast.metric]}\n±", "exact\n±", "verdict"]
    for name in names:
        side: JustifyMethod = "left" if name in ("site", "verdict") else "right"
        table.add_column(
            name, justify=side, no_wrap=name not in ("site", "verdict"), overflow="fold"
        )
    for site in forecast.sites:
        table.add_row(*_row(site))
    return _drawn(table, width)


def _drawn(table: Table, width: int) -> str:
    """Draw a table, wider than the screen where a number would be cut."""
    console = Console(file=io.StringIO(), width=500, highlight=False, no_color=True)
    console.width = max(width, console.measure(table).minimum)
    with console.capture() as drawn:
        console.print(table)
    return "\n".join(line.rstrip() for line in drawn.get().rstrip().splitlines())


def _row(site: SiteForecast) -> list[str]:
    paid, sharp = site.training, site.precision
    return [
        site.site,
        shown_count(site.patients_agreed),
        f"{paid.sigma:g}" if paid.private else "none",
        f"{100 * paid.q:.2g} %" if paid.q < 1 else "100 %",
        _epsilon(paid),
        *([_epsilon(site.asked)] if site.asked else []),
        shown_count(sharp.patients),
        _width(sharp.half_width),
        _width(sharp.sampling),
        site.verdict.answer,
    ]


def _training(forecast: Forecast) -> Iterator[str]:
    worst = max(forecast.sites, key=lambda site: site.training.epsilon)
    paid, spares = worst.training, [site.spare for site in forecast.sites if site.spare]
    rounds = _counted(forecast.traffic.rounds, "round")
    rounds += f" and {spares[0].rounds} spare" if spares else ""
    yield (
        f"Training: {_counted(paid.steps, 'step')} in {rounds}. A step draws each patient with "
        "the chance under drawn; noise is in multiples of the clipping norm."
    )
    if not paid.private:
        return
    yield (
        f"At {100 * FALSE_ALARM:g} % false alarms a perfect attacker recognises at most "
        f"{math.ceil(100 * paid.attack - 1e-9)} % of training participants."
    )
    yield from _spare(forecast)


def _spare(forecast: Forecast) -> Iterator[str]:
    spares = [(site, site.spare) for site in forecast.sites if site.spare is not None]
    if not spares:
        return
    raised = [
        f"{site.site} {spare.sigma_without:g} to {site.training.sigma:g}"
        for site, spare in spares
        if spare.sigma_without != site.training.sigma
    ]
    how = f"Spare rounds raise the noise ({', '.join(raised)})" if raised else "Spare rounds count"
    unused = max(spare.epsilon_unused for _, spare in spares)
    yield f"{how}; if none is needed, at most epsilon {unused:.2f} is paid in the end."


def _releases(forecast: Forecast) -> Iterator[str]:
    often = "once" if len(forecast.releases) == 1 else f"{len(forecast.releases)} times"
    how = f"noise {forecast.release.sigma:g}" if forecast.release.private else "exact sums"
    yield (
        f"Metrics of the audit patients are released {often}, after {_listed(forecast.releases)}, "
        f"with {how}. ± is half of the 95 % interval of one release, if {_guessed(forecast)}; "
        f"exact ± is what sampling alone leaves."
    )
    if any(site.precision.half_width is None for site in forecast.sites):
        yield _no_estimate(forecast)
    if forecast.pooled is not None:
        yield f"All sites pooled: {_sharp(forecast.pooled)}."


def _no_estimate(forecast: Forecast) -> str:
    """Say why a site has no estimate, and what would give it one."""
    enough, metric = forecast.enough_audit, _METRICS[forecast.metric]
    ways = ["a larger epsilon"] if forecast.release.private else []
    ways += ["fewer releases"] if ways and len(forecast.releases) > 1 else []
    if enough is None:
        few = f"not even {MOST_PATIENTS} audit patients would give one"
    else:
        ways, few = ["more audit patients", *ways], f"it takes {enough} audit patients or more"
    why = f"the interval of its {metric} would be wider than ± {WIDEST:g}"
    way = f"; {' or '.join(ways)} would narrow it" if ways else ""
    return f"{_UNKNOWN} is no estimate: {why}, and then none is shown. Here {few}{way}."


def _sharp(found: Precision) -> str:
    if found.half_width is None:
        return "no estimate"
    return f"± {_width(found.half_width)} (exact ± {_width(found.sampling)})"


def _guessed(forecast: Forecast) -> str:
    guess = forecast.guess
    if forecast.metric == "auroc":
        return f"the AUROC is {guess.quality:g} and {100 * guess.prevalence:g} % are positive"
    return f"the mean Dice is {guess.quality:g} and patients' Dice spread by {guess.dice_spread:g}"


def _rounds(forecast: Forecast) -> Iterator[str]:
    effort, traffic = forecast.effort, forecast.traffic
    scaled = (
        f"; a step of {effort.patients} patients took {_seconds(effort.step_s)}, scaled to the "
        f"{effort.expected_batch:g} expected"
        if effort.scaled
        else ""
    )
    yield (
        f"Time: {_seconds(effort.round_s)} a round, measured here and now on "
        f"{_counted(effort.threads, 'thread')}: {effort.what}{scaled}."
    )
    yield (
        f"Traffic of a site: {_bytes(traffic.model + traffic.update)} a round, "
        f"{_bytes(traffic.round_down + traffic.round_up)} where it is evaluated too "
        f"({_bytes(traffic.model)} for each model received, {_bytes(traffic.update)} for "
        f"the update, {_bytes(traffic.report)} for the sums); "
        f"{_bytes(traffic.study)} in the study."
    )


def _verdicts(forecast: Forecast) -> Iterator[list[str]]:
    """Yield what is said of each site, once for those of which the same is said."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for site in forecast.sites:
        alike.setdefault(tuple(_site(site)), []).append(site.site)
    for (answer, *lines), names in alike.items():
        yield [f"{', '.join(names)}: {answer}", *lines]


def _site(site: SiteForecast) -> Iterator[str]:
    yield site.verdict.answer
    for problem in site.problems:
        yield f"  refused: {problem}"
    yield from grounds(site.verdict)


def _epsilon(paid: Spending | None) -> str:
    if paid is None or not math.isfinite(paid.epsilon):
        return "without bound"
    return f"{paid.epsilon:.2f}"


def _width(half: float | None) -> str:
    return _UNKNOWN if half is None else f"{half:#.2g}"


def _seconds(value: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{_two(value / length)} {unit}"
    return f"{_two(value)} s"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{_two(count / size)} {unit}"
    return f"{_two(count / 1e3)} kB"


def _two(value: float) -> str:
    """Return two digits, or all before the point."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(rounds: tuple[int, ...]) -> str:
    *before, last = map(str, rounds)
    return f"rounds {', '.join(before)} and {last}" if before else f"round {last}"
