"""Whose model works where: the matrix as it was measured, gaps as gaps."""

from __future__ import annotations

from typing import Any

from aggregator.panels.crossed import crossed

HOME, AWAY = {"north": 0.9, "south": 0.8}, 0.6


def row(site: str, data: str, value: float | None, **changed: str) -> dict[str, Any]:
    own = {"model": "alone", "split": "test", "metric": "auroc"}
    return own | {"site": site, "data_site": data, "value": value} | changed


def alone(*, away: float | None) -> list[dict[str, Any]]:
    home = [row(site, site, value) for site, value in HOME.items()]
    return [*home, row("north", "south", away), row("south", "north", 0.7)]


def test_models_are_rows_and_patients_columns_and_the_worst_pair_is_named(make_run: Any) -> None:
    found = crossed(make_run(metrics=alone(away=AWAY)))
    assert found is not None
    assert (found.models, found.patients) == (("north", "south"), ("north", "south"))
    assert found.values["north", "south"] == AWAY
    assert found.said == (
        "A hospital's own model is worth 0.850 at home and 0.650 at the others on average; least "
        "is that of Hospital A at Hospital B, 0.600."
    )
    assert found.parts_said == ""


def test_a_pair_that_could_not_be_scored_is_a_gap_and_in_no_mean(make_run: Any) -> None:
    found = crossed(make_run(metrics=alone(away=None)))
    assert found is not None
    assert found.values["north", "south"] is None
    assert "0.700 at the others" in found.said


def test_the_part_of_a_site_is_told_where_it_matters_most(make_run: Any) -> None:
    parts = [
        row(site, site, value, model="global", split=split)
        for site, split, value in (
            ("north", "with-own", 0.9), ("north", "without-own", 0.89),
            ("south", "with-own", 0.8), ("south", "without-own", 0.83),
        )
    ]  # fmt: skip
    found = crossed(make_run(metrics=[*alone(away=AWAY), *parts]))
    assert found is not None
    assert found.parts == {"north": (0.9, 0.89), "south": (0.8, 0.83)}
    assert "most at Hospital B, by −0.030: an estimate" in found.parts_said


def test_a_run_that_scored_no_model_elsewhere_has_no_matrix(make_run: Any) -> None:
    assert crossed(make_run()) is None
    assert crossed(make_run(metrics=[row("north", "north", 0.9)])) is None
