"""Windows of a site that lies, repeats itself or does not count as agreed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_federation import tiny_task
from window_patients import LAYOUT, patients, window

from aggregator.release import POOLED, figures_of
from aggregator.store import Store, report_rows
from aggregator.windows import Promoted, refuse_replayed
from fedrad.errors import ProtocolError
from fedrad.metrics.metric import capped
from fedrad.monitoring import Monitoring
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block, Phase
from fedrad.shift.agreed import check_window, layout_of, phases
from fedrad.shift.blocks import Seen, images_window, labels_window, whole_window
from fedrad.site_report import noised
from fedrad.task import Task

SIGMA = 2.0


def watched_task() -> Task:
    task = tiny_task()
    return replace(
        task,
        privacy=replace(task.privacy, enabled=True, delta=1e-5),
        evaluation=replace(task.evaluation, edges=LAYOUT.edges, release="private"),
        monitoring=Monitoring(begins="2020-01-01", days=30),
    )


def released(seed: int, size: int = 200) -> tuple[Block, ...]:
    return window(*patients(np.random.default_rng(seed), size=size), key=seed).blocks


def changed(name: str, values: Callable[[Block], object]) -> tuple[Block, ...]:
    blocks = released(1)
    return tuple(
        replace(b, values=np.asarray(values(b), dtype=np.float64)) if b.name == name else b
        for b in blocks
    )


def test_sums_that_came_before_are_refused_for_another_window(tmp_path: Path) -> None:
    model, blocks = Promoted(3, "a" * 64), released(1)
    with Store(tmp_path / "run.sqlite") as store:
        told = report_rows(3, "east", model_digest="a" * 64, blocks=blocks, window="2020-01-01")
        store.record(told)
        refuse_replayed(store, model, "east", released(2))
        refuse_replayed(store, model, "west", blocks)
        with pytest.raises(ProtocolError, match="released before, for the window 2020-01-01"):
            refuse_replayed(store, model, "east", blocks)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("table", lambda _: np.zeros(24), "has shape"),
        ("moments", lambda b: np.full(len(b.values), np.nan), "not finite"),
        ("n", lambda _: [1e12], "holds a value over"),
    ],
)
def test_another_tasks_edges_and_what_is_no_number_are_refused(
    name: str, values: Callable[[Block], object], says: str
) -> None:
    with pytest.raises(ProtocolError, match=says):
        check_window(changed(name, values), watched_task(), "window", window_sigma=SIGMA)


@given(st.floats(1, 1e6))
def test_a_site_counts_for_no_more_than_was_agreed(said: float) -> None:
    blocks = changed("n", lambda _: [said])
    n, *rest = capped(blocks, 600)
    assert n.values[0] <= 600 * (1 + 1e-9)
    share = n.values[0] / said
    for block, before in zip(rest, blocks[1:], strict=True):
        np.testing.assert_allclose(block.values, before.values * share)
        assert block.sigma == pytest.approx(before.sigma * share)


def kinds() -> list[tuple[Phase, Task]]:
    """Every kind of window of classes, with and without what a task may ask further."""
    task = watched_task()
    assert task.monitoring is not None
    more = replace(task.monitoring, strata=("sex", "age"))
    told = [replace(task, monitoring=m) for m in (task.monitoring, more)]
    later = [replace(t, monitoring=replace(t.monitoring, labels="later")) for t in told]
    return [(phase, task) for task in (*told, *later) for phase in phases(task)]


@pytest.mark.parametrize(("phase", "task"), kinds())
@pytest.mark.parametrize("size", [0, 30, 200])
def test_honest_windows_of_every_kind_are_taken_however_noisy(
    phase: Phase, task: Task, size: int
) -> None:
    layout = layout_of(task)
    for seed in range(7):
        seen, labels = patients(np.random.default_rng(seed), size=size or 1)
        if not size:
            columns = (seen.moments, seen.tags, seen.population, seen.scores)
            seen, labels = Seen(*(column[:0] for column in columns)), labels[:0]
        exact = {
            "window": lambda seen, labels: whole_window(seen, labels, layout),
            "window-images": lambda seen, _: images_window(seen, layout),
            "window-labels": lambda seen, labels: labels_window(
                seen.scores, labels, layout, population=seen.population
            ),
        }[phase](seen, labels)
        sigma = 0.2 * 2.5**seed
        blocks = noised(exact, sigma=sigma, rng=noise_source(seed.to_bytes(32, "big")))
        check_window(blocks, task, phase, window_sigma=sigma)
        check_window(exact, task, phase, window_sigma=0.0)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("table", lambda b: b.values * 1000, r"adds up to|counts -"),
        ("operating", lambda b: b.values * 1000, r"adds up to|counts -"),
        ("positives", lambda b: b.values * 1000, r"adds up to|counts -"),
        ("tags", lambda b: b.values * 1000, r"adds up to|counts -"),
        ("population", lambda b: b.values * 0, "adds up to"),
        ("table", lambda b: b.values * 0 - 500, "counts -"),
        ("n", lambda _: [1e5], "adds up to"),
        ("n", lambda _: [-1e5], "counts -"),
        ("moments", lambda b: b.values * 0 + 1e9, "patients cannot have"),
        ("moments", lambda b: b.values * 0 - 1e9, "patients cannot have"),
    ],
)
def test_sums_that_no_patients_can_have_are_refused(
    name: str, values: Callable[[Block], object], says: str
) -> None:
    with pytest.raises(ProtocolError, match=says):
        check_window(changed(name, values), watched_task(), "window", window_sigma=SIGMA)


@pytest.mark.parametrize("name", ["n", "table", "moments", "tags"])
@pytest.mark.parametrize(("sigma", "sensitivity"), [(1e6, 1.0), (1e-9, 1e-12), (1.01, 1.0)])
def test_a_windows_noise_is_the_contracts_whatever_the_site_says(
    name: str, sigma: float, sensitivity: float
) -> None:
    blocks = tuple(
        replace(b, sigma=b.sigma * sigma, sensitivity=b.sensitivity * sensitivity)
        if b.name == name
        else b
        for b in released(1)
    )
    with pytest.raises(ProtocolError, match=f"block '{name}' has the .* agreed are"):
        check_window(blocks, watched_task(), "window", window_sigma=SIGMA)


def test_a_site_that_claims_a_thousandfold_hardly_moves_the_pooled_figures() -> None:
    task = watched_task()
    own = ("n", "positives", "operating", "table")
    honest = {s: tuple(b for b in released(k) if b.name in own) for k, s in enumerate("abcd")}
    liar = tuple(
        replace(b, values=b.values[::-1] * 1000 if b.name == "table" else b.values * 1000)
        for b in honest["d"]
    )

    def pooled_prevalence(sums: dict[str, tuple[Block, ...]], most: dict[str, float]) -> float:
        rows = figures_of(task, seed=1, most=most)(1, sums)
        (row,) = [r for r in rows if (r.site, r.metric) == (POOLED, "n")]
        assert row.value is not None
        return row.value

    lied = honest | {"d": liar}
    assert pooled_prevalence(lied, {}) > 100_000
    assert pooled_prevalence(lied, dict.fromkeys("abcd", 600.0)) < 1_300


def test_counts_below_zero_give_no_figure_and_no_error() -> None:
    task = watched_task()
    own = ("n", "positives", "operating", "table")
    below = tuple(replace(b, values=-np.abs(b.values)) for b in released(1) if b.name in own)
    rows = list(figures_of(task, seed=1)(1, {"a": below, "b": below, "c": below}))
    assert {row.metric for row in rows if row.value is not None} == {"n"}
