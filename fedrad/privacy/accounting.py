"""What a list of private events costs: epsilon at delta, and what an attacker gains.

Events are stored and sent, epsilons are computed, here and nowhere else, by numerical
composition of privacy loss distributions [1], rounded against us. Neighbouring data sets
differ by one patient, present or absent. That holds for events whose noise and rate were
fixed before the first of them, as within one contract; a cap over contracts that were
chosen one after the other is ``caps``. Nothing here reads a file or draws a number.

References:
    [1] Koskela et al., Computing Tight Differential Privacy Guarantees Using FFT,
        AISTATS 2020; Doroshenko et al., Connect the Dots, PETS 2022 (the library used).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from fedrad.errors import PrivacyError
from fedrad.settings import refuse_problems

Mechanism = Literal["subsampled-gaussian", "gaussian", "exact"]

FALSE_ALARM = 0.01  # share of non-participants that an attacker may take for participants
LEAST_MULTIPLIER = 0.2  # less noise counts as none: epsilon is infinite
_MOST_MULTIPLIER = 1e4
_FINEST = 2e-5
_COARSER = 5.0  # the planner's first pass: five times wider steps of the privacy loss
Spent = tuple[tuple[float, float, int], ...]  # (noise multiplier, q, steps), merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One mechanism applied ``steps`` times to the same patients.

    ``sigma`` is the noise's standard deviation and ``sensitivity`` what one patient can
    move, in one unit; their ratio is the noise multiplier. ``q`` is the chance of a
    patient to be drawn in a step (Poisson sampling), 1 for a release over everybody.
    """

    mechanism: Mechanism
    sigma: float
    q: float
    steps: int
    sensitivity: float = 1.0

    def __post_init__(self) -> None:
        refuse_problems("event", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.mechanism not in ("subsampled-gaussian", "gaussian", "exact"):
            yield f"mechanism {self.mechanism!r} is not known"
        if not 0 <= self.sigma < math.inf:
            yield f"sigma must be 0 or more and finite, got {self.sigma}"
        if not 0 < self.q <= 1:
            yield f"q must lie in (0, 1], got {self.q}"
        if self.mechanism == "gaussian" and self.q != 1:
            yield f"a gaussian event reads every patient: q must be 1, got {self.q}"
        if self.steps < 0:
            yield f"steps must be 0 or more, got {self.steps}"
        if not 0 < self.sensitivity < math.inf:
            yield f"sensitivity must be greater than 0 and finite, got {self.sensitivity}"

    @property
    def multiplier(self) -> float:
        """The noise multiplier; 0 for an exact event."""
        return 0.0 if self.mechanism == "exact" else self.sigma / self.sensitivity


def epsilon(events: Iterable[Event], delta: float) -> float:
    """Return the epsilon at ``delta`` of all events together, on the same patients.

    Args:
        events: In any order; equal ones are merged. No event costs 0.
        delta: In (0, 1).

    Returns:
        0 or more; infinite if any event is exact or has a noise multiplier under 0.2.

    Raises:
        PrivacyError: Delta is outside (0, 1).
    """
    return epsilon_of(merged(events), delta)


def epsilon_of(spent: Spent, delta: float) -> float:
    """Return the epsilon of merged events; arguments and errors are those of ``epsilon``."""
    if not 0 < delta < 1:
        raise PrivacyError(f"delta must lie between 0 and 1, got {delta}")
    return _epsilon(spent, delta, 1.0)


@lru_cache(maxsize=1024)
def delta_of(spent: Spent, epsilon: float) -> float:
    """Return the delta at which merged events cost ``epsilon``; 1 if any is exact.

    The inverse of ``epsilon_of``: the hockey-stick divergence of order exp(epsilon), the
    larger of that of a patient joining and of one leaving.
    """
    if not spent:
        return 0.0
    if _unprotected(spent):
        return 1.0
    return float(_composed(spent, 1.0).get_delta_for_epsilon(epsilon))


def site_epsilon(streams: Mapping[str, Sequence[Event]], delta: float) -> float:
    """Return what a patient of one site has paid at most.

    The streams train, audit, window and test hold disjoint patients, so a patient pays
    the largest of them (parallel composition); what is charged to ``other`` may touch
    anybody and is added to each.
    """
    other = tuple(streams.get("other", ()))
    own = [tuple(events) for name, events in streams.items() if name != "other"]
    return max(epsilon(events + other, delta) for events in [*own, ()])


def plan_sigma(*, epsilon: float, delta: float, q: float, steps: int) -> float:
    """Return the smallest noise multiplier that keeps ``steps`` steps within ``epsilon``.

    Args:
        epsilon: The target; greater than 0.
        delta: In (0, 1).
        q: The sampling rate, in (0, 1]; 1 plans releases over everybody.
        steps: All steps of all rounds, spare ones included; 1 or more.

    Returns:
        The multiplier rounded up to three significant digits; its epsilon by
        ``epsilon()`` is at most the target.

    Raises:
        PrivacyError: An argument is out of range, or no multiplier up to 10,000 will do.
    """
    if not epsilon > 0 or not 0 < delta < 1 or not 0 < q <= 1 or steps < 1:
        raise PrivacyError(
            f"no noise can be planned for epsilon {epsilon}, delta {delta}, q {q}, steps {steps}"
        )

    def fits(index: int, coarser: float) -> bool:
        return _epsilon(((_on_grid(index), q, steps),), delta, coarser) <= epsilon

    lowest, highest = _index(LEAST_MULTIPLIER), _index(_MOST_MULTIPLIER)
    enough = _first(lowest, highest, lambda index: fits(index, _COARSER))
    if enough is None:
        raise PrivacyError(f"epsilon {epsilon} needs a noise multiplier over {_MOST_MULTIPLIER:g}")
    step = 1
    while enough - step > lowest and fits(enough - step, 1.0):
        enough, step = enough - step, 2 * step
    below = max(lowest, enough - step)
    return _on_grid(_first(below, enough, lambda index: fits(index, 1.0)) or enough)


def best_attack(events: Iterable[Event], *, false_alarm: float = FALSE_ALARM) -> float:
    """Return how many participants a perfect attacker recognises at a false-alarm rate.

    The attacker knows everything but whether one given patient took part, and sees every
    noisy value. From (epsilon, delta(epsilon)) for all epsilon, no test at false-alarm
    rate ``a`` has a true-positive rate above the smaller of exp(e) a + delta(e) and
    1 - exp(-e) (1 - a - delta(e)) [1, 2], so the least value over a grid of e is a bound.

    Args:
        events: As for ``epsilon``.
        false_alarm: Share of non-participants taken for participants, in [0, 1].

    Returns:
        The true-positive rate, between ``false_alarm`` and 1.

    References:
        [1] Kairouz, Oh, Viswanath, The Composition Theorem for Differential Privacy,
            ICML 2015, theorem 2.1.
        [2] Dong, Roth, Su, Gaussian Differential Privacy, JRSS-B 2022, propositions 2.4
            and 2.12.
    """
    return _best_attack(merged(events), false_alarm)


def attack_within(epsilon: float, delta: float, *, false_alarm: float = FALSE_ALARM) -> float:
    """Return what a perfect attacker recognises at most, where only one (epsilon, delta) holds.

    Looser than ``best_attack``, which knows delta for every epsilon; arguments, bound and
    result are those of the proof there.
    """
    joining = math.exp(min(epsilon, 700.0)) * false_alarm + delta
    leaving = 1 - math.exp(-epsilon) * (1 - false_alarm - delta)
    return float(np.clip(min(joining, leaving), false_alarm, 1.0))


def merged(events: Iterable[Event]) -> Spent:
    """Merge equal events; all unsampled Gaussians become one.

    The result is sorted by multiplier, then rate; less noise than 0.2 becomes none, 0.

    The k-fold composition of Gaussians with multipliers s_i is exactly one Gaussian with
    1 / s² = sum of 1 / s_i² (Dong, Roth, Su 2022, corollary 3.3).
    """
    sampled: Counter[tuple[float, float]] = Counter()
    precision = 0.0
    for event in events:
        if event.steps == 0:
            continue
        if event.multiplier < LEAST_MULTIPLIER:
            return ((0.0, 1.0, 1),)
        if event.q == 1:
            precision += event.steps / event.multiplier**2
        else:
            sampled[event.multiplier, event.q] += event.steps
    whole = [(float(f"{precision**-0.5:.12g}"), 1.0, 1)] if precision else []
    return tuple(sorted([*whole, *((*key, steps) for key, steps in sampled.items())]))


def _unprotected(spent: Spent) -> bool:
    return any(multiplier < 0.01 for multiplier, _, _ in spent)


@lru_cache(maxsize=256)
def _best_attack(spent: Spent, false_alarm: float) -> float:
    if not spent:
        return false_alarm
    if _unprotected(spent):
        return 1.0
    loss = _composed(spent, 1.0)
    grid = np.linspace(0.0, max(1.0, min(50.0, loss.get_epsilon_for_delta(1e-9))), 500)
    delta = np.asarray(loss.get_delta_for_epsilon(grid), dtype=np.float64)
    joining = np.exp(grid) * false_alarm + delta
    leaving = 1 - np.exp(-grid) * (1 - false_alarm - delta)
    return float(np.clip(min(joining.min(), leaving.min()), false_alarm, 1.0))


@lru_cache(maxsize=4096)
def _epsilon(spent: Spent, delta: float, coarser: float) -> float:
    if not spent:
        return 0.0
    if _unprotected(spent):
        return math.inf
    return float(_composed(spent, coarser).get_epsilon_for_delta(delta))


@lru_cache(maxsize=4)  # a few megabytes each
def _composed(spent: Spent, coarser: float) -> Any:
    """Return the privacy loss distribution of all of ``spent``."""
    interval = min(_interval(multiplier, q) for multiplier, q, _ in spent) * coarser
    parts = [
        _single(multiplier, q, interval).self_compose(steps) if steps > 1
        else _single(multiplier, q, interval)
        for multiplier, q, steps in spent
    ]  # fmt: skip
    total = parts[0]
    for part in parts[1:]:
        total = total.compose(part)
    return total


def _interval(multiplier: float, q: float) -> float:
    """Return the step of the privacy loss: losses shrink with more noise and rarer draws.

    A step's loss has a deviation of about q (exp(1 / sigma²) - 1)^(1/2) where that is small; an
    eighth of it is fine enough. Three times finer steps lower epsilon by at most 0.3 % (0.5 to
    25, q from 0.001, up to 20,000 steps).
    """
    steps = ((20.0, 6e-5), (5.0, 3e-4), (1.5, 1e-3), (0.5, 3e-3), (0.1, 1e-2), (0.0, 5e-2))
    interval = next(interval for least, interval in steps if multiplier >= least)
    deviation = q * math.sqrt(math.expm1(min(multiplier**-2, 50.0)))
    return min(interval, max(deviation / 8, _FINEST))


@lru_cache(maxsize=64)
def _single(multiplier: float, q: float, interval: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution

    return privacy_loss_distribution.from_gaussian_mechanism(
        multiplier,
        sampling_prob=q,
        value_discretization_interval=interval,
        pessimistic_estimate=True,
    )


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """Return the first index in [low, high] from which ``holds``, by bisection."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def _on_grid(index: int) -> float:
    """Return the index-th number of three significant digits, counted from 0.01."""
    decade, step = divmod(index, 900)
    return float(f"{100 + step}e{decade - 4}")


def _index(value: float) -> int:
    decade = math.floor(math.log10(value) + 1e-12)
    return (decade + 2) * 900 + round(value / 10.0**decade * 100) - 100
