"""Measure the notes on hospitals' claims: false ones, and those on a hospital that lies.

Run: ``python benchmarks/claims.py --studies 400``. Hospitals' AUROC and sensitivity lie about .88
with a deviation of their own, the same in all 12 windows, and an error of .025 in each. One of
them may say another value instead, in every window. Nothing is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from fedrad.metrics.metric import Z
from fedrad.shift.claims import Interval, contradicted

WINDOWS, ERROR, MEAN = 12, 0.025, 0.88
METRICS = ("auroc", "sensitivity")
LIAR = "0"
LIES = (None, 0.4, 0.7, 1.0)
HEAD = """\
| hospitals | deviation | nobody lies: a window has a note | 12 windows have any | the liar is \
noted in a window: .40 | .70 | 1.00 | another is, beside .40 | .70 | 1.00 |
|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print one row for each number of hospitals and deviation between them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    studies = parser.parse_args().studies
    print(HEAD)
    for sites in (4, 5, 6, 8):
        for deviation in (0.03, 0.05, 0.08):
            rng = np.random.default_rng([sites, round(100 * deviation)])
            cells = [f"{share:.3f}" for share in _shares(rng, sites, deviation, studies=studies)]
            print(f"| {sites} | {deviation} | {' | '.join(cells)} |", flush=True)


def _shares(
    rng: np.random.Generator, sites: int, deviation: float, *, studies: int
) -> Iterator[float]:
    """Yield the cells of a row: of honest studies, then of the liar and of those beside it."""
    noted, other = [], []
    for said in LIES:
        found = [_noted(rng, sites, deviation, said=said) for _ in range(studies)]
        if said is None:
            yield float(np.mean([bool(names) for one in found for names in one]))
            yield float(np.mean([any(one) for one in found]))
        else:
            noted.append(float(np.mean([LIAR in names for one in found for names in one])))
            other.append(float(np.mean([bool(names - {LIAR}) for one in found for names in one])))
    yield from (*noted, *other)


def _noted(
    rng: np.random.Generator, sites: int, deviation: float, *, said: float | None
) -> list[set[str]]:
    """Return which sites of one study are noted in each of its windows."""
    claims: dict[tuple[str, str], dict[str, Interval]] = {}
    for metric in METRICS:
        true = rng.normal(MEAN, deviation, sites)
        for window in range(WINDOWS):
            values = np.clip(rng.normal(true, ERROR), 0, 1)
            values[int(LIAR)] = values[int(LIAR)] if said is None else said
            claims[metric, str(window)] = {
                str(site): (value, value - Z * ERROR, value + Z * ERROR)
                for site, value in enumerate(values.tolist())
            }
    names: list[set[str]] = [set() for _ in range(WINDOWS)]
    for one in contradicted(claims):
        names[int(one.window)].add(one.site)
    return names


if __name__ == "__main__":
    main()
