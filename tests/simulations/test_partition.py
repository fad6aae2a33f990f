"""Partition: exact skew by patient, and dealing to virtual sites."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from simulations.partition import MOST_IMAGES, Census, deal_keys, deal_patients


@given(
    st.integers(1, 300), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**31)
)  # fmt: skip
def test_prevalence_and_the_share_with_several_images_are_exact(
    patients: int, prevalence: float, several: float, seed: int
) -> None:
    census = Census(
        patients=patients, prevalence=prevalence, several_share=several, scanners={"plain": 1.0}
    )
    dealt = deal_patients("north", seed, census=census)
    assert [patient.ordinal for patient in dealt] == list(range(patients))
    assert sum(patient.positive for patient in dealt) == round(prevalence * patients)
    assert sum(patient.images > 1 for patient in dealt) == round(several * patients)
    assert all(len(p.scanners) == p.images <= MOST_IMAGES for p in dealt)


def test_scanners_follow_their_weights() -> None:
    mix = {"a": 3.0, "b": 1.0, "never": 0.0}
    census = Census(patients=2000, prevalence=0.5, several_share=0.0, scanners=mix)
    counts = Counter(p.scanners[0] for p in deal_patients("north", 1, census=census))
    assert counts["never"] == 0
    assert 1400 < counts["a"] < 1600


def test_sites_with_one_seed_have_different_patients() -> None:
    census = Census(patients=50, prevalence=0.5, several_share=0.2, scanners={"plain": 1.0})
    assert deal_patients("north", 1, census=census) == deal_patients("north", 1, census=census)
    assert deal_patients("north", 1, census=census) != deal_patients("south", 1, census=census)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=60), st.integers(1, 6))
def test_dealt_patients_are_disjoint_complete_and_even(keys: list[str], sites: int) -> None:
    dealt = deal_keys(keys, 3, sites=sites)
    together = [key for site in dealt for key in site]
    assert sorted(together) == sorted(set(keys))
    sizes = [len(site) for site in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert dealt == deal_keys(list(reversed(keys)), 3, sites=sites)
