"""Questions cover the query exactly, and answers are held against it again."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from site_client.archive.pacs import Study
from site_client.archive.storage_classes import (
    MOST_CONTEXTS,
    storage_classes,
    storage_contexts,
    unknown_modalities,
)
from site_client.archive_settings import Query
from site_client.retrieval.questions import is_asked_study, iter_batches, read_accessions

MODALITIES = ("CR", "CT", "DX", "IO", "MG", "MR", "NM", "PT", "RTSTRUCT", "SEG", "XA")


@given(st.dates(date(1990, 1, 1), date(2020, 1, 1)), st.integers(0, 900))
def test_every_day_is_asked_for_exactly_once(first: date, days: int) -> None:
    last = first + timedelta(days=days)
    query = Query(modality=("CT",), first_date=str(first), last_date=str(last))
    asked = [q for batch in iter_batches(query, last) for q in batch.questions]
    ends = [(date.fromisoformat(q.first_day), date.fromisoformat(q.last_day)) for q in asked]
    assert (ends[0][0], ends[-1][1]) == (first, last)
    for (_, before), (after, _) in pairwise(ends):
        assert after - before == timedelta(days=1)
    assert all(0 <= (b - a).days < 31 for a, b in ends)


@pytest.mark.parametrize("line", ["A*", "A?1", "A\\B", "A" * 17, "A\x07"])
def test_a_line_that_would_ask_for_more_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "wanted.txt"
    path.write_text(f"A1\n{line}\n")
    with pytest.raises(SettingsError) as error:
        read_accessions(path)
    assert "line 2:" in str(error.value)
    assert line not in str(error.value).replace("none of * ? \\", "")


@pytest.mark.parametrize(
    ("pattern", "description", "fits"),
    [
        ("", "anything", True),
        ("CT*", "ct thorax", True),
        ("CT", "CT THORAX", False),
        ("*lung?", "hr Lung1", True),
        ("a[bc]*", "abc", False),  # no wildcard but itself
        ("a[bc]*", "a[bc]d", True),
    ],
)
def test_descriptions_are_matched_as_dicom_does(pattern: str, description: str, fits: bool) -> None:
    query = Query(modality=("CT",), first_date="2024-01-01", study_description=pattern)
    study = Study("1.2.3", "20240105", description, "", 1)
    question = next(iter(iter_batches(query, date(2024, 1, 31)))).questions[0]
    assert is_asked_study(query, question, study) is fits


@given(st.lists(st.sampled_from(MODALITIES), min_size=1, unique=True))
def test_contexts_fit_one_association_and_leave_no_class_out(modalities: list[str]) -> None:
    contexts = storage_contexts(modalities)
    assert len(contexts) <= MOST_CONTEXTS
    assert {name for name, _ in contexts} == set(storage_classes(modalities))
    assert unknown_modalities([*modalities, "US"]) == ["US"]
