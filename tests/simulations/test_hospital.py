"""Phantom hospitals, read back from disk with pydicom as any stranger would."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation

from fedrad import settings
from fedrad.errors import ArchiveError, SettingsError
from simulations.archives import WrittenHospital
from simulations.broken import REASONS
from simulations.dicom import PRIVATE_CREATOR
from simulations.hospital import HospitalSpec, write_hospital
from simulations.planted import Planted, occurrences, read_planted
from simulations.scanners import SCANNERS

SPEC = HospitalSpec(
    name="north",
    patients=40,
    prevalence=0.3,
    several_share=0.25,
    size=64,
    scanners=dict.fromkeys(SCANNERS, 1.0),
)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> WrittenHospital:
    return write_hospital(tmp_path_factory.mktemp("north"), SPEC, seed=7)


@pytest.fixture(scope="module")
def images(hospital: WrittenHospital) -> list[Dataset]:
    return [dcmread(path) for path in files(hospital.archive)]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def labels(hospital: WrittenHospital) -> list[dict[str, str]]:
    with hospital.labels.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digest(folder: Path) -> str:
    joined = hashlib.sha256()
    for path in files(folder):
        joined.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return joined.hexdigest()


def test_every_file_is_a_radiograph_whose_pixels_decode(images: list[Dataset]) -> None:
    for image in images:
        assert image.SOPClassUID == DigitalXRayImageStorageForPresentation
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        assert image.pixel_array.shape == (64, 64)
        assert image.pixel_array.max() < 1 << image.BitsStored
        assert image.pixel_array.std() > 0.05 * (1 << image.BitsStored)
    assert len({image.SOPInstanceUID for image in images}) == len(images)


def test_photometric_and_transfer_syntax_are_the_scanners(images: list[Dataset]) -> None:
    seen = {image.ManufacturerModelName: image for image in images}
    assert len(seen) == len(SCANNERS)
    assert len({image.file_meta.TransferSyntaxUID for image in images}) == 4
    for scanner in SCANNERS.values():
        image = seen[scanner.model]
        assert image.PhotometricInterpretation == scanner.photometric
        assert image.BitsStored == scanner.bits_stored
        assert float(image.RescaleSlope) == scanner.rescale_slope
        assert image.ImagerPixelSpacing[0] == scanner.spacing_mm


def test_monochrome1_images_are_dark_where_the_spine_is(images: list[Dataset]) -> None:
    for image in images:
        pixels = image.pixel_array.astype(float)
        spine, edge = pixels[:, 30:34].mean(), pixels[:, :1].mean()
        assert (spine < edge) == (image.PhotometricInterpretation == "MONOCHROME1")


def test_labels_are_keyed_by_study_and_accession(
    hospital: WrittenHospital, images: list[Dataset]
) -> None:
    keys = {(row["StudyInstanceUID"], row["AccessionNumber"]) for row in labels(hospital)}
    assert keys == {(image.StudyInstanceUID, image.AccessionNumber) for image in images}
    assert len(keys) == hospital.studies == hospital.images == len(images)


def test_prevalence_and_labels_are_by_patient(
    hospital: WrittenHospital, images: list[Dataset]
) -> None:
    label = {row["AccessionNumber"]: row["label"] for row in labels(hospital)}
    of_patient = defaultdict(set)
    for image in images:
        of_patient[image.PatientID].add(label[image.AccessionNumber])
    assert all(len(found) == 1 for found in of_patient.values())
    assert len(of_patient) == hospital.patients == 40
    assert sum(found == {"nodule"} for found in of_patient.values()) == hospital.positives == 12


def test_planted_identifiers_are_in_the_archive_in_the_places_one_knows(
    hospital: WrittenHospital, images: list[Dataset]
) -> None:
    planted = read_planted(hospital.planted)
    assert len({row.value for row in planted}) == hospital.identifiers
    by_kind = defaultdict(set)
    for row in planted:
        by_kind[row.kind].add(row.value)
    assert by_kind["patient-id"] == {image.PatientID for image in images}
    assert by_kind["family-name"] == {str(image.PatientName.family_name) for image in images}
    assert by_kind["study-uid"] == {image.StudyInstanceUID for image in images}
    for image in images:
        private = image.private_block(0x0011, PRIVATE_CREATOR)[0x01].value
        codec = convert_encodings(image.SpecificCharacterSet)[0]
        text = private.decode(codec) if isinstance(private, bytes) else private
        assert text.strip() in by_kind["address"]


def test_every_planted_identifier_is_found_in_the_archives_bytes(
    hospital: WrittenHospital,
) -> None:
    """Each patient's identifiers stand in that patient's own files."""
    planted = defaultdict(list)
    for row in read_planted(hospital.planted):
        planted[row.patient].append(row.value)
    strangers = planted.pop(-1)
    for values in planted.values():
        patient_id = next(value for value in values if value.startswith("PZ"))
        (folder,) = hospital.archive.glob(f"*{patient_id}")
        content = b"".join(path.read_bytes() for path in files(folder))
        assert all(occurrences(content, [value]) for value in [*values, *strangers])
        assert occurrences(content, strangers) >= 3 * len(files(folder))


def test_one_seed_gives_one_archive_and_another_seed_another(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, patients=4, truth="masks", broken={"flipped_header": 1})
    first, again, other = (
        write_hospital(tmp_path / name, spec, seed=seed).archive.parent
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert digest(first) == digest(again) != digest(other)


def test_a_hospital_is_the_same_whatever_lies_broken_beside_it(
    tmp_path: Path, hospital: WrittenHospital
) -> None:
    spec = dataclasses.replace(SPEC, broken=dict.fromkeys(REASONS, 2))
    spoiled = write_hospital(tmp_path / "spoiled", spec, seed=7)
    assert spoiled.broken == 2 * len(REASONS)
    assert labels(spoiled) == labels(hospital)
    for path in files(hospital.archive):
        twin = spoiled.archive / path.relative_to(hospital.archive)
        assert twin.read_bytes() == path.read_bytes()
    assert len(files(spoiled.archive)) == len(files(hospital.archive)) + spoiled.broken


def test_masks_are_segmentations_that_refer_to_their_image(tmp_path: Path) -> None:
    from highdicom.seg import segread

    spec = dataclasses.replace(SPEC, patients=6, prevalence=0.5, truth="masks", several_share=0.0)
    written = write_hospital(tmp_path / "masks", spec, seed=3)
    drawn = [path for path in files(written.archive) if path.name.startswith("SEG")]
    images = {
        image.StudyInstanceUID: image
        for path in files(written.archive)
        if (image := dcmread(path)).Modality == "DX"
    }
    insides = []
    for path in drawn:
        seg = segread(path)
        uid = images[seg.StudyInstanceUID].SOPInstanceUID
        frames = seg.get_pixels_by_source_instance([uid], ignore_spatial_locations=True)
        insides.append(int(frames.sum()))
    assert len(drawn) == written.segmentations == 6
    assert sorted(inside > 0 for inside in insides) == [False] * 3 + [True] * 3


def test_a_ct_series_comes_back_in_hounsfield_units_and_order(tmp_path: Path) -> None:
    spec = HospitalSpec(
        name="ct", patients=1, kind="ct", prevalence=1.0, several_share=0.0, size=64,
        truth="masks", scanners={"noisy": 1.0},
    )  # fmt: skip
    written = write_hospital(tmp_path / "ct", spec, seed=1)
    slices = [s for path in files(written.archive) if (s := dcmread(path)).Modality == "CT"]
    slices.sort(key=lambda image: image.ImagePositionPatient[2])
    assert len(slices) == 24
    assert {image.SOPClassUID for image in slices} == {CTImageStorage}
    heights = np.diff([float(image.ImagePositionPatient[2]) for image in slices])
    assert np.allclose(heights, 8.0)
    first = slices[0]
    volume = np.stack([s.pixel_array for s in slices]) * float(first.RescaleSlope)
    volume = volume + float(first.RescaleIntercept)
    assert volume[:, 0, 0].mean() == pytest.approx(-900, abs=30)  # gain 0.9 of air
    assert (volume[:, 30, 30].mean() > -200) == (volume[:, 30, 16].mean() < -200)


def test_a_folder_that_holds_an_archive_is_not_written_over(hospital: WrittenHospital) -> None:
    with pytest.raises(ArchiveError, match="already exists; remove it"):
        write_hospital(hospital.archive.parent, SPEC, seed=7)


def test_a_hospital_is_read_from_a_table_with_scanners_of_its_own() -> None:
    table = {
        "name": "west", "patients": 5, "scanners": {"odd": 1.0},
        "own_scanners": {"odd": {"gain": 1.2, "photometric": "MONOCHROME1"}},
    }  # fmt: skip
    spec = settings.build(HospitalSpec, table)
    assert spec.scanner("odd").gain == 1.2


def test_all_faults_of_a_hospitals_table_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"(?s)prevalence must.*scanners\.x is not.*broken\.y"):
        HospitalSpec(name="west", patients=5, prevalence=2.0, scanners={"x": 1.0}, broken={"y": 1})


def test_planted_rows_name_their_site(hospital: WrittenHospital) -> None:
    rows: tuple[Planted, ...] = read_planted(hospital.planted)
    assert {row.site for row in rows} == {"north"}
    assert {row.patient for row in rows} == set(range(-1, 40))
