"""``--set key=value``: which file a key belongs to, and keys that lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from fedrad.errors import SettingsError
from simulations import overrides


def applied(*settings: str) -> tuple[dict[str, Any], dict[str, Any]]:
    task: dict[str, Any] = {"training": {"steps": 1, "optimiser": {"rate": 0.1}}}
    scenario: dict[str, Any] = {"seed": 1}
    overrides.apply(task, scenario, settings, known=["seed", "splits", "keep_wire"])
    return task, scenario


def test_a_table_of_the_task_and_a_key_of_the_scenario_are_told_apart() -> None:
    task, scenario = applied("training.optimiser.rate=0.5", "seed=7")
    assert task["training"] == {"steps": 1, "optimiser": {"rate": 0.5}}
    assert scenario == {"seed": 7}


def test_a_key_that_the_file_leaves_to_its_default_can_be_set() -> None:
    task, scenario = applied("keep_wire=false", "splits.train=0.5", "privacy.epsilon=3.0")
    assert scenario == {"seed": 1, "keep_wire": False, "splits": {"train": 0.5}}
    assert task["privacy"] == {"epsilon": 3.0}


def test_the_later_of_two_settings_wins() -> None:
    assert applied("seed=2", "seed=3")[1] == {"seed": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [("seed=1_000", 1000), ("seed=[1, 2]", [1, 2]), ("seed=exact", "exact"), ("seed='a=b'", "a=b")],
)
def test_a_value_is_toml_or_else_plain_text(text: str, value: object) -> None:
    assert overrides.parse(text) == (("seed",), value)


@pytest.mark.parametrize("text", ["seed", "=1", "training..steps=1", ".=1", ""])
def test_what_is_not_key_and_value_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not key=value, such as training.steps=2"):
        applied(text)


def test_an_unknown_first_word_names_what_there_is() -> None:
    with pytest.raises(SettingsError, match="'trainng' is not one of: .*training.*seed"):
        applied("trainng.steps=2")


@pytest.mark.parametrize("text", ["seed.deep=1", "training.steps.more=1"])
def test_a_path_through_a_number_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a table"):
        applied(text)
