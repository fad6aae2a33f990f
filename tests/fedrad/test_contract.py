"""What sites agreed: numbers that say less than they could, conditions, and who sees whom."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.contract import (
    Conditions,
    Contract,
    SiteTerms,
    agreed_patients,
    read_contract,
    write_contract,
)
from fedrad.errors import SettingsError


@given(st.integers(0, 100_000))
def test_agreed_patients_are_never_more_than_there_are_and_rounding_again_changes_nothing(
    count: int,
) -> None:
    agreed = agreed_patients(count)
    assert (agreed > 0) == (count > 0)
    assert agreed <= count < max(1.5 * agreed, agreed + 5)
    assert agreed_patients(agreed) == agreed


@pytest.mark.parametrize("count", [n for n in range(6, 1000) if n % 5])
def test_an_exact_number_of_patients_is_not_agreed_unless_it_is_round(count: int) -> None:
    assert agreed_patients(count) != count


@pytest.mark.parametrize(("count", "agreed"), [(4, 1), (9, 5), (14, 10), (99, 95), (1299, 1200)])
def test_agreed_patients_of_known_sizes(count: int, agreed: int) -> None:
    assert agreed_patients(count) == agreed


def schema_two(**conditions: object) -> Contract:
    given = {"expires": "2027-06-30", "recipients": ("x",)} | conditions
    terms = {
        name: SiteTerms(label=label, patients_agreed=50, train_sigma=1.0, audit_sigma=1.0)
        for name, label in (("east", "B"), ("north", "A"), ("B", "C"))
    }
    kept = Conditions(**given)  # type: ignore[arg-type]
    return Contract(schema=2, study="s", task_hash="t" * 64, sites=terms, conditions=kept)


def test_schema_1_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    site = {"label": "A", "patients_agreed": 50, "train_sigma": 1.0, "audit_sigma": 1.0}
    old = {"schema": 1, "study": "s", "task_hash": "t", "sites": {"a": site}, "starting": None}
    (tmp_path / "old.json").write_text(json.dumps(old))
    contract = read_contract(tmp_path / "old.json")
    assert contract.trainers == ("a",)
    write_contract(tmp_path / "again.json", contract)
    assert json.loads((tmp_path / "again.json").read_text()) == old


def test_schema_2_comes_back_from_disk_and_needs_its_number(tmp_path: Path) -> None:
    write_contract(tmp_path / "c.json", schema_two(ethics="EK-1"))
    assert read_contract(tmp_path / "c.json") == schema_two(ethics="EK-1")
    with pytest.raises(SettingsError, match="need schema 2"):
        replace(schema_two(), schema=1)
    with pytest.raises(SettingsError, match="one of .1, 2., got 3"):
        replace(schema_two(), schema=3)


def test_a_site_sees_itself_by_name_and_every_number_of_the_others() -> None:
    """Also a site whose name looks like a letter, which is none of the others' here."""
    whole = schema_two()
    for name, terms in whole.sites.items():
        seen = whole.seen_by(name)
        assert seen.sites[name] == terms
        assert sorted(t.label for t in seen.sites.values()) == ["A", "B", "C"]
        assert not (seen.sites.keys() & whole.sites.keys()) - {name}
    assert schema_two(figures="names").seen_by("east") == schema_two(figures="names")
    assert replace(whole, conditions=None).seen_by("east").sites == whole.sites


@pytest.mark.parametrize("day", ["2027-6-30", "20270630", "2027-W26-3", "2027-02-30", "", "soon"])
def test_an_end_is_a_day_in_one_form(day: str) -> None:
    with pytest.raises(SettingsError, match="expires must be a day"):
        schema_two(expires=day)


def test_the_last_day_counts_whole() -> None:
    conditions = schema_two().conditions
    assert conditions is not None
    assert not conditions.expired(datetime(2027, 6, 30, 23, 59, tzinfo=UTC))
    assert conditions.expired(datetime(2027, 7, 1, tzinfo=UTC))


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "x" * 301])
def test_what_people_read_is_one_printable_line(text: str) -> None:
    for changed in ({"ethics": text}, {"recipients": (text,)}):
        with pytest.raises(SettingsError, match="one line of up to 300"):
            schema_two(**changed)
