"""May a new model take the old one's place: three answers from paired, noised counts.

Both models score the same labelled patients, and a site counts who is called right by which:
four counts of disagreement by label, and how many patients of each label there are. The
difference of two AUROCs would need far more patients. Of outlines it is the change of each
patient's Dice, clipped. Sums are those of ``discordance`` and ``outlined``, each one joint
Gaussian release (``fedrad.site_report``); the answer is post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from fedrad.errors import DataError, ProtocolError
from fedrad.metrics.intervals import holm
from fedrad.metrics.metric import capped, pooled
from fedrad.protocol.messages import Block

Floats = npt.NDArray[np.float64]
Decision = Literal["promote", "harm shown", "cannot tell"]

MARGIN = 0.02  # the new model may lose so much, pooled
SITE_MARGIN = 0.05  # and so much at every site where it can be estimated
LEVEL = 0.05  # one-sided
FEWEST = 15.0  # noised patients of a label at a site, below which it has no say on it
RATES = ("sensitivity", "specificity")
OUTLINED = "Dice"
CLIP = 0.5  # of a patient's change of Dice, either side
OUTLINES = {"dice_change": CLIP, "dice_square": CLIP**2, "cases": 1.0}  # sensitivities
_LEAST_SQUARE = 0.01  # as if one patient's Dice had changed by .1
_GAINED, _LOST = 0, 1  # cells: the new model alone is right, the old one alone is


@dataclass(frozen=True, slots=True)
class Change:
    """The new model's rate less the old one's, with the standard error that holds the noise."""

    rate: str
    value: float
    error: float

    @property
    def lowest(self) -> float:
        """The one-sided 95 % lower bound."""
        return self.value + float(ndtri(LEVEL)) * self.error


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, what it rests on, and where nothing could be estimated."""

    decision: Decision
    pooled: tuple[Change, ...]
    sites: dict[str, tuple[Change, ...]]
    harmed: tuple[str, ...]  # sites where harm is shown
    not_estimable: tuple[str, ...]  # sites that could not speak for one of the rates


def discordance(
    before: npt.ArrayLike, after: npt.ArrayLike, labels: npt.ArrayLike, *, operating_point: float
) -> tuple[Block, ...]:
    """Count one site's patients exactly.

    Args:
        before: (n,) scores of the model in use; one that is not finite is no positive call.
        after: (n,) scores of the new model on the same patients.
        labels: (n,) 0 or 1.
        operating_point: A score from here on is a positive call.

    Returns:
        ``disagreement``: for label 1 and then 0, how many the new model alone calls rightly,
        and how many the old one alone; ``labels``: how many have label 1 and 0. One patient
        more moves each by at most 1 in L2 norm; sigma is 0.

    Raises:
        DataError: Lengths differ, or a label is neither 0 nor 1.
    """
    label = np.asarray(labels)
    calls = [np.asarray(scores, dtype=np.float64) >= operating_point for scores in (before, after)]
    if label.ndim != 1 or any(call.shape != label.shape for call in calls):
        raise DataError("two scores and one label a patient are needed")
    if not np.isin(label, (0, 1)).all():
        raise DataError("a patient's label is neither 0 nor 1")
    right_before, right_after = (call == (label == 1) for call in calls)
    cells = [
        float((one & (label == value)).sum())
        for value in (1, 0)
        for one in (right_after & ~right_before, right_before & ~right_after)
    ]
    sizes = [float((label == value).sum()) for value in (1, 0)]
    return _block("disagreement", cells), _block("labels", sizes)


def outlined(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[Block, ...]:
    """Sum how one site's patients are outlined better or worse, exactly.

    Args:
        before: (n,) Dice of the model in use; NaN where every reference is empty.
        after: (n,) of the new model on the same patients.

    Returns:
        ``dice_change`` and ``dice_square``: the sums of the clipped changes and of their
        squares; ``cases``: how many patients have a reference; sigma is 0.

    Raises:
        DataError: Lengths differ.
    """
    both = [np.asarray(dice, dtype=np.float64) for dice in (before, after)]
    if both[0].ndim != 1 or both[0].shape != both[1].shape:
        raise DataError("two values of Dice a patient are needed")
    change = np.clip(both[1] - both[0], -CLIP, CLIP)
    known = change[np.isfinite(change)]
    sums = {"dice_change": known.sum(), "dice_square": np.square(known).sum(), "cases": len(known)}
    return tuple(
        Block(name=name, values=np.array([float(sums[name])]), sigma=0.0, sensitivity=sensitivity)
        for name, sensitivity in OUTLINES.items()
    )


def changes(blocks: Sequence[Block], *, smallest: float = FEWEST) -> tuple[Change, ...]:
    """Return the change of sensitivity and of specificity, where enough patients have the label.

    Of outlines it is the change of the mean Dice, with the patients' variance from the squares.

    With a gained and b lost of n patients the change is (a - b) / n, with variance
    (a + b - (a - b)² / n) / n² from patients [1] and the noise of all three counts.

    Raises:
        ProtocolError: A block is missing or has the wrong length.

    References:
        [1] Agresti, Categorical Data Analysis, 3rd ed., sec. 11.1.1.
    """
    named = {block.name: block for block in blocks}
    if set(named) == set(OUTLINES):
        return _outlined(named, smallest)
    for name, length in (("disagreement", 4), ("labels", 2)):
        if name not in named or named[name].values.shape != (length,):
            raise ProtocolError(f"a comparison of two models needs {length} values in {name!r}")
    cells, sizes = named["disagreement"], named["labels"]
    found = []
    for place, rate in enumerate(RATES):
        size = float(sizes.values[place])
        if size >= smallest:
            pair = cells.values[2 * place : 2 * place + 2]
            found.append(_change(rate, pair, size, noise=(cells.sigma, sizes.sigma)))
    return tuple(found)


def judge(
    sites: Mapping[str, Sequence[Block]],
    *,
    margin: float = MARGIN,
    site_margin: float = SITE_MARGIN,
    most: Mapping[str, float] = MappingProxyType({}),
) -> Verdict:
    """Return whether the new model may take the old one's place.

    *harm shown*: at some site the one-sided upper bound of a change is below -margin; Holm's
    rule over all sites and rates keeps the chance of a wrong one at 5 % for the whole question.
    *promote*: the lower bound of each pooled change is above -margin, and above -site_margin at
    every site, each of which could be estimated. *cannot tell*: anything else, and a named
    person decides.

    Args:
        sites: Each site's released blocks.
        margin: In points of sensitivity and specificity; greater than 0.
        site_margin: The same for single sites.
        most: Patients for which each site counts at most in the pooled changes; a site that is
            not named counts for as many as it says.

    Raises:
        DataError: There is no site.
    """
    if not sites:
        raise DataError("no site compared the two models")
    single = {site: changes(blocks) for site, blocks in sites.items()}
    weighed = [capped(blocks, most.get(site, math.inf)) for site, blocks in sites.items()]
    every = changes(pooled(weighed))
    harmed = _harmed(single, margin)
    kinds = {block.name for blocks in sites.values() for block in blocks}
    wanted = 1 if kinds == set(OUTLINES) else len(RATES)
    silent = tuple(site for site, found in single.items() if len(found) < wanted)
    safe = len(every) == wanted and all(change.lowest > -margin for change in every)
    safe_everywhere = not silent and all(
        change.lowest > -site_margin for found in single.values() for change in found
    )
    decision: Decision = "cannot tell"
    if harmed:
        decision = "harm shown"
    elif safe and safe_everywhere:
        decision = "promote"
    return Verdict(decision, every, single, harmed, silent)


def _outlined(named: Mapping[str, Block], smallest: float) -> tuple[Change, ...]:
    total, square, cases = (named[name] for name in OUTLINES)
    size = float(cases.values[0])
    if size < smallest:
        return ()
    value = float(total.values[0]) / size
    patients = max(float(square.values[0]) - size * value**2, _LEAST_SQUARE)
    privacy = total.sigma**2 + (value * cases.sigma) ** 2
    return (Change(OUTLINED, value, math.sqrt(patients + privacy) / size),)


def _harmed(single: Mapping[str, Sequence[Change]], margin: float) -> tuple[str, ...]:
    tests = [(site, change) for site, found in single.items() for change in found]
    p = holm([float(ndtr((c.value + margin) / c.error)) for _, c in tests])
    found = [site for (site, _), each in zip(tests, p, strict=True) if each < LEVEL]
    return tuple(dict.fromkeys(found))


def _change(rate: str, pair: Floats, size: float, *, noise: tuple[float, float]) -> Change:
    gained, lost = float(pair[_GAINED]), float(pair[_LOST])
    value = (gained - lost) / size
    patients = max(gained, 0.0) + max(lost, 0.0) - (gained - lost) ** 2 / size
    privacy = 2 * noise[0] ** 2 + (value * noise[1]) ** 2
    least = 1.0  # as if one patient disagreed: no disagreement seen is not none possible
    return Change(rate, value, math.sqrt(max(patients, least) + privacy) / size)


def _block(name: str, values: Sequence[float]) -> Block:
    return Block(name=name, values=np.asarray(values), sigma=0.0, sensitivity=1.0)
