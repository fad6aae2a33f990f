"""The allow-list names what exists, fits its rules, and agrees with the standard's table."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

from site_client.deidentify.profile import burned_in, read_profile

canaries = pytest.importorskip("identifier_canaries")

FITTING = {
    "numbers": {"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "AT"},
    "terms": {"CS", "LO", "SH"},
    "identifiers": {"UI"},
    "classes": {"UI"},
    "dates": {"DA", "DT"},
    "codes": {"SQ"},
    "sequences": {"SQ"},
}
PASSING = ("numbers", "terms", "classes", "codes", "makers")


def test_every_rule_fits_the_kind_of_its_attribute() -> None:
    for tag, rule in read_profile().rules.items():
        kinds = set(dictionary_VR(tag).split(" or "))
        assert kinds <= FITTING.get(rule.table, kinds), keyword_for_tag(tag)


def test_what_passes_unchanged_is_not_in_table_e_1_1() -> None:
    pytest.importorskip("dicomanonymizer", reason="missing: dicom-anonymizer (extra [dev])")
    rules = read_profile().rules
    both = {tag for tag in canaries.table_tags() if tag in rules and rules[tag].table in PASSING}
    assert [keyword_for_tag(tag) for tag in both] == ["PatientSex"]  # option 113108


def test_no_person_name_and_no_free_text_has_a_rule_that_reads_it() -> None:
    reading = {"emptied", "constants", "terms", "makers"}
    for tag, rule in read_profile().rules.items():
        if dictionary_VR(tag) in ("PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE"):
            assert rule.table in reading
        if dictionary_VR(tag) == "PN":
            assert rule.table == "emptied"


@pytest.mark.parametrize(
    ("elements", "kind"),
    [
        ({}, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "ultrasound"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.1"}, "visible-light"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "encapsulated-document"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, "presentation-state"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.59"}, "structured-report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"}, "kind-not-allowed"),
        ({"SOPClassUID": "1.2.3"}, "kind-not-allowed"),
        ({"SOPClassUID": ""}, "kind-not-allowed"),
        ({"Modality": "US"}, "ultrasound"),
        ({"ConversionType": "WSD"}, "secondary-capture"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "secondary-capture"),
    ],
)
def test_refused_kinds_have_a_stable_reason(elements: dict[str, object], kind: str) -> None:
    instance = Dataset()
    given = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"} | elements
    for keyword, value in given.items():
        setattr(instance, keyword, value)
    assert read_profile().kind(instance) == kind


@pytest.mark.parametrize(
    ("said", "found"), [("NO", False), ("", False), ("YES", True), ("X", True)]
)
def test_what_says_that_text_is_burned_in_is_believed(said: str, found: bool) -> None:
    instance = Dataset()
    instance.BurnedInAnnotation = said
    assert burned_in(instance) is found
