"""The gate promotes what is safe, names harm, and says when it cannot tell."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import DataError, ProtocolError
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.gate import CLIP, changes, discordance, judge, outlined
from fedrad.site_report import COMPARISON, COMPARISON_OUTLINES, deviation, noised, shares_of

person = st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True), st.integers(0, 1))


def site(*, size: int = 2000, gained: float = 0.02, lost: float = 0.02) -> tuple[Block, ...]:
    """Counts of a site where shares of patients change sides, without noise of sampling."""
    labels = np.arange(size) % 2
    swap = np.arange(size) // 2 / (size / 2)
    before = np.where(swap < gained, 1 - labels, labels)
    after = np.where((swap >= gained) & (swap < gained + lost), 1 - labels, labels)
    return discordance(before, after, labels, operating_point=0.5)


def told(blocks: tuple[Block, ...], key: int = 0, sigma: float = 1.0) -> tuple[Block, ...]:
    return noised(blocks, sigma=sigma, rng=noise_source(key.to_bytes(32, "big")))


@given(st.lists(person, min_size=1, max_size=20))
def test_a_patient_moves_the_comparison_by_at_most_one(
    people: list[tuple[float, float, int]],
) -> None:
    def counted(rows: list[tuple[float, float, int]]) -> tuple[Block, ...]:
        before, after, labels = np.array(rows, dtype=float).reshape(-1, 3).T
        return discordance(before, after, labels, operating_point=0.5)

    shares = shares_of(counted(people))
    assert shares is COMPARISON
    assert math.fsum(shares.values()) == pytest.approx(1)
    moved = [
        np.linalg.norm(a.values - b.values) * math.sqrt(shares[a.name])
        for a, b in zip(counted(people), counted(people[1:]), strict=True)
    ]
    assert 0 < math.hypot(*moved) <= 1 + 1e-12


def test_the_change_is_the_difference_of_the_two_rates() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 900)
    before, after = rng.uniform(size=(2, 900))
    found = changes(discordance(before, after, labels, operating_point=0.4))
    for change, value in zip(found, (1, 0), strict=True):
        of = labels == value
        rates = [np.mean((scores[of] >= 0.4) == (value == 1)) for scores in (before, after)]
        assert change.value == pytest.approx(rates[1] - rates[0])


def test_the_stated_error_is_that_of_many_releases() -> None:
    rng, values, errors = np.random.default_rng(2), [], []
    for key in range(400):
        labels = np.repeat([0, 1], 150)
        right = rng.uniform(size=300) < 0.8
        after = np.where(rng.uniform(size=300) < 0.1, ~right, right)
        scores = [np.where(one, labels, 1 - labels) for one in (right, after)]
        blocks = discordance(*scores, labels, operating_point=0.5)
        change = changes(told(blocks, key, sigma=2.0))[0]
        values.append(change.value)
        errors.append(change.error)
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.12)


@pytest.mark.parametrize(
    ("odd", "says"),
    [({}, "promote"), ({"lost": 0.2}, "harm shown"), ({"lost": 0.06}, "cannot tell")],
)
def test_one_site_decides_for_all(odd: dict[str, float], says: str) -> None:
    sites = {name: told(site(), k) for k, name in enumerate("abcd")}
    found = judge(sites | {"odd": told(site(**odd), 9)})
    assert found.decision == says
    assert found.harmed == (("odd",) if says == "harm shown" else ())


def test_a_site_that_cannot_speak_keeps_the_gate_from_opening() -> None:
    sites = {name: told(site(), k) for k, name in enumerate("abc")}
    found = judge(sites | {"small": told(site(size=8), 9)})
    assert found.decision == "cannot tell"
    assert found.not_estimable == ("small",)


def test_damaged_and_missing_comparisons_are_refused() -> None:
    with pytest.raises(DataError, match="no site"):
        judge({})
    with pytest.raises(ProtocolError, match="needs 2 values in 'labels'"):
        changes(site()[:1])
    with pytest.raises(DataError, match="neither 0 nor 1"):
        discordance([0.1], [0.2], [2], operating_point=0.5)
    with pytest.raises(DataError, match="one label a patient"):
        discordance([0.1], [0.2, 0.3], [1, 0], operating_point=0.5)


@given(
    st.lists(
        st.tuples(st.floats(0, 1) | st.just(math.nan), st.floats(0, 1)), min_size=1, max_size=9
    )
)
def test_a_patient_moves_the_sums_of_outlines_by_at_most_one(
    pairs: list[tuple[float, float]],
) -> None:
    def counted(rows: list[tuple[float, float]]) -> tuple[Block, ...]:
        before, after = np.array(rows, dtype=float).reshape(-1, 2).T
        return outlined(before, after)

    shares = shares_of(counted(pairs))
    assert shares is COMPARISON_OUTLINES
    assert math.fsum(shares.values()) == pytest.approx(1)
    moved = [
        np.linalg.norm(a.values - b.values) / deviation(a, sigma=1.0, share=shares[a.name])
        for a, b in zip(counted(pairs), counted(pairs[1:]), strict=True)
    ]
    assert math.hypot(*moved) <= 1 + 1e-12


def test_the_change_of_outlines_is_that_of_the_mean_dice_of_patients_with_a_reference() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.uniform(0.6, 0.9, (2, 400))
    before[::10] = math.nan
    (change,) = changes(outlined(before, after))
    rest = (after - before)[np.isfinite(before)]
    assert (change.rate, change.value) == ("Dice", pytest.approx(rest.mean()))
    assert change.error == pytest.approx(rest.std() / math.sqrt(len(rest)), rel=1e-6)
    (capped,) = changes(outlined(np.zeros(50), np.ones(50)))
    assert capped.value == CLIP
    assert changes(outlined(np.full(50, math.nan), np.ones(50))) == ()


@pytest.mark.parametrize(
    ("lost", "patients", "says"),
    [(0.0, 400, "promote"), (0.15, 400, "harm shown"), (0.0, 18, "cannot tell"),
     (0.0, 5, "cannot tell")],
)  # fmt: skip
def test_the_gate_answers_for_outlines(lost: float, patients: int, says: str) -> None:
    rng, sites = np.random.default_rng(4), {}
    for number, name in enumerate(("a", "b", "c")):
        before = rng.uniform(0.7, 0.9, patients)
        after = before + rng.normal(0, 0.04, patients) - (lost if name == "c" else 0.0)
        sites[name] = told(outlined(before, after), number)
    found = judge(sites)
    assert found.decision == says
    assert found.harmed == (("c",) if lost else ())
    assert bool(found.not_estimable) == (patients < 15)


def lying(patients: float, gained: float) -> tuple[Block, ...]:
    cells = [gained * patients / 2, 0.0] * 2
    disagreement, labels = told(site(), 9)
    return (
        replace(disagreement, values=np.array(cells)),
        replace(labels, values=np.full(2, patients / 2)),
    )


def test_a_site_weighs_for_no_more_patients_than_were_agreed() -> None:
    honest = {name: told(site(gained=0, lost=0.028), key) for key, name in enumerate("abcd")}
    assert judge(honest).decision == "cannot tell"
    lied = honest | {"d": lying(2e6, 0.02)}
    assert judge(lied).decision == "promote"
    agreed = dict.fromkeys("abcd", 2000.0)
    assert judge(lied, most=agreed).decision == "cannot tell"
    for found in judge(lied, most=agreed).pooled:
        assert found.value == pytest.approx((3 * -0.028 + 0.02) / 4, abs=0.002)


def test_outlines_of_a_site_weigh_for_no_more_patients_than_were_agreed() -> None:
    dice = np.full(1000, 0.8)
    honest = told(outlined(dice, dice - 0.04))
    change, square, cases = told(outlined(dice, dice + 0.04), 1)
    lied = (change, square, cases)
    lied = tuple(replace(block, values=block.values * 1000) for block in lied)
    (free,) = judge({"a": honest, "b": lied}).pooled
    (held,) = judge({"a": honest, "b": lied}, most={"a": 1000.0, "b": 1000.0}).pooled
    assert free.value == pytest.approx(0.04, abs=0.01)
    assert held.value == pytest.approx(0.0, abs=0.01)
