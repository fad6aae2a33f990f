"""A predicted mask is a DICOM SEG that validates, lies where it was drawn, and says RESEARCH."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import real_pacs
import torch
from model_run import picture, voxels

from fedrad.released import Released
from site_client.images import read_image
from site_client.masks import read_masks
from site_client.predict.clean import cleaned
from site_client.predict.restore import restored
from site_client.predict.run import Predicted
from site_client.preprocess import prepare_image
from site_client.volumes import read_volume

Run = Callable[[Path, Released], Predicted]
needs_validator = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="missing: dciodvfy (Debian's dicom3tools)"
)


@pytest.fixture
def radiograph(site: Any, write_image: Any) -> Path:
    """A folder with one radiograph."""
    return site.add(write_image(picture(), "P1"), "study/1.dcm").parent


@pytest.fixture
def series(site: Any, write_series: Any) -> Path:
    """A folder with one CT series, whose file names are not its order."""
    for number, one in enumerate(write_series("P1", voxels())):
        site.add(one, f"study/{(number * 5) % 7}.dcm")
    return site.archive / "study"


def answer(model: Released, values: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The mask that the network draws, without any of the code that writes it."""
    prepared = torch.from_numpy(prepare_image(values, spacing, model.task))[None]
    with torch.no_grad():
        share = model.network()(prepared).softmax(1)[0, 1].numpy()
    return cleaned(restored(share, values.shape, spacing, model.task) > 0.5, model.task.output)


def fetched(address: str) -> bytes:
    """What Orthanc answers."""
    with urllib.request.urlopen(address) as answer:  # noqa: S310  # loopback
        return answer.read()


def test_a_radiograph_gets_the_mask_that_the_network_draws(
    radiograph: Path, pixels: Released, run: Run
) -> None:
    found = run(radiograph, pixels)
    [path] = [path for path in found.files if path.suffix == ".dcm"]
    image = read_image(radiograph / "1.dcm")
    wanted = answer(pixels, image.pixels, image.spacing_mm)
    assert 0 < wanted.sum() < wanted.size
    assert np.array_equal(read_masks([path], [image.uid], {})[0].astype(bool), wanted)
    assert found.result.images[0].pixels == int(wanted.sum())


def test_every_object_says_research(radiograph: Path, pixels: Released, run: Run) -> None:
    drawn = pydicom.dcmread(run(radiograph, pixels).files[0])
    assert drawn.SeriesDescription.startswith("RESEARCH - NOT FOR CLINICAL USE")
    assert drawn.ContentQualification == "RESEARCH"
    segment = drawn.SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lung"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == pixels.about.model_digest
    assert (drawn.PatientID, drawn.PatientName) == ("P1", "Nobody^Real")


def test_the_same_prediction_is_the_same_object(
    radiograph: Path, pixels: Released, run: Run, tmp_path: Path
) -> None:
    one = pydicom.dcmread(run(radiograph, pixels).files[0])
    shutil.rmtree(tmp_path / "out")
    two = pydicom.dcmread(run(radiograph, pixels).files[0])
    names = ("SOPInstanceUID", "SeriesInstanceUID", "PixelData")
    assert [one[name].value for name in names] == [two[name].value for name in names]


def test_a_series_gets_its_mask_slice_by_slice(series: Path, volumes: Released, run: Run) -> None:
    found = run(series, volumes)
    drawn = highdicom.seg.segread(found.files[0])
    volume = read_volume(sorted(series.glob("*.dcm")))
    wanted = answer(volumes, volume.voxels, volume.spacing_mm)
    assert 0 < wanted.sum() < wanted.size
    got = drawn.get_volume(combine_segments=True).to_patient_orientation("HPL")
    whole = np.zeros(wanted.shape, bool)
    kept = np.flatnonzero(wanted.any(axis=(1, 2)))  # empty slices are left out at both ends
    whole[kept[0] : kept[-1] + 1] = got.array.astype(bool)
    assert np.array_equal(whole, wanted)
    millilitres = wanted.sum() * 0.7 * 0.7 * 2.5 / 1000
    assert found.result.images[0].volume_ml == pytest.approx(millilitres)


@needs_validator
@pytest.mark.parametrize("kind", ["radiograph", "series"])
def test_the_validator_accepts_what_is_written(
    request: pytest.FixtureRequest, kind: str, run: Run
) -> None:
    model = request.getfixturevalue("pixels" if kind == "radiograph" else "volumes")
    path = run(request.getfixturevalue(kind), model).files[0]
    said = subprocess.run(["dciodvfy", path], check=False, capture_output=True, text=True)
    lines = (said.stdout + said.stderr).splitlines()
    assert [line for line in lines if line.startswith("Error")] == []
    assert "Segmentation" in "".join(lines)


def test_orthanc_stores_and_returns_it_unchanged(
    series: Path, volumes: Released, run: Run, tmp_path: Path
) -> None:
    missing = real_pacs.missing_parts()
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    path = run(series, volumes).files[0]
    with real_pacs.own_network(), real_pacs.orthanc(tmp_path / "orthanc"):
        real_pacs.send([path])
        address = f"http://{real_pacs.HOST}:{real_pacs.WEB_PORT}/instances"
        [name] = json.loads(fetched(address))
        back = fetched(f"{address}/{name}/file")
    (tmp_path / "back.dcm").write_bytes(back)
    sent, returned = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "back.dcm")
    assert returned == sent
    assert returned.PixelData == sent.PixelData
