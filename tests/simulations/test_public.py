"""Published images as hospitals, from a small folder made here."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import segread
from PIL import Image
from pydicom import dcmread

from fedrad.errors import DataError, SettingsError
from simulations.public import PublicSpec, write_public

REAL = Path(os.environ.get("FEDRAD_DATA", Path(__file__).parents[3] / "shared" / "data"))
COLUMNS = ("file", "mask", "patient", "site", "label", "view")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve patients with two images each, at two sites, as 8-bit PNG with masks."""
    folder = tmp_path / "source"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for n in range(24):
        image, mask = folder / f"{n}.png", folder / f"{n}_mask.png"
        Image.fromarray(rng.integers(0, 256, (48, 40)).astype(np.uint8)).save(image)
        Image.fromarray(rng.random((48, 40)) > 0.5).save(mask)
        site, label = ("nih", "esp")[n % 2], ("normal", "sick")[n // 12]
        rows.append((image.name, mask.name, f"p{n // 4}", site, label, "AP Supine"))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def images(archive: Path) -> list[Path]:
    return sorted(p for p in archive.rglob("*") if p.is_file() and not p.name.startswith("SEG"))


def test_published_sites_become_hospitals_with_the_same_pixels(
    source: Path, tmp_path: Path
) -> None:
    spec = PublicSpec(truth="labels", view_column="view", positive_label="sick")
    written = write_public(tmp_path / "out", source, spec, seed=1)
    assert [(w.site, w.images, w.patients, w.positives) for w in written] == [
        ("esp", 12, 6, 3),
        ("nih", 12, 6, 3),
    ]
    published = {np.asarray(Image.open(source / f"{n}.png")).tobytes() for n in range(24)}
    for path in (p for w in written for p in images(w.archive)):
        image = dcmread(path)
        assert image.pixel_array.astype(np.uint8).tobytes() in published
        assert (image.ViewPosition, image.BitsStored) == ("AP", 8)


def test_a_patient_dealt_to_virtual_sites_stays_whole(source: Path, tmp_path: Path) -> None:
    spec = PublicSpec(truth="labels", virtual_sites=("a", "b", "c", "d"))
    written = write_public(tmp_path / "out", source, spec, seed=1)
    assert sum(w.images for w in written) == 24
    assert [w.patients for w in written] == [3, 3, 3, 3]
    found = defaultdict(int)
    for path in (p for w in written for p in images(w.archive)):
        found[dcmread(path).PatientID] += 1
    assert sorted(found.values()) == [2] * 12


def test_masks_come_back_as_drawn(source: Path, tmp_path: Path) -> None:
    spec = PublicSpec(truth="masks", keep={"site": ("nih",)}, sites={"nih": "north"})
    (written,) = write_public(tmp_path / "out", source, spec, seed=1)
    masks = {
        np.asarray(Image.open(source / f"{n}.png")).tobytes():
        np.asarray(Image.open(source / f"{n}_mask.png"))
        for n in range(24)
    }  # fmt: skip
    assert (written.site, written.segmentations) == ("north", 12)
    for path in images(written.archive):
        image = dcmread(path)
        drawn = segread(next(path.parent.glob("SEG*")))
        frames = drawn.get_pixels_by_source_instance(
            [image.SOPInstanceUID], ignore_spatial_locations=True
        )
        wanted = masks[image.pixel_array.astype(np.uint8).tobytes()]
        assert np.array_equal(frames[0, :, :, 0], wanted)


def test_what_the_manifest_says_of_the_patient_is_not_written(source: Path, tmp_path: Path) -> None:
    (source / "manifest.csv").write_text(
        (source / "manifest.csv").read_text().replace("p0,", "Publicpatient0,")
    )
    written = write_public(tmp_path / "out", source, PublicSpec(truth="labels"), seed=1)
    content = b"".join(p.read_bytes() for w in written for p in images(w.archive))
    assert b"Publicpatient" not in content


def test_a_missing_folder_manifest_or_column_is_named(source: Path, tmp_path: Path) -> None:
    spec = PublicSpec(truth="labels")
    with pytest.raises(DataError, match=r"nowhere does not exist; give the data's folder"):
        write_public(tmp_path, source / "nowhere", spec, seed=1)
    with pytest.raises(DataError, match=r"manifest\.csv is missing or unreadable"):
        write_public(tmp_path, tmp_path, spec, seed=1)
    with pytest.raises(DataError, match=r"lacks the column finding"):
        write_public(tmp_path, source, PublicSpec(truth="labels", label_column="finding"), seed=1)


def test_a_missing_image_and_an_empty_choice_are_named(source: Path, tmp_path: Path) -> None:
    none = PublicSpec(truth="labels", keep={"site": ("mars",)})
    with pytest.raises(DataError, match=r"none of 24 rows .* \(site in mars\)"):
        write_public(tmp_path / "a", source, none, seed=1)
    (source / "3.png").unlink()
    with pytest.raises(DataError, match=r"3\.png is missing or unreadable"):
        write_public(tmp_path / "b", source, PublicSpec(truth="labels"), seed=1)


def test_a_mask_of_another_size_is_refused(source: Path, tmp_path: Path) -> None:
    Image.new("1", (9, 9)).save(source / "2_mask.png")
    with pytest.raises(DataError, match=r"9 x 9 pixels and its image 48 x 40"):
        write_public(tmp_path / "a", source, PublicSpec(truth="masks"), seed=1)


def test_named_and_virtual_sites_together_are_refused() -> None:
    with pytest.raises(SettingsError, match="not both"):
        PublicSpec(truth="labels", sites={"nih": "a"}, virtual_sites=("a", "b"))


def test_more_virtual_sites_than_patients_are_refused(source: Path, tmp_path: Path) -> None:
    spec = PublicSpec(truth="labels", virtual_sites=tuple(f"s{n}" for n in range(13)))
    with pytest.raises(DataError, match="12 patients cannot be dealt to 13 sites"):
        write_public(tmp_path / "out", source, spec, seed=1)


@pytest.mark.skipif(not (REAL / "cxr_lungs").is_dir(), reason="FEDRAD_DATA has no cxr_lungs")
def test_published_radiographs_become_one_hospital_with_lung_masks(tmp_path: Path) -> None:
    spec = PublicSpec(truth="masks", sites={"eurorad": "east"}, view_column="view")
    (written,) = write_public(tmp_path / "out", REAL / "cxr_lungs", spec, seed=1)
    assert (written.images, written.segmentations, written.patients) == (28, 28, 16)
    shares = [segread(path).pixel_array.mean() for path in written.archive.rglob("SEG*.dcm")]
    assert 0.1 < min(shares) < max(shares) < 0.7
