"""The catalogue: every file has a row, no file stops it, and nothing is read twice."""

import os
import shutil
from typing import Any

import pandas as pd
import pytest

from fedrad.errors import ArchiveError
from site_client.catalogue import update_catalogue


def test_broken_files_are_set_aside_by_reason_and_the_rest_goes_on(site: Any) -> None:
    site.image("P1", "good.dcm")
    site.image("", "nobody.dcm")
    (site.archive / "note.txt").write_text("not an image")
    (site.archive / "empty.dcm").write_bytes(b"")
    whole = site.add(site.image("P2", "cut.dcm"), "cut.dcm")
    whole.write_bytes(whole.read_bytes()[:-40])
    table = update_catalogue(site.home)
    assert list(table.loc[table["reason"] == "", "file"]) == ["good.dcm"]
    assert site.reasons() == {
        "nobody.dcm": "patient-id-unusable",
        "note.txt": "not-dicom",
        "empty.dcm": "not-dicom",
        "cut.dcm": "truncated",
    }


def test_the_second_file_of_one_instance_is_not_used(site: Any) -> None:
    file = site.image("P1", "a.dcm")
    site.add(file, "b.dcm")
    assert list(update_catalogue(site.home)["reason"]) == ["", "duplicate-instance"]
    (site.archive / "a.dcm").unlink()
    assert list(update_catalogue(site.home)["reason"]) == [""]


def test_one_patient_s_file_never_pushes_out_another_s(site: Any) -> None:
    """Else adding a patient with a copied instance would change a second patient's part."""
    file = site.image("P2", "b.dcm")
    file.PatientID = "P1"
    site.add(file, "a.dcm")
    assert list(update_catalogue(site.home)["reason"]) == ["", ""]


def test_the_written_catalogue_holds_no_identifier(site: Any) -> None:
    file = site.image("PATIENT-77", "x.dcm", AccessionNumber="ACC-99")
    update_catalogue(site.home)
    text = pd.read_parquet(site.home / "catalogue.parquet").to_csv()
    for identifier in ("PATIENT-77", "ACC-99", file.SOPInstanceUID, file.StudyInstanceUID):
        assert identifier not in text


def test_only_changed_files_are_read_again(site: Any) -> None:
    """A file with its old size and time keeps its row, whatever it holds by now."""
    site.image("P1", "1.dcm")
    path = site.archive / "1.dcm"
    before = update_catalogue(site.home)
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    pd.testing.assert_frame_equal(update_catalogue(site.home), before)
    os.utime(path, ns=(1, 1))
    assert list(update_catalogue(site.home)["reason"]) == ["not-dicom"]


def test_an_excluded_patient_stays_out_from_the_next_start_on(site: Any, site_toml: str) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    update_catalogue(site.home)
    (site.home / "out.txt").write_text("P2\n")
    site.settings(site_toml + '[patients]\nexclude = "out.txt"\n')
    assert list(update_catalogue(site.home)["reason"]) == ["", "patient-excluded"]


def test_a_new_mapping_file_renames_patients_that_are_already_listed(
    site: Any, site_toml: str
) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    assert len(set(update_catalogue(site.home)["patient"])) == 2
    (site.home / "who.csv").write_text("PatientID,patient\nP1,7\nP2,7\n")
    site.settings(site_toml + '[patients]\nmapping = "who.csv"\n')
    assert len(set(update_catalogue(site.home)["patient"])) == 1


def test_a_deleted_archive_is_an_error_and_not_an_empty_one(site: Any) -> None:
    site.image("P1", "1.dcm")
    update_catalogue(site.home)
    shutil.rmtree(site.archive)
    with pytest.raises(ArchiveError, match="is not a folder"):
        update_catalogue(site.home)


def test_an_empty_archive_has_an_empty_catalogue(site: Any) -> None:
    assert update_catalogue(site.home).empty
