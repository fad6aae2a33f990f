"""From files on disk to patients with arrays."""

import math
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydicom.uid import JPEG2000Lossless

from fedrad.clock import SystemClock
from fedrad.errors import ArchiveError, DamagedStateError, DataError, RunError
from site_client.catalogue import update_catalogue
from site_client.cohort import assemble
from site_client.dataset import PatientDataset, load_split
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.home import split_key
from site_client.preparation import Preparation
from site_client.settings import read_site
from site_client.withdrawal import apply_lists

ALL_TRAIN = "[splits]\ntrain = 1.0\naudit = 0.0\nwindow = 0.0\ntest = 0.0\n"


@pytest.fixture(autouse=True)
def _everybody_trains(site: Any, site_toml: str) -> None:
    site.settings(site_toml + ALL_TRAIN)


def records(dataset: PatientDataset) -> list[Any]:
    return [dataset.record(index) for index in range(len(dataset))]


def test_patients_come_with_their_images_and_their_label(site: Any, make_task: Any) -> None:
    for number in range(3):
        site.image("P1", f"a{number}.dcm", 4095)
    site.image("P2", "b.dcm", 0)
    site.label({"AP1": "yes", "AP2": "no"})
    dataset = load_split(site.home, make_task(), "train")
    found = {record.label: record.images for record in records(dataset)}
    assert found[1].shape == (3, 1, 16, 16)
    assert found[1].dtype == np.float32
    assert (found[1].min(), found[0].max()) == (1.0, 0.0)
    assert list(dataset.patients) == sorted(dataset.labels)


def test_one_changed_pixel_on_disk_changes_the_array(
    site: Any, make_task: Any, write_image: Any
) -> None:
    pixels = np.zeros((16, 16), np.uint16)
    site.add(write_image(pixels, "P1"), "x.dcm")
    site.label({"AP1": "yes"})
    before = load_split(site.home, make_task(), "train").record(0).images
    pixels[3, 4] = 4095
    site.add(write_image(pixels, "P1"), "x.dcm")
    after = load_split(site.home, make_task(), "train").record(0).images
    assert np.argwhere(before != after).tolist() == [[0, 0, 3, 4]]


def test_the_second_load_prepares_nothing_anew(site: Any, make_task: Any) -> None:
    site.image("P1", "x.dcm")
    site.label({"AP1": "yes"})
    load_split(site.home, make_task(), "train")
    times = {path: path.stat().st_mtime_ns for path in (site.home / "cache").rglob("*.npy")}
    load_split(site.home, make_task(), "train")
    assert len(times) == 1
    assert {p: p.stat().st_mtime_ns for p in (site.home / "cache").rglob("*.npy")} == times


def test_the_cache_takes_no_more_than_it_may(site: Any, make_task: Any, site_toml: str) -> None:
    for number in range(5):
        site.image(f"P{number}", f"{number}.dcm")
    site.label({f"AP{number}": "yes" for number in range(5)})
    (one,) = {math.prod(make_task().recipe.size) * 4}
    site.settings(f"{site_toml}{ALL_TRAIN}[resources]\ndisk_gib = {3.5 * one / 2**30}\n")
    with pytest.raises(RunError, match="disk_gib = .* raise it in site.toml, or delete the folder"):
        load_split(site.home, make_task(), "train")
    assert len(list((site.home / "cache").rglob("*.npy"))) == 3
    site.settings(site_toml + ALL_TRAIN)
    assert len(load_split(site.home, make_task(), "train")) == 5


def test_a_patient_has_at_most_the_agreed_number_of_images(site: Any, make_task: Any) -> None:
    for number in range(9):
        site.image("P1", f"{number}.dcm", number * 100)
    site.label({"AP1": "yes"})
    dataset = load_split(site.home, make_task(), "train")
    first = dataset.record(0).images
    assert len(first) == 4
    said = "1 patients have more than max_images_per_patient = 4 images; 5 of their images are"
    assert any(line.startswith(said) for line in dataset.warnings)
    for number in range(9):
        (site.archive / f"{number}.dcm").rename(site.archive / f"{9 - number} renamed.dcm")
    assert np.array_equal(load_split(site.home, make_task(), "train").record(0).images, first)


def test_a_patient_with_ten_thousand_images_gives_the_agreed_number_and_is_named(
    site: Any, make_task: Any
) -> None:
    site.image("P1", "x.dcm")
    site.label({"AP1": "yes"})
    task, settings, catalogue = make_task(), read_site(site.home), update_catalogue(site.home)
    names = pseudonyms(split_key(site.home))
    admitted = admit(catalogue, task)
    many = pd.concat([admitted.images] * 10_000, ignore_index=True)
    many = many.assign(instance=[f"{n:08x}" for n in range(len(many))])
    cohort = assemble(
        replace(admitted, images=many), task, split="train", settings=settings, names=names
    )
    assert [len(units) for units in cohort.units.values()] == [10_000]
    assert "9996 of their images are not used" in cohort.warnings[-1]
    used = Preparation(site.home, site.archive, task, catalogue, names=names).patients(cohort)
    assert [len(files.images) for files in used.values()] == [4]


def test_pixels_that_do_not_decode_go_to_quarantine_and_the_next_image_is_used(
    site: Any, make_task: Any
) -> None:
    for number in range(5):
        site.image("P1", f"{number}.dcm")
    broken = site.image("P2", "broken.dcm")
    broken.BitsAllocated = 12
    site.add(broken, "broken.dcm")
    site.label({"AP1": "yes", "AP2": "no"})
    for _ in range(2):  # the second time from the cache
        dataset = load_split(site.home, make_task(), "train")
        assert len(dataset) == 1
        assert site.reasons() == {"broken.dcm": "pixels-unreadable"}


def test_splits_are_disjoint_and_together_everybody(
    site: Any, make_task: Any, site_toml: str
) -> None:
    site.settings(site_toml)
    for number in range(40):
        site.image(f"P{number}", f"{number}.dcm")
    site.label({f"AP{number}": "yes" for number in range(40)})
    splits = ("train", "audit", "window", "test")
    found = [load_split(site.home, make_task(), split).patients for split in splits]
    assert sum(map(len, found)) == len(set().union(*found)) == 40


def test_a_site_with_one_class_trains_and_says_so(site: Any, make_task: Any) -> None:
    site.image("P1", "x.dcm")
    site.label({"AP1": "yes", "other": "no"})
    dataset = load_split(site.home, make_task(), "train")
    assert len(dataset) == 1
    assert any("of one class" in line for line in dataset.warnings)
    assert any(line.startswith("1 labels name studies") for line in dataset.warnings)


def test_an_archive_without_a_suitable_image_says_what_it_found(site: Any, make_task: Any) -> None:
    with pytest.raises(DataError, match="no readable image at all"):
        load_split(site.home, make_task(), "train")
    site.image("P1", "x.dcm", Modality="MR")
    with pytest.raises(DataError, match=r"no image .* suits the task 'demo' \(1 wrong-modality\)"):
        load_split(site.home, make_task(), "train")
    shutil.rmtree(site.archive)
    with pytest.raises(ArchiveError, match="not a folder"):
        load_split(site.home, make_task(), "train")


def test_a_damaged_cache_is_named(site: Any, make_task: Any) -> None:
    site.image("P1", "x.dcm")
    site.label({"AP1": "yes"})
    dataset = load_split(site.home, make_task(), "train")
    next((site.home / "cache").rglob("*.npy")).write_bytes(b"")
    with pytest.raises(DamagedStateError, match="delete the folder, it fills again"):
        dataset.record(0)


def test_a_patient_who_is_let_go_by_another_command_ends_the_round_with_a_true_sentence(
    site: Any, make_task: Any, site_toml: str
) -> None:
    site.image("P1", "1.dcm")
    site.image("P2", "2.dcm")
    site.label({"AP1": "yes", "AP2": "no"})
    dataset = load_split(site.home, make_task(), "train")
    (site.home / "exclude.csv").write_text("PatientID\nP1\n")
    site.settings(f'{site_toml}{ALL_TRAIN}[patients]\nexclude = "exclude.csv"\n')
    assert apply_lists(site.home, read_site(site.home), SystemClock()).left
    with pytest.raises(DamagedStateError, match="another command let a patient go"):
        [dataset.record(index) for index in range(2)]
    again = load_split(site.home, make_task(), "train")
    assert [len(again), again.record(0).label] == [1, 0]


def test_segmentation_records_carry_masks_and_images_without_truth_stay_out(
    site: Any, make_task: Any
) -> None:
    image = site.image("P1", "x.dcm")
    site.image("P2", "y.dcm")
    mask = np.zeros((1, 16, 16), np.uint8)
    mask[0, 2:5, 3:9] = 1
    site.mask([image], mask, "seg.dcm")
    task = make_task(task={"kind": "segmentation"}, labels={"source": "seg", "map": {}})
    dataset = load_split(site.home, task, "train")
    record = dataset.record(0)
    assert record.label is None
    assert np.array_equal(record.masks, mask[None])
    assert site.reasons() == {"y.dcm": "no-mask"}


def test_a_series_becomes_one_volume_with_its_mask(site: Any, make_task: Any) -> None:
    mask = np.zeros((16, 16, 16), np.uint8)
    mask[4:9, 2:6, 3:8] = 1
    voxels = (mask.astype(np.int16) * 1500 - 1350).astype(np.int16)
    site.mask(site.series("P1", voxels), mask, "seg.dcm")
    site.series("P2", voxels[:1])
    task = make_task(
        task={"kind": "segmentation"},
        data={"modality": "CT", "dimensions": 3},
        labels={"source": "seg", "map": {"lesion": 1}},
        recipe={"size": [16, 16, 16], "intensity": {"kind": "window", "constants": "ct-lung-1"}},
    )
    record = load_split(site.home, task, "train").record(0)
    assert record.images.shape == (1, 1, 16, 16, 16)
    assert np.array_equal(record.masks[0, 0], mask)
    assert np.array_equal(record.images[0, 0], mask)


def test_a_dataset_larger_than_its_memory_share_is_read_from_disk(
    site: Any, make_task: Any, site_toml: str
) -> None:
    site.settings(site_toml + ALL_TRAIN + "[resources]\nmemory_gib = 1e-7\n")
    site.image("P1", "x.dcm")
    site.label({"AP1": "yes"})
    dataset = load_split(site.home, make_task(), "train")
    first, second = dataset.record(0), dataset.record(0)
    assert first.images is not second.images
    assert np.array_equal(first.images, second.images)


def test_a_unit_that_ends_its_worker_is_set_aside_and_not_tried_again_under_the_same_limits(
    site: Any, make_task: Any, site_toml: str, write_image: Any
) -> None:
    """A limit of time stands for whatever a decoder does for ever; others go on."""
    noise = np.random.default_rng(0).integers(0, 4096, (1024, 1024), np.uint16)
    file = write_image(noise, "P1")
    file.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    site.add(file, "slow.dcm")
    site.image("P2", "quick.dcm")
    site.label({"AP1": "yes", "AP2": "no"})
    slow = "[reading]\nseconds = 0.05\nseconds_per_20_megapixels = 0.001\n"
    site.settings(site_toml + ALL_TRAIN + slow)
    for _ in range(2):
        assert len(load_split(site.home, make_task(), "train")) == 1
        assert site.reasons() == {"slow.dcm": "too-slow"}
    site.settings(site_toml + ALL_TRAIN)
    assert len(load_split(site.home, make_task(), "train")) == 2
