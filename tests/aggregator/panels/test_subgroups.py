"""Subgroups are pooled over hospitals, never shown for one, and said where they differ."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from window_patients import LAYOUT, patients, window

from aggregator.panels.subgroups import Subgroup, sentence, subgroups
from fedrad.shift.tags import counted
from fedrad.shift.windows import Released

STRATA = replace(LAYOUT, strata=("sex", "age"))


def told(windows: int, *, missed: float = 0.0, sigma: float = 1.0, seed: int = 0) -> list[Released]:
    """Windows of women and men whose model is right, but misses a share of the women."""
    rng, found = np.random.default_rng([windows, seed]), []
    for number in range(windows):
        seen, labels = patients(rng, size=200, positives=0.5)
        women = rng.uniform(size=200) < 0.5
        who = [
            counted(LAYOUT.population, [{"sex": "F" if woman else "M", "age": "62"}])
            for woman in women
        ]
        wrong = women & (labels == 1) & (rng.uniform(size=200) < missed)
        scores = np.where(wrong, 0.1, np.where(labels == 1, 0.9, 0.1))
        seen = replace(seen, population=np.array(who), scores=scores)
        blocks = window(seen, labels, sigma=sigma, key=100 * seed + number, layout=STRATA).blocks
        found.append(Released((f"2026-{number + 1:02d}-01",), blocks))
    return found


def by_name(found: tuple[Subgroup, ...]) -> dict[str, Subgroup]:
    return {one.name: one for one in found}


def test_a_subgroup_that_is_missed_more_often_is_named() -> None:
    found = subgroups({"a": told(4, missed=0.5), "b": told(5, missed=0.5)}, STRATA)
    named = by_name(found)
    women, men = named["sex: F"], named["sex: M"]
    assert women.sensitivity.lo < 0.5 < women.sensitivity.hi
    assert women.sensitivity.hi < men.sensitivity.lo
    assert women.specificity.value == pytest.approx(1.0, abs=0.12)
    assert women.patients + men.patients == pytest.approx(1800, rel=0.06)
    assert math.isnan(named["sex: other or missing"].sensitivity.value)
    assert "lowest in sex: F" in sentence(found)
    assert "tell from others" in sentence(found)


def test_one_hospital_alone_is_never_shown() -> None:
    assert subgroups({"a": told(4)}, STRATA) == ()
    assert subgroups({"a": told(4), "b": []}, STRATA) == ()


def test_a_hospital_that_claims_too_many_patients_counts_for_those_agreed() -> None:
    liar = [
        Released(one.windows, tuple(replace(b, values=1000 * b.values) for b in one.blocks))
        for one in told(4, missed=1.0)
    ]
    sites = {"a": told(4), "b": told(5), "liar": liar}
    believed = by_name(subgroups(sites, STRATA))["sex: F"]
    held = by_name(subgroups(sites, STRATA, most=600.0))["sex: F"]
    assert believed.sensitivity.value < 0.01
    assert held.patients < 4000
    assert held.sensitivity.value > 0.3


def test_intervals_hold_patients_and_noise() -> None:
    """Of 40 studies whose women are missed with probability .3, nearly all say so."""
    inside = []
    for study in range(40):
        sites = {name: told(1, missed=0.3, seed=2 * study + k) for k, name in enumerate("ab")}
        rate = by_name(subgroups(sites, STRATA))["sex: F"].sensitivity
        inside.append(rate.lo <= 0.7 <= rate.hi)
    assert np.mean(inside) >= 0.85
    noisier = by_name(subgroups({"a": told(1, sigma=1.6), "b": told(2, sigma=1.6)}, STRATA))
    quieter = by_name(subgroups({"a": told(1), "b": told(2)}, STRATA))
    widths = [one["sex: M"].specificity for one in (quieter, noisier)]
    assert widths[0].hi - widths[0].lo < widths[1].hi - widths[1].lo
