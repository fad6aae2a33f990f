"""The catalogue: every file has a row, no file stops it, and nothing is read twice."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydicom.uid import JPEG2000Lossless, RLELossless

from fedrad.errors import ArchiveError
from site_client import scan
from site_client.archive.facts import read_facts
from site_client.archive.faults import UnusableFileError
from site_client.archive.folder import ArchiveFile, list_archive
from site_client.archive.scan import iter_digests, iter_facts
from site_client.catalogue import look_at, update_catalogue, write_catalogue


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


def test_files_of_one_instance_that_differ_are_all_set_aside(site: Any) -> None:
    """Nobody here can tell which one is right; once the site took one away, the other is used."""
    file = site.image("P1", "a.dcm")
    site.add(file, "b.dcm")
    file.PixelData = bytes([1]) + file.PixelData[1:]
    site.add(file, "c.dcm")
    assert list(update_catalogue(site.home)["reason"]) == ["instance-conflict"] * 3
    (site.archive / "c.dcm").unlink()
    assert list(update_catalogue(site.home)["reason"]) == ["", "duplicate-instance"]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_one_image_in_two_lossless_encodings_is_used_once(
    site: Any, write_image: Any, syntax: Any
) -> None:
    file = write_image(np.arange(4096, dtype=np.uint16).reshape(64, 64), "P1")
    site.add(file, "a.dcm")
    file.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    site.add(file, "b.dcm")
    for _ in range(2):  # the second time from the catalogue
        assert list(update_catalogue(site.home)["reason"]) == ["", "duplicate-instance"]
    file.PatientOrientation = ["R", "F"]
    site.add(file, "b.dcm")
    assert list(update_catalogue(site.home)["reason"]) == ["instance-conflict"] * 2


def test_pixels_that_cannot_be_decoded_are_nobody_s_copy(site: Any) -> None:
    file = site.image("P1", "a.dcm")
    file.BitsAllocated = 12
    site.add(file, "b.dcm")
    site.add(file, "c.dcm").write_bytes((site.archive / "b.dcm").read_bytes() + b"\0\0")
    assert list(update_catalogue(site.home)["reason"]) == ["instance-conflict"] * 3


def test_files_of_one_instance_are_compared_once(site: Any) -> None:
    file = site.image("P1", "a.dcm")
    path = site.add(file, "b.dcm")
    before = update_catalogue(site.home)
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    pd.testing.assert_frame_equal(update_catalogue(site.home), before)


def test_a_file_that_changes_before_it_is_compared_waits_for_the_next_look(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = site.image("P1", "a.dcm")
    path = site.add(file, "b.dcm")

    def touched(*asked: Any) -> Any:
        os.utime(path, ns=(1, 1))
        return iter_digests(*asked)

    with monkeypatch.context() as patch:
        patch.setattr(scan, "iter_digests", touched)
        assert list(update_catalogue(site.home)["reason"]) == ["instance-conflict"] * 2
    assert list(update_catalogue(site.home)["reason"]) == ["", "duplicate-instance"]


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


def test_a_torn_catalogue_is_read_again_from_the_archive(site: Any) -> None:
    site.image("P1", "1.dcm")
    before = update_catalogue(site.home)
    path = site.home / "catalogue.parquet"
    whole = path.read_bytes()
    middle = len(whole) // 3
    damaged = whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]
    for content in (whole[: len(whole) // 2], b"", damaged):
        path.write_bytes(content)
        pd.testing.assert_frame_equal(update_catalogue(site.home), before)
        assert len(pd.read_parquet(path)) == 1


def test_what_is_no_file_of_the_archive_is_named(site: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    site.add(site.image("P1", "1.dcm"), "../elsewhere/2.dcm")
    (site.archive / "link.dcm").symlink_to(tmp_path / "elsewhere/2.dcm")
    assert list(update_catalogue(site.home)["file"]) == ["1.dcm", "link.dcm"]
    assert site.reasons() == {"link.dcm": "symbolic-link"}


def test_a_file_that_changes_after_it_was_listed_waits_for_the_next_look(site: Any) -> None:
    """Size and time are compared with the listing's before and after the file is read."""
    site.image("P1", "1.dcm")
    path = site.archive / "1.dcm"
    found = list_archive(site.archive).files[0]
    path.unlink()
    gone = refused(path, found)
    os.mkfifo(path)
    pipe = refused(path, found)
    path.unlink()
    site.image("P1", "1.dcm")
    assert (gone, pipe, refused(path, found)) == ("changing",) * 3


def refused(path: Path, found: ArchiveFile) -> str:
    """Return why a listed file is not read."""
    with pytest.raises(UnusableFileError) as error:
        read_facts(path, ("Rows",), (found.bytes, found.mtime_ns))
    return str(error.value.reason)


def test_a_file_that_was_changing_is_looked_at_again(site: Any) -> None:
    site.image("P1", "1.dcm")
    table = update_catalogue(site.home)
    write_catalogue(site.home, table.assign(fault="changing"))
    assert list(update_catalogue(site.home)["reason"]) == [""]


def test_an_interrupted_look_goes_on_where_it_stopped(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading of the second batch is stopped as Ctrl-C would."""
    for number in range(4):
        site.image("P1", f"{number}.dcm")
    monkeypatch.setattr(scan, "_SAVE_EVERY", 2)

    def stopped(readers: Any, folder: Path, files: Any, keywords: Any) -> Any:
        if files[0].file == "2.dcm":
            raise KeyboardInterrupt
        return iter_facts(readers, folder, files, keywords)

    with monkeypatch.context() as patch:
        patch.setattr(scan, "iter_facts", stopped)
        with pytest.raises(KeyboardInterrupt):
            update_catalogue(site.home)
    assert list(pd.read_parquet(site.home / "catalogue.parquet")["file"]) == ["0.dcm", "1.dcm"]
    assert len(update_catalogue(site.home)) == 4


def test_a_change_of_limits_reads_what_they_refused(site: Any, site_toml: str) -> None:
    site.image("P1", "1.dcm")
    site.settings(site_toml + "[reading]\npixels = 100\n")
    assert list(update_catalogue(site.home)["reason"]) == ["too-large"]
    site.settings(site_toml)
    assert list(update_catalogue(site.home)["reason"]) == [""]


def test_a_folder_is_looked_at_without_settings(site: Any) -> None:
    site.image("P1", "1.dcm")
    (site.archive / "note.txt").write_text("not an image")
    assert list(look_at(site.archive)["reason"]) == ["", "not-dicom"]
    assert not (site.home / "catalogue.parquet").exists()


@pytest.mark.long
def test_a_folder_of_100_000_files_is_catalogued_and_then_only_listed(site: Any) -> None:
    """Every file is a link to one of four, since a disk refuses more links to one."""
    for source in range(4):
        site.image(f"P{source}", f"{source}.dcm")
    for number in range(100_000 - 4):
        os.link(site.archive / f"{number % 4}.dcm", site.archive / f"x{number:06d}.dcm")
    table = update_catalogue(site.home)
    assert table["reason"].value_counts().to_dict() == {"duplicate-instance": 99_996, "": 4}
    (site.archive / "0.dcm").unlink()
    assert len(update_catalogue(site.home)) == 99_999
