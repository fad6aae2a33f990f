"""A Rényi filter: what events cost when each may have been asked for because of the last.

Privacy loss distributions compose exactly where noise and rate were fixed beforehand, and
are no valid count where an asker chooses the next noise after seeing results [1]. Rényi
divergences of one fixed order are: let request t, given all that was released before, have
divergence at most rho_t of order a between the data with and without one patient, in both
directions, where rho_t may depend on what was released before. If the rho_t never sum to
more than B, the whole has divergence at most B (Feldman and Zrnic 2021, theorem 3.1 [2]).

**Stopping rule.** A request is let through if *some* order a of ``ORDERS`` satisfies
sum of rho_t(a), the request's own included, <= B(a), where B(a) is the divergence that
implies (epsilon, delta / K) for the K = 6 orders by [3]. **Why several orders may be
tried, each with a K-th of delta.** Let P and Q be the distributions of everything ever
released with and without the patient, and let A(a) be the process that stops before the
sum of order a would pass B(a): by the theorem it is (epsilon, delta / K)-private. Deal
all possible outcomes to the first order whose sum is within its bound at the end; sums
only grow, so there the real process never stopped by that order's rule and coincides with
A(a). Hence P(S) - exp(epsilon) Q(S) is, for every set S, at most the sum over the orders
of delta / K. Taking the best order after the fact at the whole of delta is not covered by
the theorem, and is not done here. The orders are fixed in this file; they depend on
neither the requests nor the limits, so that raising a limit later keeps every argument.

References:
    [1] Regehr et al., Privacy Filters are Captured by Residues, arXiv 2602.15815, 2026:
        "natural" filters that compose exact privacy losses are not free in general.
    [2] Feldman, Zrnic, Individual Privacy Accounting via a Rényi Filter, NeurIPS 2021,
        arXiv 2008.11193; the case of one order of Whitehouse et al., Fully-Adaptive
        Composition in Differential Privacy, ICML 2023, theorem 1.
    [3] Canonne, Kamath, Steinke, The Discrete Gaussian for Differential Privacy,
        NeurIPS 2020, proposition 12.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrad.privacy.accounting import Spent

ORDERS = (2, 3, 5, 9, 16, 32)  # whole numbers: the sampled Gaussian's sums are then finite
_ABOVE = 1 + 1e-9  # rounding of the sums, against us


def divergences(spent: Spent) -> npt.NDArray[np.float64]:
    """Return the sum of the Rényi divergences of merged events, one for each of ``ORDERS``.

    Those of the Gaussian on a Poisson sample [1]; infinite where anything has no noise.

    References:
        [1] Mironov, Talwar, Zhang, Rényi Differential Privacy of the Sampled Gaussian
            Mechanism, arXiv 1908.10530, 2019, section 3.3.
    """
    total = np.zeros(len(ORDERS))
    for multiplier, q, steps in spent:
        total += steps * np.asarray(_of_one(multiplier, q))
    return total * _ABOVE


def filtered_epsilon(spent: Spent, delta: float) -> float:
    """Return the smallest epsilon at which the filter lets all of ``spent`` through.

    Args:
        spent: Merged events.
        delta: What the filter may use, shared equally by the orders; 0: nothing passes.

    Returns:
        0 or more; infinite if ``delta`` is 0 and anything was spent, or an event is exact.
    """
    if not spent:
        return 0.0
    if not delta > 0:
        return math.inf
    return max(0.0, float(np.min(divergences(spent) + _conversion(delta / len(ORDERS)))))


def _conversion(delta: float) -> npt.NDArray[np.float64]:
    """Return, per order, what is added to a divergence to make an epsilon at ``delta``."""
    orders = np.asarray(ORDERS, dtype=np.float64)
    return np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)


@lru_cache(maxsize=1024)
def _of_one(multiplier: float, q: float) -> tuple[float, ...]:
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    if multiplier == 0:
        return (math.inf,) * len(ORDERS)
    accountant = RdpAccountant(orders=list(ORDERS))
    release = dp_event.GaussianDpEvent(multiplier)
    accountant.compose(dp_event.PoissonSampledDpEvent(q, release))
    return tuple(float(value) for value in accountant.rdp)
