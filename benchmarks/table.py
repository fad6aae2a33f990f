"""Print the rows of docs/results.md from the folders of finished runs.

Run: ``python benchmarks/table.py RUN...``. Nothing is computed here that the runs did not
record; a cell without a number was not measured.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from aggregator.comparison import SiteComparison, read_comparison

HEAD = (
    "| site | test patients (positive) | trivial | alone | pooled | federated, no DP "
    "| federated, DP | difference to alone, 95 % interval | over seeds | verdict |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Print one table a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    for run in parser.parse_args().runs:
        comparison = read_comparison(run)
        if comparison is None:
            raise SystemExit(f"{run} has no comparison; run it with --baselines")
        print(f"\n{comparison.command} ({comparison.primary}, {comparison.seeds} seeds)\n\n{HEAD}")
        for site in comparison.sites:
            print(_row(site, comparison.spread.get(site.site, ())))
        print(_mean_row(comparison.sites))


def _row(site: SiteComparison, spread: tuple[float, ...]) -> str:
    values = (site.trivial, site.alone, site.pooled, site.federated_exact, site.federated_private)
    cells = [f"{site.n} ({site.n_positive})", *map(_number, values)]
    interval = f"{_signed(site.difference)} [{_signed(site.lo)}, {_signed(site.hi)}]"
    over = ", ".join(_signed(value) for value in spread) or "–"
    return f"| {site.site} | {' | '.join(cells)} | {interval} | {over} | {site.verdict} |"


def _mean_row(sites: tuple[SiteComparison, ...]) -> str:
    names = ("trivial", "alone", "pooled", "federated_exact", "federated_private", "difference")
    cells = []
    for name in names:
        found = [value for site in sites if (value := getattr(site, name)) is not None]
        cells.append(_number(statistics.fmean(found)) if len(found) == len(sites) else "–")
    return f"| **mean** | | {' | '.join(cells)} | | |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


if __name__ == "__main__":
    main()
