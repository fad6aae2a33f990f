"""Copies for people: what is written, what is refused, and what happens the second time."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from fedrad.errors import ArchiveError, SettingsError
from site_client.cli import app
from site_client.export import Exported, export
from site_client.images import read_image
from site_client.masks import read_masks
from site_client.volumes import read_volume

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def exported(site: Any) -> Exported:
    return export(site.archive, target(site), site.home)


def target(site: Any) -> Path:
    return site.home.parent / "copies"


def copies(site: Any) -> list[Path]:
    return sorted(target(site).rglob("*.dcm"))


def test_a_copy_has_the_same_picture_and_none_of_the_names(site: Any) -> None:
    source = site.image("Smith-4711", "SMITH^ANNA/IM1.dcm", value=731, PatientAge="093Y")
    assert exported(site).written == 1
    (copy,) = copies(site)
    old = read_image(site.archive / "SMITH^ANNA/IM1.dcm")
    new = read_image(copy)
    assert np.array_equal(old.pixels, new.pixels)
    assert old.spacing_mm == new.spacing_mm
    content = copy.read_bytes() + str(copy).encode()
    for value in ("Smith-4711", "SMITH", "Nobody", source.SOPInstanceUID, source.AccessionNumber):
        assert str(value).encode() not in content
    assert pydicom.dcmread(copy).PatientAge == "090Y"


def test_a_series_and_its_mask_still_fit(site: Any) -> None:
    rng = np.random.default_rng(0)
    slices = site.series("P1", rng.integers(-900, 900, (5, 8, 8)).astype(np.int16))
    drawn = rng.integers(0, 2, (5, 8, 8)).astype(np.uint8)
    site.mask(slices, drawn, "seg.dcm")
    assert exported(site).written == 6
    by_modality: dict[str, list[Path]] = {"CT": [], "SEG": []}
    for copy in copies(site):
        by_modality[pydicom.dcmread(copy, stop_before_pixels=True).Modality].append(copy)
    old, new = read_volume(list((site.archive / "P1").iterdir())), read_volume(by_modality["CT"])
    assert np.array_equal(old.voxels, new.voxels)
    assert old.spacing_mm == new.spacing_mm
    masks = read_masks(by_modality["SEG"], new.uids, {})
    assert np.array_equal(masks, read_masks([site.archive / "seg.dcm"], old.uids, {}))
    segment = highdicom.seg.segread(by_modality["SEG"][0]).SegmentSequence[0]
    assert segment.SegmentLabel == "Lesion"


def test_one_patient_has_one_name_and_one_offset(site: Any) -> None:
    for number, day in enumerate(("20240101", "20240301")):
        site.image("P1", f"{number}.dcm", StudyDate=day)
    site.image("P2", "other.dcm", StudyDate="20240101")
    exported(site)
    read = [pydicom.dcmread(copy) for copy in copies(site)]
    days: dict[str, list[int]] = {}
    for one in read:
        assert one.StudyDate not in ("20240101", "20240301")
        ordinal = np.datetime64(f"{one.StudyDate[:4]}-{one.StudyDate[4:6]}-{one.StudyDate[6:]}")
        days.setdefault(one.PatientID, []).append(int(ordinal.astype(int)))
    assert sorted(map(len, days.values())) == [1, 2]
    assert {abs(d[1] - d[0]) for d in days.values() if len(d) == 2} == {60}


def test_bad_files_stop_nothing_and_every_reason_is_told(site: Any) -> None:
    site.image("P1", "good.dcm")
    site.image("P1", "screen.dcm", SOPClassUID=SECONDARY_CAPTURE)
    site.image("P1", "text.dcm", BurnedInAnnotation="YES")
    site.image("", "nobody.dcm")
    site.image("P1", "no pixels.dcm")
    shutil.copy(site.archive / "good.dcm", site.archive / "later copy.dcm")
    (site.archive / "Smith Anna.txt").write_text("Smith, Anna")
    stripped = pydicom.dcmread(site.archive / "no pixels.dcm")
    del stripped.PixelData
    stripped.save_as(site.archive / "no pixels.dcm")
    found = exported(site)
    assert found.written == 1
    assert found.refused == {
        "burned-in-text": 1, "duplicate-instance": 1, "no-pixels": 1, "not-dicom": 1,
        "patient-id-unusable": 1, "secondary-capture": 1,
    }  # fmt: skip
    report = (target(site) / "report.csv").read_text()
    assert "Smith" not in report
    assert Counter(row["outcome"] for row in csv.DictReader(report.splitlines())) == {
        "written": 1, "refused": 6,
    }  # fmt: skip
    assert "Smith Anna.txt" in found.record.read_text()
    assert found.record.is_relative_to(site.home)


def test_the_second_call_goes_on_and_writes_nothing_twice(site: Any) -> None:
    site.image("P1", "1.dcm")
    assert exported(site).fresh == 1
    (first,) = copies(site)
    before = first.stat().st_mtime_ns
    site.image("P1", "2.dcm")
    again = exported(site)
    assert (again.written, again.fresh) == (2, 1)
    assert first.stat().st_mtime_ns == before


def test_a_call_that_died_before_its_note_is_made_good(site: Any) -> None:
    site.image("P1", "1.dcm")
    record = exported(site).record
    record.write_text(record.read_text()[:30])  # torn in the middle of its line
    again = exported(site)
    assert (again.written, again.fresh, again.refused) == (1, 1, {})
    assert len(copies(site)) == 1


def test_a_file_that_is_there_is_never_overwritten(site: Any) -> None:
    site.image("P1", "1.dcm")
    record = exported(site).record
    (copy,) = copies(site)
    copy.write_bytes(b"somebody else's")
    record.unlink()
    assert exported(site).refused == {"instance-conflict": 1}
    assert copy.read_bytes() == b"somebody else's"


def test_whoever_objected_is_not_copied(site: Any, site_toml: str) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    (site.home.parent / "exclude.csv").write_text("PatientID\nP2\n")
    site.settings(site_toml + '[patients]\nexclude = "../exclude.csv"\n')
    assert exported(site).refused == {"patient-excluded": 1}
    assert len(copies(site)) == 1


def test_whoever_did_not_consent_is_not_copied(site: Any, site_toml: str) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    consents = site.home.parent / "include.csv"
    consents.write_text("PatientID\nP2\n")
    site.settings(site_toml + '[patients]\ninclude = "../include.csv"\n')
    assert exported(site).refused == {"patient-not-included": 1}
    consents.write_text("PatientID\nP1\nP2\n")  # asked again, P1 agreed
    assert exported(site).written == 2


@pytest.mark.parametrize("inside", ["archive", "archive/copies", "home", "home/copies"])
def test_copies_go_neither_into_the_originals_nor_into_the_home(site: Any, inside: str) -> None:
    with pytest.raises(SettingsError, match="lies inside"):
        export(site.archive, site.home.parent / inside, site.home)


def test_a_link_does_not_hide_that_the_target_is_inside(site: Any) -> None:
    (site.archive / "deep").mkdir()
    (site.home.parent / "link").symlink_to(site.archive / "deep")
    with pytest.raises(SettingsError, match="lies inside"):
        export(site.archive, site.home.parent / "link", site.home)


def test_folders_may_be_named_as_seen_from_where_one_stands(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.image("P1", "1.dcm")
    monkeypatch.chdir(site.home.parent)
    assert export(Path("archive"), Path("copies"), Path("home")).written == 1


def test_a_missing_source_is_told(site: Any) -> None:
    with pytest.raises(ArchiveError, match="not a folder"):
        export(site.archive / "nowhere", target(site), site.home)


def test_another_site_gives_other_names(site: Any, tmp_path: Path, site_toml: str) -> None:
    from site_client.home import make_home

    site.image("P1", "1.dcm")
    exported(site)
    make_home(tmp_path / "other", site_toml, split_key=b"o" * 32)
    export(site.archive, tmp_path / "others", tmp_path / "other")
    ours = {part for path in copies(site) for part in path.relative_to(target(site)).parts}
    theirs = {
        p for f in (tmp_path / "others").rglob("*.dcm") for p in f.relative_to(tmp_path).parts
    }
    assert not ours & theirs


def test_bytes_the_other_way_round_are_the_same_numbers(site: Any) -> None:
    file = site.image("P1", "little.dcm", value=731)
    (site.archive / "little.dcm").unlink()
    file.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    turned = Dataset({tag: file[tag] for tag in file.keys()})  # noqa: SIM118
    turned.file_meta = file.file_meta
    turned.PixelData = np.full((16, 16), 731, ">u2").tobytes()
    turned.preamble = bytes(128)
    pydicom.dcmwrite(site.archive / "big.dcm", turned, implicit_vr=False, little_endian=False)
    assert exported(site).written == 1
    assert (pydicom.dcmread(copies(site)[0]).pixel_array == 731).all()


def test_compressed_and_inflated_files_are_written_as_numbers(site: Any) -> None:
    file = site.image("P1", "plain.dcm")
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file.save_as(site.archive / "deflated.dcm")
    assert exported(site).written == 2
    syntaxes = {pydicom.dcmread(copy).file_meta.TransferSyntaxUID for copy in copies(site)}
    assert syntaxes == {"1.2.840.10008.1.2.1"}


def test_the_command_prints_counts(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.image("P1", "1.dcm")
    line = ["deidentify", str(site.archive), str(target(site)), "--home", str(site.home), "--json"]
    with pytest.raises(SystemExit) as ended:
        app(line)
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"written": 1, "refused": {}, "fresh": 1}


def test_a_disk_that_fills_up_loses_nothing(
    site: Any, write_image: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real small disk: once it is larger, the next call goes on where this one stopped."""
    if os.geteuid():
        pytest.skip("only root makes disks")
    for number in range(12):
        site.add(write_image(np.full((256, 256), number, np.uint16), "P1"), f"{number:02d}.dcm")
    disk = target(site)
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    words = ["deidentify", str(site.archive), str(disk), "--home", str(site.home)]
    try:
        with pytest.raises(SystemExit, match="1"):
            app(words)
        assert "No space left on device" in capsys.readouterr().err
        kept = len(copies(site))
        assert 0 < kept < 12
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        found = exported(site)
        assert (found.written, len(copies(site))) == (12, 12)
        assert found.fresh <= 12 - kept + 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)
