"""What one training run can say about epsilon: the bound of Steinke, Nasr and Jagielski [1].

Each of m canaries takes part or not, by its own fair coin. Who saw what was released guesses
the coins, may abstain, and is right v times in r. If training is (epsilon, delta)-private,
being right so often has a probability of at most ``p_value``; the largest epsilon that it
rules out is a lower bound, right with the stated confidence whatever the guesser does.

References:
    [1] Steinke, Nasr, Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023,
        theorem 5.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom

CONFIDENCE = 0.95
LARGEST = 50.0


def p_value(epsilon: float, delta: float, *, canaries: int, guesses: int, right: int) -> float:
    """Return the largest probability of so many right guesses under (epsilon, delta).

    Under pure epsilon a guess is right at most as often as randomised response answers
    truly, e^epsilon / (1 + e^epsilon) of the time, whatever the others were: the number of
    right ones W lies below a binomial variable. Delta lets a canary be given away: of m of
    them, worth i extra right guesses with a chance of at most 2 m delta / i, so that

        P[v or more right] <= P[W >= v] + 2 m delta max over i of P[v - i <= W < v] / i.

    Args:
        epsilon: 0 or more.
        delta: In [0, 1].
        canaries: m, all that had a coin, guessed or not.
        guesses: r, at most m.
        right: v, at most r.
    """
    chance = 1 / (1 + np.exp(-epsilon))
    tail = binom.sf(right - 1, guesses, chance)
    below = binom.pmf(np.arange(right - 1, -1, -1), guesses, chance).cumsum()
    extra = (below / np.arange(1, right + 1)).max(initial=0.0)
    return float(min(1.0, tail + 2 * canaries * delta * extra))


def lower_bound(
    delta: float, *, canaries: int, guesses: int, right: int, confidence: float = CONFIDENCE
) -> float:
    """Return the largest epsilon that so many right guesses rule out; 0 if they rule out none."""

    def above(epsilon: float) -> float:
        found = p_value(epsilon, delta, canaries=canaries, guesses=guesses, right=right)
        return found - (1 - confidence)

    if above(0.0) >= 0:
        return 0.0
    return LARGEST if above(LARGEST) < 0 else float(brentq(above, 0.0, LARGEST, xtol=1e-4))


def ceiling(delta: float, *, canaries: int, confidence: float = CONFIDENCE) -> float:
    """Return the most that the bound can be for m canaries: that of m right guesses or fewer.

    Without delta, (1 - confidence)^(1/m) = e^epsilon / (1 + e^epsilon). With it, guessing only
    some can be better.
    """
    counts = np.unique(np.geomspace(1, canaries, 40).astype(int))
    return max(
        lower_bound(delta, canaries=canaries, guesses=r, right=r, confidence=confidence)
        for r in counts.tolist()
    )


def guess(
    scores: npt.NDArray[np.float64], took_part: npt.NDArray[np.bool_], guesses: int
) -> tuple[int, int]:
    """Return guesses and right ones where the highest half is guessed in, the lowest out.

    Args:
        scores: Higher where taking part is likelier, (m,).
        took_part: The coins, (m,); they decide what was right, not what is guessed.
        guesses: How many; the number must be fixed without a look at the coins.
    """
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    right = int(took_part[order[len(order) - half :]].sum()) + int((~took_part[order[:half]]).sum())
    return 2 * half, right
