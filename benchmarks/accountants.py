"""Compare epsilon by three accountants: ours (PLD), Opacus's PRV, and Rényi for reference.

The noise of each row is what ``plan_sigma`` gives for the epsilon at its head. PRV composes
with another method and another discretisation; with ``eps_error = 0.001`` it must agree
within one percent. Rényi's bound is valid and wider. Run:

    python benchmarks/accountants.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

from opacus.accountants import PRVAccountant, RDPAccountant

from fedrad.privacy.accounting import Event, epsilon, plan_sigma

DELTA, ERROR, GOAL = 1e-5, 0.001, 0.01
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
SCHEDULES = ((0.5, 60), (0.1, 200), (0.02, 1000), (0.005, 4000))  # q, steps


@dataclass(frozen=True, slots=True)
class Row:
    """One schedule at one noise, by each accountant."""

    sigma: float
    q: float
    steps: int
    pld: float
    prv: float
    rdp: float
    prv_seconds: float  # of processor time

    @property
    def apart(self) -> float:
        """How far PLD lies from PRV, relative to it."""
        return self.pld / self.prv - 1


def compare(target: float, q: float, steps: int) -> Row:
    """Account ``steps`` steps whose noise was planned for an epsilon of ``target``."""
    sigma = plan_sigma(epsilon=target, delta=DELTA, q=q, steps=steps)
    event = Event(mechanism="subsampled-gaussian", sigma=sigma, q=q, steps=steps)
    pld = epsilon([event], DELTA)
    start = time.process_time()
    prv = opacus_epsilon(PRVAccountant(), (sigma, q, steps), eps_error=ERROR)
    taken = time.process_time() - start
    rdp = opacus_epsilon(RDPAccountant(), (sigma, q, steps))
    return Row(sigma, q, steps, pld, prv, rdp, taken)


def opacus_epsilon(
    accountant: PRVAccountant | RDPAccountant, spent: tuple[float, float, int], **named: float
) -> float:
    """Return the epsilon of (sigma, q, steps) by an accountant of Opacus."""
    accountant.history = [spent]
    return float(accountant.get_epsilon(DELTA, **named))


def rows(epsilons: tuple[float, ...]) -> Iterator[Row]:
    """Yield every schedule at every epsilon."""
    for q, steps in SCHEDULES:
        for target in epsilons:
            yield compare(target, q, steps)


def main() -> None:
    """Print the table and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epsilons", type=float, nargs="+", default=EPSILONS)
    wishes = parser.parse_args()
    print("| q, steps | sigma | PLD | PRV | PLD / PRV - 1 | Rényi | PRV took, s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    largest = 0.0
    for row in rows(tuple(wishes.epsilons)):
        largest = max(largest, abs(row.apart))
        print(
            f"| {row.q:g}, {row.steps} | {row.sigma:.3g} | {row.pld:.4f} | {row.prv:.4f} "
            f"| {100 * row.apart:+.2f} % | {row.rdp:.3f} ({100 * (row.rdp / row.pld - 1):+.0f} %) "
            f"| {row.prv_seconds:.1f} |",
            flush=True,
        )
    print(f"\nlargest difference: {100 * largest:.2f} % (goal {100 * GOAL:.0f} %)")
    raise SystemExit(int(largest > GOAL))


if __name__ == "__main__":
    main()
