"""What the filter costs: the epsilon of the same charges, composed exactly and filtered.

Noise is planned so that the charges cost the target exactly when composed as one contract;
the filter's number is what counts against a site's cap if the very same charges belong to
contracts that were chosen one after the other. The last column says how much of the noise's
work is lost: the noise that the filter would need for the target, as a multiple. Run:

    python benchmarks/filter.py
"""

from __future__ import annotations

import argparse

from fedrad.privacy.accounting import epsilon_of, plan_sigma
from fedrad.privacy.renyi import filtered_epsilon

TARGETS = (0.5, 1.0, 2.0, 4.0, 8.0)
SHAPES = ((0.5, 60), (0.1, 200), (0.02, 2000))  # rate, steps


def noise_for(target: float, q: float, steps: int, *, delta: float) -> float:
    """Return the noise multiplier at which the filter counts ``target``, to one per mille."""
    low, high = 0.2, 1e4
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        over = filtered_epsilon(((middle, q, steps),), delta) > target
        low, high = (middle, high) if over else (low, middle)
    return high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delta", type=float, default=1e-5)
    delta = parser.parse_args().delta
    print(f"delta {delta:g}")
    print("| rate | steps | noise | exactly | filter | ratio | noise the filter needs |")
    print("|---|---|---|---|---|---|---|")
    for q, steps in SHAPES:
        for target in TARGETS:
            sigma = plan_sigma(epsilon=target, delta=delta, q=q, steps=steps)
            exact = epsilon_of(((sigma, q, steps),), delta)
            filtered = filtered_epsilon(((sigma, q, steps),), delta)
            more = noise_for(target, q, steps, delta=delta) / sigma
            print(
                f"| {q:g} | {steps} | {sigma:g} | {exact:.3f} | {filtered:.3f} | "
                f"{filtered / exact:.2f} | × {more:.2f} |"
            )


if __name__ == "__main__":
    main()
