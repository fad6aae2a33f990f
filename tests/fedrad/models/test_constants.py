"""Named constants: public, pinned, complete."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest

from fedrad.constants import known_constants, read_constants
from fedrad.errors import SettingsError

PINNED = {
    "ct-lung-1": "bdf55e37be1c7b26c7cc795d5e81f20149fe9abf081021e46989f9ef1404c3da",
    "descriptors-1": "acd2c2977c20a78221157b706f27f15b565e1a0565ac14ddb09f466596aacedc",
    "descriptors-2": "cb62fbf31f0ef7a6d2c7b86d39219e37239da92d00f2aee86a4d4e9079a9d98a",
    "dx-unit-1": "a828a54dbac79697923aa297f51eea5cd641a7f4832577a357f835c003a59858",
    "encoder-1": "e32392bf39f6f9b6c51ff6e1f08890e0dc5c94299404362fc09fa6d4d859491a",
    "feasibility-1": "6cafd222c85ab61b10cfdaf546a3d3857cdcc443787fae8a7b98226e1943b265",
    "filter-bank-1": "b25c96d939e50238cdcc2155eeb6a5acc01857bfe89570496d7d6c747e2acae3",
    "kinds-1": "6692a53af40aa4a875fc9fb8d7abd7daed4179ffa7d1cf88f746aa3c15dd12cf",
    "tags-1": "0e826b525c12a4e17ba4db7b0f70a0fa77f216b874e33194ac8a7c663d18d12f",
    "zscore-1": "7a9f1722f5e5cfdfb1e8e6ed25d219f8c90fcd77dcc95b813cca76940caaf14a",
}


@pytest.mark.parametrize("name", known_constants())
def test_a_shipped_file_never_changes_under_its_name(name: str) -> None:
    content = resources.files("fedrad.constants").joinpath(f"{name}.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == PINNED.get(name), "a new value needs a new name"


def test_no_pinned_file_is_missing() -> None:
    assert set(PINNED) == set(known_constants())


@pytest.mark.parametrize("name", known_constants())
def test_a_set_says_where_it_comes_from_and_what_it_may_be_used_for(name: str) -> None:
    constants = read_constants(name)
    assert set(constants) == {"name", "version", "source", "licence", "values"}
    assert constants["name"] == name
    assert constants["source"]
    assert constants["licence"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="no constants are named 'dx'; known: ct-lung-1, des"):
        read_constants("dx")
    with pytest.raises(SettingsError, match="no constants"):
        read_constants("../errors")


def test_a_bank_has_one_mean_and_deviation_for_each_response() -> None:
    bank = read_constants("filter-bank-1")["values"]
    responses = 2 * len(bank["log_sigmas_px"])
    responses += len(bank["gabor_wavelengths_px"]) * bank["gabor_orientations"]
    assert len(bank["mean"]) == len(bank["deviation"]) == responses
    assert min(bank["deviation"]) > 0
