"""Words become public cells, and nothing else of them is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from fedrad.shift.tags import OTHER, acquisition_tags, cell, cells_of, counted, population_tags


@pytest.mark.parametrize(
    ("tag", "said", "name"),
    [
        ("manufacturer", " Siemens Healthineers", "SIEMENS"),
        ("manufacturer", "Dr. Smith's scanner", OTHER),
        ("kvp", "120.0", "110 to 130"),
        ("kvp", "130", "130 to"),
        ("kvp", "20", "to 50"),
        ("kvp", "about 120", OTHER),
        ("pixel spacing", "0.143\\0.143", "0.12 to 0.16"),
        ("field strength", "1.5", "0.8 to 2"),
        ("sex", "F", "F"),
        ("sex", "FOX^ANN", OTHER),
        ("age", "17", "to 18"),
        ("age", "nan", OTHER),
        ("age", "", OTHER),
    ],
)
def test_what_is_said_falls_into_a_public_cell(tag: str, said: str, name: str) -> None:
    assert cells_of(tag)[cell(tag, said)] == name


@given(st.sampled_from(["manufacturer", "kvp", "sex", "age"]), st.text())
def test_any_text_has_a_cell(tag: str, said: str) -> None:
    assert 0 <= cell(tag, said) < len(cells_of(tag))


@given(st.lists(st.dictionaries(st.sampled_from(["manufacturer", "kvp"]), st.text()), max_size=4))
def test_a_patient_moves_all_tags_by_at_most_the_root_of_their_number(
    images: list[dict[str, str]],
) -> None:
    tags = acquisition_tags("CT")
    assert np.linalg.norm(counted(tags, images)) <= math.sqrt(len(tags)) * (1 + 1e-12)
    assert counted(tags, images).sum() == pytest.approx(len(tags))


def test_modalities_without_vocabulary_are_refused() -> None:
    assert population_tags() == ("sex", "age")
    with pytest.raises(SettingsError, match="no tags for modality 'US'"):
        acquisition_tags("US")
