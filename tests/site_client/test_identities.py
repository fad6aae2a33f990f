"""Images of nobody, and of two people under one number, wait for the hospital's word."""

from typing import Any

import pandas as pd
import pytest

from fedrad.errors import NotReadyError
from site_client.catalogue import update_catalogue
from site_client.dataset import load_split
from site_client.identities import count_unusable, is_placeholder, refuse_many_unusable

PRIVATE = {"enabled": True, "epsilon": 8.0, "delta": 1e-3, "noise_multiplier": 1.5}


def details(site: Any) -> dict[str, str]:
    table = update_catalogue(site.home)
    wrong = table[table["reason"] == "patient-id-unusable"]
    return dict(zip(wrong["file"], wrong["detail"], strict=True))


@pytest.mark.parametrize(
    "name",
    ["0", "000000", "UNKNOWN", "unknown ", "Anon", "TEST", "test_patient", "None", "N/A", "n.a.",
     "XXXX", "---", "0-0", "No ID", "99999"],
)  # fmt: skip
def test_what_a_workstation_fills_in_is_no_patient(name: str) -> None:
    assert is_placeholder(name, frozenset({"99999"}))


@pytest.mark.parametrize("name", ["1", "10", "ANON001", "TESTER", "99999", "A0", "X1", "日本"])
def test_a_number_that_could_be_somebody_s_is_somebody_s(name: str) -> None:
    assert not is_placeholder(name)


def test_files_of_nobody_are_set_aside_with_a_reason_a_person_understands(site: Any) -> None:
    site.image("", "blank.dcm")
    site.image("UNKNOWN", "placeholder.dcm")
    site.image("P1", "a.dcm", PatientBirthDate="19500101", PatientSex="F")
    site.image("P1", "b.dcm", PatientBirthDate="19600101", PatientSex="F")
    site.image("P2", "c.dcm", PatientSex="F")
    site.image("P2", "d.dcm", PatientSex="M")
    site.image("P3", "e.dcm", PatientBirthDate="19500101", PatientSex="")
    site.image("P3", "f.dcm", PatientSex="M")
    assert details(site) == {
        "blank.dcm": "the file has no PatientID",
        "placeholder.dcm": "the PatientID is a placeholder, not a person's",
        "a.dcm": "one PatientID with 2 birth dates",
        "b.dcm": "one PatientID with 2 birth dates",
        "c.dcm": "one PatientID with 2 sexes",
        "d.dcm": "one PatientID with 2 sexes",
    }


def test_two_issuers_of_one_number_are_two_patients_and_no_conflict(site: Any) -> None:
    site.image("P1", "a.dcm", PatientSex="F", IssuerOfPatientID="A")
    site.image("P1", "b.dcm", PatientSex="M", IssuerOfPatientID="B")
    assert details(site) == {}


def test_one_number_with_more_studies_than_the_bound_is_nobody(site: Any, site_toml: str) -> None:
    for number in range(3):
        site.image("P1", f"{number}.dcm")
    site.image("P2", "other.dcm")
    site.settings(site_toml + "[patients]\nmax_studies = 3\n")
    assert details(site) == {}
    site.settings(site_toml + "[patients]\nmax_studies = 2\n")
    assert set(details(site).values()) == {"one patient with 3 studies"}
    assert len(details(site)) == 3


def test_the_site_may_add_a_placeholder_of_its_own(site: Any, site_toml: str) -> None:
    site.image("4711", "x.dcm")
    assert details(site) == {}
    site.settings(site_toml + '[patients]\nplaceholders = ["4711"]\n')
    assert list(details(site)) == ["x.dcm"]


def test_the_mapping_tells_two_people_under_one_number_apart(site: Any, site_toml: str) -> None:
    first = site.image("P1", "a.dcm", PatientSex="F")
    second = site.image("P1", "b.dcm", PatientSex="M", AccessionNumber="A77")
    third = site.image("", "c.dcm", PatientSex="M")
    assert len(details(site)) == 3
    (site.home / "who.csv").write_text(
        "StudyInstanceUID;AccessionNumber;patient\n"
        f"{first.StudyInstanceUID};;Eva\n;A77;Adam\n{third.StudyInstanceUID};;Adam\n"
    )
    site.settings(site_toml + '[patients]\nmapping = "who.csv"\n')
    table = update_catalogue(site.home).set_index("file")["patient"]
    assert details(site) == {}
    assert second.PatientID == first.PatientID
    assert table["b.dcm"] == table["c.dcm"] != table["a.dcm"]


def test_the_catalogue_holds_no_birth_date_and_links_no_birthdays(site: Any) -> None:
    for name in ("P1", "P2"):
        site.image(name, f"{name}.dcm", PatientBirthDate="19500417", PatientSex="F")
    update_catalogue(site.home)
    kept = pd.read_parquet(site.home / "catalogue.parquet")
    assert "19500417" not in kept.to_csv()
    assert kept["born"].nunique() == kept["sex"].nunique() == 2


def nobodies(site: Any, number: int, of: int) -> None:
    for n in range(of):
        site.image("UNKNOWN" if n < number else f"P{n}", f"{n}.dcm")
    site.label({f"AP{n}": "yes" for n in range(of)})


def test_above_a_twentieth_of_nobodies_a_site_is_not_ready_for_private_tasks(
    site: Any, make_task: Any
) -> None:
    nobodies(site, 2, of=20)
    said = r"2 of 20 studies \(10\.0 %\) belong to no known patient; .* name it as mapping under"
    with pytest.raises(NotReadyError, match=said):
        load_split(site.home, make_task(privacy=PRIVATE), "train")
    load_split(site.home, make_task(), "train")  # exact: a simulation's own business


def test_a_twentieth_of_nobodies_is_borne(site: Any, make_task: Any) -> None:
    nobodies(site, 1, of=20)
    load_split(site.home, make_task(privacy=PRIVATE), "train")
    found = count_unusable(update_catalogue(site.home), 200)
    assert (found.studies, found.of) == (1, 20)
    refuse_many_unusable(found)


def test_a_file_that_was_cut_off_is_no_study_of_nobody(site: Any) -> None:
    site.image("P1", "whole.dcm")
    site.image("P2", "cut.dcm")
    path = site.archive / "cut.dcm"
    path.write_bytes(path.read_bytes()[:400])
    found = count_unusable(update_catalogue(site.home), 200)
    assert (found.studies, found.of) == (0, 1)
