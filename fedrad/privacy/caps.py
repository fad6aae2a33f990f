"""How much of a site's cap is used, when later contracts may depend on earlier results.

A cap is a promise over everything that one patient of a stream ever takes part in: it is
(epsilon, delta)-private, whatever was asked for and why. The first contract's noise, rate
and length were fixed before anything of the patient was released, so its own rounds are
composed exactly (``accounting``). What comes after was chosen by people who had seen
results, and is counted by the filter of ``renyi``.

**How delta is shared.** Let d be the delta at which the *whole* first contract, spare
rounds included, costs ``epsilon``: known before its first round. Charges pass if

1. all are of one kind (equal noise and rate, or releases over everybody, which compose to
   one Gaussian whatever each one's noise [1]), no more than the first contract planned, and
   cost at most ``epsilon`` at ``delta`` by exact composition; or
2. the filter lets them through with what is left, delta - min(d, delta).

Outcomes that end under 1 coincide with those of a process that would have stopped at the
first charge outside 1; it is dominated by the whole first contract, or by as much of it as
the cap allows, and so adds at most min(d, delta). Outcomes that end under 2 add at most the
rest: the argument of ``renyi``, with one more part. So a site that only ever takes one
contract pays nothing for the filter, and one whose first contract leaves room in epsilon
pays almost nothing in delta; a first contract that may use the whole cap leaves the filter
nothing, and every other contract is refused until a person raises the limit.

**Streams.** A patient is in one stream for ever. What is released of other streams' patients
depends on this one only through what was released before, so given that its divergence is
0: each stream has a filter of its own, and ``other`` counts in all.

References:
    [1] Koskela, Tobaben, Honkela, Individual Privacy Accounting with Gaussian Differential
        Privacy, ICLR 2023, and Smith, Thakurta, Fully Adaptive Composition for Gaussian
        Differential Privacy, arXiv 2210.17520: adaptively chosen Gaussians whose inverse
        variances never sum to more than 1 / s² are together one Gaussian of deviation s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from fedrad.privacy.accounting import Event, Spent, delta_of, epsilon_of, merged
from fedrad.privacy.renyi import filtered_epsilon

_SAME = 1e-9  # relative: two precisions that differ by less are one


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit on what one patient of a stream pays, over all contracts."""

    epsilon: float
    delta: float
    first: Event | None = None  # all steps of the first contract; None: length not known

    def used(self, events: Iterable[Event]) -> float:
        """Return the epsilon that counts against the cap; infinite: nothing would do.

        Args:
            events: All that the patient takes part in, in any order.
        """
        spent = merged(events)
        if self._is_exact(spent):
            return epsilon_of(spent, self.delta)
        return filtered_epsilon(spent, self.filter_delta)

    def holds(self, events: Iterable[Event]) -> bool:
        """Whether ``used`` is within the cap; fast once the first contract was composed."""
        spent = merged(events)
        if not self._is_exact(spent):
            return filtered_epsilon(spent, self.filter_delta) <= self.epsilon
        if not spent or epsilon_of(self._plan, self.delta) <= self.epsilon:
            return True  # all of the contract fits, so what is done of it does
        multiplier, q, steps = spent[0]
        if q == 1:
            return epsilon_of(spent, self.delta) <= self.epsilon
        return steps <= _most(multiplier, q, self._plan[0][2], self.epsilon, self.delta)

    def filters(self, events: Iterable[Event]) -> bool:
        """Whether the filter counts these events rather than exact composition."""
        return not self._is_exact(merged(events))

    @property
    def filter_delta(self) -> float:
        """What the first contract leaves of delta to the filter, in [0, delta]."""
        return max(0.0, self.delta - delta_of(self._plan, self.epsilon))

    @property
    def granted(self) -> float:
        """The epsilon of the whole first contract at ``delta``; 0 if it is not known."""
        return epsilon_of(self._plan, self.delta)

    @property
    def _plan(self) -> Spent:
        return merged([self.first]) if self.first else ()

    def _is_exact(self, spent: Spent) -> bool:
        if not spent:
            return True
        plan = self._plan
        return len(spent) == 1 and len(plan) == 1 and _is_part(spent[0], plan[0])


def _is_part(spent: tuple[float, float, int], plan: tuple[float, float, int]) -> bool:
    """Whether charges are of the plan's kind and no more than it."""
    (multiplier, q, steps), (planned_multiplier, planned_q, planned) = spent, plan
    if 0 in (multiplier, planned_multiplier):
        return False  # no noise: no composition of it is of use
    if q == planned_q == 1:
        return steps / multiplier**2 <= planned / planned_multiplier**2 * (1 + _SAME)
    return (multiplier, q) == (planned_multiplier, planned_q) and steps <= planned


@lru_cache(maxsize=256)
def _most(multiplier: float, q: float, planned: int, limit: float, delta: float) -> int:
    """Return the most steps, under ``planned``, that cost at most ``limit``."""
    low, high = 0, planned  # the whole of the plan is known not to fit
    while high - low > 1:
        middle = (low + high) // 2
        fits = epsilon_of(((multiplier, q, middle),), delta) <= limit
        low, high = (middle, high) if fits else (low, middle)
    return low
