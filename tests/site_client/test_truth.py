"""Truth drawn on series finds its way from the archive, whatever kind of file holds it."""

import dataclasses
from typing import Any

import nibabel
import numpy as np
import pytest
from drawn import blobs, nifti, structures

from fedrad.errors import LabelError
from site_client.catalogue import update_catalogue
from site_client.cohort import assemble
from site_client.dataset import load_split
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.home import split_key
from site_client.settings import read_site
from site_client.truth import read_truth
from site_client.volumes import read_volume

SHAPE = (6, 16, 16)


@pytest.fixture
def series(site: Any) -> Any:
    """The volume of one CT series in the archive."""
    site.series("P1", np.zeros(SHAPE, np.int16))
    return read_volume(sorted((site.archive / "P1").iterdir()))


def drawn_task(make_task: Any, source: str, **labels: Any) -> Any:
    return make_task(
        task={"kind": "segmentation"},
        data={"modality": "CT", "dimensions": 3},
        labels={"source": source, "map": {}, **labels},
        recipe={"size": [16, 16, 16]},
        training={"loss": "dice"},
        evaluation={"metrics": ["dice"]},
        analysis={"primary": "dice"},
    )


def units(site: Any, task: Any) -> tuple[list[Any], Any]:
    """Every unit of every split, and what the cohort says."""
    settings, names = read_site(site.home), pseudonyms(split_key(site.home))
    admitted = admit(update_catalogue(site.home), task)
    splits = ("train", "audit", "window", "test")
    cohorts = [assemble(admitted, task, split=s, settings=settings, names=names) for s in splits]
    return [u for cohort in cohorts for found in cohort.units.values() for u in found], cohorts[0]


def masks(site: Any, task: Any, series: Any) -> np.ndarray:
    """What the cohort's only unit has drawn on it, in the order of acquisition."""
    (unit,), _ = units(site, task)
    drawn = read_truth([site.archive / file for file in unit.truths], series, task.labels)
    return drawn[:, :, :]


def test_a_structure_set_is_found_by_the_series_that_it_refers_to(
    site: Any, make_task: Any, series: Any
) -> None:
    image = site.archive / "P1/0.dcm"
    site.add(structures(series, {"lesion": blobs(*SHAPE)}, **structures_of(image)), "rt.dcm")
    site.add(structures(series, {"lesion": blobs(*SHAPE)}), "of another.dcm")
    found = masks(site, drawn_task(make_task, "rtstruct"), series)
    assert np.array_equal(found[::-1], blobs(*SHAPE))
    (unit,), _ = units(site, drawn_task(make_task, "rtstruct"))
    assert unit.truths == ("rt.dcm",)
    _, cohort = units(site, drawn_task(make_task, "seg"))
    assert set(cohort.refused["reason"]) == {"no-mask", "wrong-modality"}


def structures_of(image: Any) -> dict[str, Any]:
    """What makes a structure set refer to the series of an image."""
    import pydicom
    from pydicom.dataset import Dataset

    one, study, frame = Dataset(), Dataset(), Dataset()
    one.SeriesInstanceUID = pydicom.dcmread(image).SeriesInstanceUID
    study.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [one], [study]
    return {"ReferencedFrameOfReferenceSequence": [frame]}


def test_a_nifti_mask_is_found_by_the_table(site: Any, make_task: Any, series: Any) -> None:
    nibabel.save(nifti(series, blobs(*SHAPE)), site.archive / "P1/mask.nii.gz")
    table = site.home.parent / "labels.csv"
    table.write_text("accession;mask\nAP1;P1\\mask.nii.gz\nAP1;../../etc/passwd\nAP1;gone.nii\n")
    task = drawn_task(make_task, "nifti")
    assert np.array_equal(masks(site, task, series)[::-1], blobs(*SHAPE))
    assert units(site, task)[1].warnings == ("2 masks of the table are not in the archive",)
    table.write_text("accession;label\nAP1;yes\n")
    with pytest.raises(LabelError, match="lacks the column mask"):
        units(site, task)


@pytest.mark.parametrize("source", ["rtstruct", "nifti"])
def test_a_split_has_the_voxels_and_what_was_drawn_on_them(
    site: Any, make_task: Any, source: str
) -> None:
    """Through workers, cache and recipe: bright voxels are the masked ones."""
    site.settings((site.home / "site.toml").read_text() + "[splits]\ntrain = 1.0\naudit = 0.0\n"
                  "window = 0.0\ntest = 0.0\n")  # fmt: skip
    mask = blobs(8, 16, 16)
    slices = site.series("P1", (mask * 100).astype(np.int16))
    volume = read_volume(sorted((site.archive / "P1").iterdir()))
    stored = mask[::-1]  # in the order of volume.uids
    if source == "rtstruct":
        drawn = structures(volume, {"x": stored}, **structures_of(site.archive / "P1/0.dcm"))
        site.add(drawn, "rt.dcm")
    else:
        nibabel.save(nifti(volume, stored, "LPS"), site.archive / "mask.nii")
        table = site.home.parent / "labels.csv"
        table.write_text(f"series,mask\n{slices[0].SeriesInstanceUID},mask.nii\n")
    task = drawn_task(make_task, source, key="SeriesInstanceUID")
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, size=mask.shape))
    dataset = load_split(site.home, task, "train")
    assert len(dataset) == 1
    record = dataset.record(0)
    assert record.masks is not None
    assert record.masks.sum() == mask.sum()
    assert np.array_equal(record.masks == 1, record.images > record.images.min())
