"""Draw windows of a hospital from its bank: who is in them, what is shifted, and the noise.

A window has about 200 patients, as many as a calendar gives: a Poisson number. Patients are
drawn without replacement, and those of the reference are never in a later window of the draw.
Noise is that of the product (``fedrad.site_report``), from a keyed generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from bank import LAYOUT, Rows, bank
from numpy.typing import NDArray

from fedrad import seeds
from fedrad.privacy.accounting import plan_sigma
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import Seen, whole_window
from fedrad.shift.windows import Released
from fedrad.site_report import noised

Places = NDArray[np.int64]

SIZE = 200  # patients expected in a window
PREVALENCE = 0.30
SHIFTED = 1600  # patients of a bank that exist under every condition; references leave them out
SEASONAL = 4000  # of those two conditions that a season goes between
DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What differs in a window: a condition of images for a share of patients, and labels."""

    condition: str = ""
    share: float = 1.0
    prevalence: float = PREVALENCE
    flipped: float = 0.0  # share of labels
    missed: float = 0.0  # share of positives whose label is negative
    smallest: float = 0.0  # radius from which a reader calls a lesion, as a share of the edge


SHIFTS: dict[str, Shift] = {
    **{
        f"{name} {level}": Shift(condition=f"{name} {level}")
        for name in ("gain", "gamma", "noise", "blur", "resolution", "bias field", "population")
        for level in ("L", "H")
    },
    "scanner 30 %": Shift(condition="scanner", share=0.3),
    "scanner 100 %": Shift(condition="scanner"),
    "firmware": Shift(condition="firmware"),
    "prevalence .42": Shift(prevalence=0.42),
    "prevalence .55": Shift(prevalence=0.55),
    "label noise 15 %": Shift(flipped=0.15),
    "label noise 30 %": Shift(flipped=0.30),
    "missed 15 %": Shift(missed=0.15),
    "missed 30 %": Shift(missed=0.30),
    "annotator": Shift(smallest=0.045),
}
"""Firmware is the scanner's picture without its tags; an annotator calls large lesions only."""
NONE = Shift()
RENAMED = Shift(condition="rename")


class Hospital:
    """One hospital's bank, dealt once for one draw: nobody is in two windows."""

    def __init__(
        self, name: str, rng: np.random.Generator, *, bank: tuple[Path, int], shifted: int = SHIFTED
    ) -> None:
        folder, patients = bank
        self._name, self._folder, self._rng, self._shifted = name, folder, rng, shifted
        self.rows = kept(name, "", patients, folder)
        self._free = {True: self._pool(shifted, patients), False: self._pool(0, shifted)}
        self._lent: list[int] = []

    def window(self, shift: Shift = NONE) -> Rows:
        """Return the rows of the next window under a shift.

        A window of shifted images is a few patients smaller where those with a label run out.
        """
        size = int(self._rng.poisson(SIZE))
        positives = int(self._rng.binomial(size, shift.prevalence))
        pools, wanted = self._free[not shift.condition], (size - positives, positives)
        if shift.condition:
            wanted = (min(wanted[0], len(pools[0])), min(wanted[1], len(pools[1])))
        places = np.concatenate([taken(pools[1], wanted[1]), taken(pools[0], wanted[0])])
        self._lent += places.tolist()
        return self._shown(shift, places)

    def settle(self) -> None:
        """Keep what was drawn so far out of all later windows, for good."""
        self._lent = []

    def give_back(self, shift: Shift) -> None:
        """Let later windows draw again what was drawn under a shift since ``settle``."""
        pools = self._free[not shift.condition]
        for place in self._lent:
            pools[int(self.rows.labels[place])].append(place)
        for pool in pools:
            self._rng.shuffle(pool)
        self._lent = []

    def _pool(self, first: int, last: int) -> tuple[list[int], list[int]]:
        places = self._rng.permutation(np.arange(first, last))
        labels = self.rows.labels[places]
        return places[labels == 0].tolist(), places[labels == 1].tolist()

    def _shown(self, shift: Shift, places: Places) -> Rows:
        other = self.rows
        if shift.condition:
            other = kept(self._name, shift.condition, self._shifted, self._folder)
        return shown(self.rows, other, shift, (places, self._rng))


def shown(rows: Rows, other: Rows, shift: Shift, who: tuple[Places, np.random.Generator]) -> Rows:
    """Return patients under a shift: some as the other bank has them, with readers' labels."""
    places, rng = who
    found = subset(rows, places)
    if shift.condition:
        after, moved = subset(other, places), rng.uniform(size=len(places)) < shift.share
        found = Rows(
            **{
                field: _mixed(getattr(found, field), getattr(after, field), moved)
                for field in Rows.__dataclass_fields__
            }
        )
    return replace(found, labels=_called(found, shift, rng))


def _called(rows: Rows, shift: Shift, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the labels that readers give: turned over, missed, or of large lesions only."""
    drawn = rng.uniform(size=len(rows.labels))
    turned = np.where(drawn < shift.flipped, 1 - rows.labels, rows.labels)
    missed = (drawn < shift.missed) | (rows.lesion < shift.smallest)
    return np.where(missed, 0, turned).astype(np.int64)


@lru_cache(maxsize=64)
def kept(name: str, condition: str, patients: int, folder: Path) -> Rows:
    """Return a bank, in memory once read."""
    return bank(name, condition, patients=patients, folder=folder)


@lru_cache(maxsize=16)
def multiplier(epsilon: float) -> float:
    """Return the noise multiplier of one release at this epsilon."""
    return plan_sigma(epsilon=epsilon, delta=DELTA, q=1.0, steps=1)


def sums(rows: Rows) -> tuple[Block, ...]:
    """Return the exact sums of a window."""
    seen = Seen(rows.moments, rows.tags, rows.population, rows.scores)
    return whole_window(seen, rows.labels, LAYOUT)


def released(name: str, rows: Rows, *, epsilon: float, key: Sequence[str | int]) -> Released:
    """Return a window as a site releases it."""
    return told(name, sums(rows), epsilon=epsilon, key=key)


def told(
    name: str, blocks: Sequence[Block], *, epsilon: float, key: Sequence[str | int]
) -> Released:
    """Return exact sums as a site releases them."""
    rng = noise_source(seeds.key(1, "shiftbench noise", *key))
    return Released((name,), noised(blocks, sigma=multiplier(epsilon), rng=rng))


def taken(pool: list[int], number: int) -> Places:
    """Take the last of a pool, each once."""
    if number > len(pool):
        raise SystemExit("the bank has too few patients for windows without replacement")
    taken = [pool.pop() for _ in range(number)]
    return np.array(taken, dtype=np.int64)


def subset(rows: Rows, places: Places) -> Rows:
    """Return some of the patients."""
    return Rows(**{field: getattr(rows, field)[places] for field in Rows.__dataclass_fields__})


def _mixed(
    before: NDArray[np.float64], after: NDArray[np.float64], moved: NDArray[np.bool_]
) -> NDArray[np.float64]:
    return np.where(moved.reshape(-1, *[1] * (before.ndim - 1)), after, before)
