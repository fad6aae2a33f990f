"""Unchanged windows stand out as rarely as is said, changed ones where they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from window_patients import LAYOUT, THERE, images_of, patients, reference, window

from fedrad.errors import DataError, ProtocolError
from fedrad.shift.blocks import whole_window
from fedrad.shift.estimates import CHANNELS
from fedrad.shift.moments import LENGTH
from fedrad.shift.reference import reference_of
from fedrad.shift.statistics import benjamini_hochberg, between_sites, readings
from fedrad.shift.tags import counted
from fedrad.shift.windows import Released, together

BEFORE = reference(np.random.default_rng(1))


def test_unchanged_windows_stand_out_as_often_as_stated() -> None:
    """A channel's p values under 0.1 are binomial; a new reference for every few windows."""
    rng, found = np.random.default_rng(2), []
    for site in range(10):
        before = reference(rng, 1.5, 100 * site)
        for k in range(10):
            here = window(*patients(rng), sigma=1.5, key=10**6 + 100 * site + k)
            seen = readings(here, before, LAYOUT)
            found.append([seen[name].p for name in CHANNELS])
    low, high = binom.ppf((0.0005, 0.9995), len(found), 0.1)
    under = (np.array(found) < 0.1).sum(axis=0)
    assert (under <= 1.4 * high).all(), (
        "windows share references, so they are not quite independent"
    )
    assert (under >= 0.4 * low).all()


def test_each_change_is_seen_by_its_own_channel() -> None:
    rng = np.random.default_rng(3)
    seen, labels = patients(rng)
    moved = replace(seen, tags=np.tile(counted(LAYOUT.tags, THERE), (200, 1)))
    young = replace(
        seen, population=np.tile(counted(LAYOUT.population, [{"sex": "F", "age": "30"}]), (200, 1))
    )
    for channel, here in (
        ("image", window(*patients(rng, brighter=0.3))),
        ("acquisition", window(moved, labels)),
        ("label", window(*patients(rng, positives=0.6))),
        ("concept", window(seen, np.where(rng.uniform(size=200) < 0.4, 1 - labels, labels))),
        ("population", window(young, labels)),
    ):
        found = readings(here, BEFORE, LAYOUT)
        assert found[channel].p < 1e-3, channel
        others = {"label"} if channel == "concept" else set()
        assert all(found[n].p > 1e-3 for n in set(CHANNELS) - {channel} - others), channel


def test_a_window_without_labels_has_no_reading_of_labels() -> None:
    seen, _ = patients(np.random.default_rng(4))
    assert set(readings(images_of(seen), BEFORE, LAYOUT)) == {
        "image", "acquisition", "population",
    }  # fmt: skip


def test_too_few_patients_are_not_estimable_and_say_nothing() -> None:
    rng = np.random.default_rng(5)
    few = window(*patients(rng, size=4), sigma=1.0)
    assert readings(few, BEFORE, LAYOUT) == {}
    one_class = window(*patients(rng, positives=0.0), sigma=1.0)
    assert "concept" not in readings(one_class, BEFORE, LAYOUT)
    with pytest.raises(DataError, match="too few patients"):
        reference_of([few, few], LAYOUT)
    with pytest.raises(DataError, match="2 windows or more"):
        reference_of([few], LAYOUT)


def test_exact_windows_are_read_too() -> None:
    """Where a simulation releases exact sums there is no noise to make a matrix regular."""
    rng = np.random.default_rng(9)

    def exact(brighter: float) -> Released:
        return Released(("w",), whole_window(*patients(rng, brighter=brighter), LAYOUT))

    before = reference_of([exact(0.0) for _ in range(6)], LAYOUT)
    unchanged, changed = (readings(exact(by), before, LAYOUT) for by in (0.0, 0.2))
    assert min(reading.p for reading in unchanged.values()) > 1e-3
    assert changed["image"].p < 1e-6


def test_another_tasks_edges_are_refused() -> None:
    here = window(*patients(np.random.default_rng(6)))
    with pytest.raises(ProtocolError, match="values in block 'table'"):
        readings(here, BEFORE, replace(LAYOUT, edges=(0.0, 0.5, 1.0)))


def test_windows_together_see_what_one_does_not() -> None:
    rng = np.random.default_rng(7)
    weak = [window(*patients(rng, brighter=0.06), sigma=3.0, key=k) for k in range(6)]
    alone = [readings(one, BEFORE, LAYOUT)["image"].p for one in weak]
    assert readings(together(weak), BEFORE, LAYOUT)["image"].p < np.median(alone)


def test_sites_that_differ_show_it_in_the_channel_and_like_ones_do_not() -> None:
    rng = np.random.default_rng(8)
    sites = {name: reference(rng, key=5000 + 10 * k) for k, name in enumerate("abcd")}
    odd = [window(*patients(rng, brighter=0.4), key=9000 + k) for k in range(6)]
    found = between_sites(sites | {"odd": reference_of(odd, LAYOUT)}, "image")
    assert min(found, key=lambda name: found[name][1]) == "odd"
    assert min(p for _, p in between_sites(sites, "image").values()) > 1e-3


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_adjusted_p_values_keep_their_order_and_never_shrink(p: dict[str, float]) -> None:
    adjusted = benjamini_hochberg(p)
    assert list(adjusted) == list(p)
    assert all(p[name] - 1e-12 <= adjusted[name] <= 1 for name in p)
    assert sorted(p.values()) == [] or min(adjusted.values()) <= len(p) * min(p.values()) + 1e-12


def test_adjusted_p_values_are_the_printed_ones() -> None:
    """The step-up rule on four p values, worked by hand."""
    found = benjamini_hochberg({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5})
    assert [found[name] for name in "abcd"] == pytest.approx([0.04, 4 / 75, 4 / 75, 0.5])


def test_the_reference_knows_how_many_values_images_have() -> None:
    view, spread = BEFORE.parts["image", "moments"]
    assert view.values.shape == (LENGTH,)
    assert spread.weights.sum() == pytest.approx(1)
    assert 0.5 < spread.factor < 2
