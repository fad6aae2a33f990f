"""Labels: one class for each patient, by the task's rule, or a reason."""

from typing import Any

import pytest

from fedrad.errors import LabelError
from site_client.catalogue import update_catalogue
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.labels import label_patients, read_labels

NAMES = pseudonyms(b"k" * 32)


def classes(site: Any, task: Any) -> dict[str, int]:
    """Read labels.csv and give the archive's patients their classes."""
    table = read_labels(site.home.parent / "labels.csv", task.labels, NAMES)
    return label_patients(update_catalogue(site.home), table, task.labels).classes


@pytest.mark.parametrize(
    ("rule", "labels", "expected"),
    [
        ("one", ["yes", "yes"], [1]),
        ("one", ["yes", "no"], []),
        ("any", ["no", "yes", "no"], [1]),
        ("any", ["no", "no"], [0]),
        ("majority", ["no", "yes", "no"], [0]),
        ("majority", ["no", "yes"], [1]),
    ],
)
def test_a_patients_studies_become_one_class(
    site: Any, make_task: Any, rule: str, labels: list[str], expected: list[int]
) -> None:
    for number in range(len(labels)):
        site.image("P1", f"{number}.dcm", AccessionNumber=f"A{number}")
    site.label({f"A{number}": label for number, label in enumerate(labels)})
    assert list(classes(site, make_task(labels={"rule": rule})).values()) == expected


def test_two_images_of_one_study_are_one_vote(site: Any, make_task: Any) -> None:
    for name, accession in (("a", "A1"), ("b", "A1"), ("c", "A2"), ("d", "A3")):
        site.image("P1", f"{name}.dcm", AccessionNumber=accession)
    site.label({"A1": "yes", "A2": "no", "A3": "no"})
    assert list(classes(site, make_task(labels={"rule": "majority"})).values()) == [0]


def test_what_has_no_usable_label_is_left_out_and_counted(site: Any, make_task: Any) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    site.image("P3", "3.dcm")
    site.label({"AP1": "yes", "AP3": "maybe", "AP99": "no"})
    task = make_task()
    table = read_labels(site.home.parent / "labels.csv", task.labels, NAMES)
    found = label_patients(update_catalogue(site.home), table, task.labels)
    assert list(found.refused["file"]) == ["2.dcm", "3.dcm"]
    assert set(found.refused["reason"]) == {"no-label"}
    assert (found.unknown_keys, table.unmapped) == (1, 1)


def test_missing_labels_are_named_with_the_way_out(site: Any, make_task: Any) -> None:
    labels = make_task().labels
    path = site.home.parent / "labels.csv"
    with pytest.raises(LabelError, match=r"name a CSV with the columns AccessionNumber and label"):
        read_labels(None, labels, NAMES)
    with pytest.raises(LabelError, match="cannot be read"):
        read_labels(path, labels, NAMES)
    site.label({"A1": "yes"}, key="StudyInstanceUID")
    with pytest.raises(LabelError, match="lacks the column AccessionNumber"):
        read_labels(path, labels, NAMES)
    site.label({"A1": "Yes"})
    with pytest.raises(LabelError, match="no row whose label is one of no, yes"):
        read_labels(path, labels, NAMES)


def test_labels_of_other_images_only_are_refused(site: Any, make_task: Any) -> None:
    site.image("P1", "1.dcm")
    site.label({"other": "yes"})
    with pytest.raises(LabelError, match="no image has a label: none of the 1 keys"):
        classes(site, make_task())
