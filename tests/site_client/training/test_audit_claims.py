"""What a round releases is what it is charged for: canaries through the real round."""

from __future__ import annotations

import numpy as np
import pytest
from canaries import DEFECTS, Claim, Defect, Seen, audit_claim, likelihood, play

FEW = 400  # canaries
CLAIMS = (Claim(sigma=3.0, q=1.0, steps=6), Claim(sigma=1.0, q=0.2, steps=20))


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_real_rounds_release_what_they_are_charged_for(claim: Claim, seed: int) -> None:
    seen = play(claim, Defect(), canaries=FEW, seed=seed)
    assert seen.shares.shape == (claim.steps, FEW)
    assert audit_claim(seen, claim) == []


@pytest.mark.parametrize(
    ("defect", "sentence"),
    [
        ("noise halved", "noise of a release is 0.50"),
        ("one noise for every step", "goes together from step to step"),
        ("no clipping", "a patient's weight is"),
        ("clipped by image", "a patient's weight is"),
        ("three rounds charged as one", "noise of all releases is 1."),
        ("drawn twice as often as charged", "a patient's weight is"),
    ],
)
def test_the_audit_finds_a_claim_that_forgets(defect: str, sentence: str) -> None:
    claim = CLAIMS[1]
    findings = audit_claim(play(claim, DEFECTS[defect], canaries=FEW, seed=0), claim)
    assert any(sentence in finding for finding in findings)


@pytest.mark.parametrize(("sigma", "q", "steps"), [(3.3, 1.0, 6), (3.0, 0.7, 6), (3.0, 1.0, 5)])
def test_a_claim_off_by_a_little_is_found_too(sigma: float, q: float, steps: int) -> None:
    """A tenth of the noise, a third of the rate, or one step of six."""
    seen = play(CLAIMS[0], Defect(), canaries=2000, seed=0)
    assert audit_claim(seen, Claim(sigma=sigma, q=q, steps=steps))


def test_the_likelihood_of_a_canary_is_that_of_the_mixture_it_is_drawn_from() -> None:
    claim = Claim(sigma=0.8, q=0.3, steps=2)
    shares = np.array([[0.2], [1.1]])
    ratio = 1.0
    for share in shares[:, 0]:
        there, not_there = (np.exp(-((share - mean) ** 2) / (2 * 0.64)) for mean in (1.0, 0.0))
        ratio *= (0.3 * there + 0.7 * not_there) / not_there
    found = likelihood(Seen(np.array([True]), shares), claim)
    assert found == pytest.approx(np.log(ratio))
