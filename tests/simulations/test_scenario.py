"""Scenarios: what comes with fedrad can be read, and what cannot be run is refused early."""

from __future__ import annotations

import pytest
from tiny_study import tiny_scenario

from fedrad.errors import SettingsError
from simulations.hospital import HospitalSpec
from simulations.scenario import Baselines, Limits, names, read_scenario, title
from site_client.settings import Shares


@pytest.mark.parametrize("name", names())
def test_every_scenario_that_comes_with_fedrad_can_be_read(name: str) -> None:
    scenario, task = read_scenario(name)
    assert scenario.title == title(name)
    assert len(scenario.sites) >= task.federation.quorum
    assert "not clinical evidence" in scenario.banner


@pytest.mark.parametrize("name", ["nowhere", "../pyproject", "four_hospitals.task", ""])
def test_an_unknown_scenario_names_the_known_ones(name: str) -> None:
    with pytest.raises(SettingsError, match="must be one of: .*four_hospitals"):
        read_scenario(name)


def test_two_sites_with_one_name_are_refused() -> None:
    twice = tuple(HospitalSpec(name=name, patients=4) for name in ("a", "b", "a"))
    with pytest.raises(SettingsError, match="two sites are called 'a'"):
        tiny_scenario(hospitals=twice, limits={})


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", ".."])
def test_a_site_whose_name_cannot_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="a site's name must be letters, digits, - and _"):
        tiny_scenario(hospitals=(HospitalSpec(name=name, patients=4),), limits={})


def test_limits_for_a_site_that_is_not_there_are_refused() -> None:
    with pytest.raises(SettingsError, match="limits.nobody: no site has this name"):
        tiny_scenario(limits={"nobody": Limits()})


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("splits.train=0.9", "shares must sum to 1"),
        ("splits.tain=0.9", "did you mean train"),
        ("seed=-1", "seed must lie in"),
        ("seed=x", "seed must be a whole number"),
        ("limits.Ashford.epsilon_limit=-2.0", "epsilon_limit must be 0 or more"),
        ("limits.Ashford.min_patients=0", "min_patients must be 1 or more"),
        ("baselines.rates=[0.1, 0.1, 0.2]", "three different numbers"),
        ("hospitals=[]", "needs either"),
        ("training.steps=0", "steps must be 1 or more"),
        ("model.name=5", "model.name must be text"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_before_anything_is_written(
    setting: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem):
        read_scenario("four_hospitals", (setting,))


def test_the_site_s_own_shares_are_what_a_scenario_sets() -> None:
    scenario, _ = read_scenario(
        "four_hospitals", ("splits={train=0.5,audit=0.4,window=0.1,test=0}",)
    )
    assert scenario.splits == Shares(train=0.5, audit=0.4, window=0.1, test=0)


def test_a_rate_must_be_above_zero() -> None:
    with pytest.raises(SettingsError, match="rates must be three different numbers above 0"):
        Baselines(rates=(0.1, 0.0, 0.2))
