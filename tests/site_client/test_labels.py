"""Labels: one class for each patient, by the task's rule, or a reason."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import LabelError, SettingsError
from site_client.catalogue import update_catalogue
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.label_table import LabelTable, Vote, read_labels
from site_client.labels import _by_rule, label_patients, match_votes

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
    site.label({"A1": "yes"}, key="SeriesInstanceUID")
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


def written(site: Any, task: Any, text: str, encoding: str = "utf-8") -> Any:
    """The classes and notes that a table of labels gives the archive."""
    path = site.home.parent / "labels.csv"
    path.write_bytes(text.encode(encoding))
    table = read_labels(path, task.labels, NAMES)
    return label_patients(update_catalogue(site.home), table, task.labels)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_labels_are_read_whatever_the_spreadsheet(
    site: Any, make_task: Any, encoding: str, delimiter: str
) -> None:
    site.image("P1", "1.dcm")
    rows = [["Befund", "Accession", "Label"], ["größer", "AP1", "ja, sicher"]]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    task = make_task(labels={"map": {"ja, sicher": 1, "nein": 0}})
    assert list(written(site, task, text, encoding).classes.values()) == [1]


def test_a_blank_label_is_unknown_and_never_negative(site: Any, make_task: Any) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    found = written(site, make_task(), "AccessionNumber,label\nAP1,\nAP2,yes\n")
    assert list(found.refused["file"]) == ["1.dcm"]
    assert list(found.classes.values()) == [1]
    assert any("1 rows of the labels are blank: unknown" in note for note in found.notes)
    with pytest.raises(SettingsError, match="blank is unknown, never negative"):
        make_task(labels={"map": {"": 0, "yes": 1}})


def test_lost_leading_zeros_are_put_back_where_one_exam_fits(site: Any, make_task: Any) -> None:
    site.image("P1", "1.dcm", AccessionNumber="0012")
    site.image("P2", "2.dcm", AccessionNumber="0007")
    found = written(site, make_task(), "AccessionNumber,label\n12,yes\n7.0,no\n")
    assert sorted(found.classes.values()) == [0, 1]
    assert found.notes == ("2 labels fit once lost leading zeros are put back",)


def test_a_number_that_fits_two_exams_of_a_patient_is_used_for_neither(
    site: Any, make_task: Any
) -> None:
    """Unless other numbers of the file still begin with 0: then it is as it is written."""
    site.image("P1", "1.dcm", AccessionNumber="12")
    site.image("P1", "2.dcm", AccessionNumber="0012")
    site.image("P3", "3.dcm", AccessionNumber="003")
    found = written(site, make_task(), "AccessionNumber,label\n12,yes\n3,no\n")
    assert list(found.refused["file"]) == ["1.dcm", "2.dcm"]
    assert any("1 labels fit several exams of one patient" in note for note in found.notes)
    found = written(site, make_task(), "AccessionNumber,label\n12,yes\n003,no\n")
    assert list(found.refused["file"]) == ["2.dcm"]


def test_numbers_that_a_spreadsheet_rounded_are_named_by_their_lines(
    site: Any, make_task: Any
) -> None:
    site.image("P1", "1.dcm")
    text = "accession,label,laterality,date\n1.23E+11,yes,,\nAP1,no,,03/04/2024\nAP1,no,X,\n,no,,\n"
    notes = written(site, make_task(), text).notes
    assert [note[note.index("(") :] for note in notes[:4]] == [
        "(line 5)", "(line 2)", "(line 4)", "(line 3)",
    ]  # fmt: skip
    assert "whose digits a spreadsheet threw away" in notes[1]


ARCHIVES = st.lists(
    st.tuples(st.sampled_from("PQR"), st.sampled_from(["", "7", "07", "007", "12"])), min_size=1
)
TABLES = st.lists(
    st.tuples(
        st.sampled_from(["7", "07", "12"]), st.sampled_from([0, 1]), st.sampled_from("xy"),
        st.sampled_from(["", "2024-01-01", "2024-02-01"]),
    ),
    min_size=1,
)  # fmt: skip


@given(ARCHIVES, TABLES, st.sampled_from(["one", "any", "majority"]), st.booleans())
def test_a_patients_class_does_not_depend_on_who_else_is_in_the_archive(
    archive: list[tuple[str, str]], table: list[tuple[str, int, str, str]], rule: str, zeros: bool
) -> None:
    """Privacy counts one patient; nobody may bring or take a label of somebody else."""
    images = pd.DataFrame(archive, columns=["patient", "accession"])
    votes = [
        Vote((key, *(key.zfill(n) for n in range(len(key) + 1, 4))), value, reader, date=date)
        for key, value, reader, date in table
    ]
    found = LabelTable("accession", tuple(votes), 0, 0, (), zeros)
    everybody = _by_rule(match_votes(images, found).votes, rule)
    for patient in "PQR":
        alone = _by_rule(match_votes(images[images["patient"] == patient], found).votes, rule)
        assert alone.get(patient) == everybody.get(patient)


def test_an_accession_of_two_patients_labels_both_and_is_told(site: Any, make_task: Any) -> None:
    for number in range(1, 21):
        site.image(f"P{number}", f"{number}.dcm")
    site.image("Q1", "q.dcm", AccessionNumber="AP1")
    rows = "".join(f"AP{number},yes\n" for number in range(1, 21))
    found = written(site, make_task(), f"AccessionNumber,label\n{rows}")
    assert len(found.classes) == 21
    assert "1 keys of the labels fit images of several patients" in found.notes[0]


def test_accessions_that_are_no_name_of_an_exam_are_refused(site: Any, make_task: Any) -> None:
    for number in range(1, 20):
        site.image(f"P{number}", f"{number}.dcm")
    site.image("Q1", "q.dcm", AccessionNumber="AP1")
    rows = "".join(f"AP{number},yes\n" for number in range(1, 20))
    with pytest.raises(LabelError, match="1 of 19 keys .* fit images of several patients"):
        written(site, make_task(), f"AccessionNumber,label\n{rows}")


@pytest.mark.parametrize(("rule", "expected"), [("one", []), ("majority", [0]), ("any", [1])])
def test_readers_are_settled_within_an_exam_before_exams_are(
    site: Any, make_task: Any, rule: str, expected: list[int]
) -> None:
    """Three readers of one exam do not outvote two other exams."""
    for number in (1, 2, 3):
        site.image("P1", f"{number}.dcm", AccessionNumber=f"A{number}")
    text = "accession;label;reader\nA1;yes;x\nA1;yes;y\nA1;yes;z\nA2;no;x\nA3;no;x\n"
    found = written(site, make_task(labels={"rule": rule}), text)
    assert list(found.classes.values()) == expected


def test_a_readers_later_word_replaces_the_earlier(site: Any, make_task: Any) -> None:
    site.image("P1", "1.dcm")
    text = "accession;label;reader;date\nAP1;yes;x;02.01.2024\nAP1;no;x;2024-02-01\n"
    assert list(written(site, make_task(), text).classes.values()) == [0]


def test_the_sides_of_one_exam_are_two_findings_and_no_disagreement_of_readers(
    site: Any, make_task: Any
) -> None:
    site.image("P1", "1.dcm")
    text = "accession;label;laterality;reader\nAP1;yes;L;x\nAP1;no;R;x\nAP1;no;right;y\n"
    task = make_task(labels={"rule": "any"})
    assert list(written(site, task, text).classes.values()) == [1]
    task = make_task(labels={"rule": "one"})
    assert list(written(site, task, text).refused["reason"]) == ["labels-disagree"]


def test_a_study_may_be_named_by_its_accession_number_but_a_series_not(
    site: Any, make_task: Any
) -> None:
    site.image("P1", "1.dcm")
    task = make_task(labels={"key": "StudyInstanceUID"})
    assert list(written(site, task, "accession,label\nAP1,yes\n").classes.values()) == [1]
    task = make_task(labels={"key": "SeriesInstanceUID"})
    with pytest.raises(LabelError, match="lacks the column SeriesInstanceUID"):
        written(site, task, "accession,label\nAP1,yes\n")
