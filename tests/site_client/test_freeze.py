"""A sealed cohort stays what it was, whatever becomes of the archive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_study import TinyStudy

from fedrad.clock import SystemClock
from fedrad.errors import DamagedStateError, DeclinedError, NotReadyError
from fedrad.task import Task, write_task
from site_client import audit, frozen
from site_client.cli import app
from site_client.dataset import PatientDataset, load_split
from site_client.freeze import freeze
from site_client.patients import SPLITS, Split
from site_client.settings import read_site
from site_client.withdrawal import apply_lists, evict

HALVES = "[splits]\ntrain = 0.5\naudit = 0.0\nwindow = 0.5\ntest = 0.0\n"
PATIENTS = 8


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(str(ended.value.code))


def bits(dataset: PatientDataset) -> dict[str, Any]:
    records = map(dataset.record, range(len(dataset)))
    return {record.key: (record.images.tobytes(), record.label) for record in records}


@pytest.fixture
def task(make_task: Any) -> Task:
    return make_task()  # type: ignore[no-any-return]


@pytest.fixture
def sealed(site: Any, site_toml: str, task: Task) -> Any:
    """A site with eight patients in train and window, sealed."""
    site.settings(site_toml + HALVES)
    for number in range(PATIENTS):
        site.image(f"P{number}", f"{number}.dcm", value=100 + number)
    labels(site, "yes")
    seal(site, task)
    return site


def labels(site: Any, value: str, of: int = 2 * PATIENTS) -> None:
    site.label({f"AP{number}": value for number in range(of)})


def seal(site: Any, task: Task) -> tuple[Any, bool]:
    write_task(site.home / "task.toml", task)
    return freeze(site.home, site.home / "task.toml", SystemClock())


def load(site: Any, task: Task, split: Split = "train") -> PatientDataset:
    return load_split(site.home, task, split)


def of_split(site: Any, task: Task, split: Split) -> list[int]:
    """Return the numbers of the patients of a split, by the value of their pixels."""
    dataset = load(site, task, split)
    values = (dataset.record(index).images[0, 0, 0, 0] for index in range(len(dataset)))
    return sorted(round(float(value) * 4095) - 100 for value in values)


def test_freezing_changes_nothing_of_what_rounds_read(
    site: Any, site_toml: str, task: Task
) -> None:
    site.settings(site_toml + HALVES)
    for number in range(PATIENTS):
        site.image(f"P{number}", f"{number}.dcm", value=100 + number)
    labels(site, "yes")
    before = {split: bits(load(site, task, split)) for split in SPLITS}
    seal(site, task)
    assert {split: bits(load(site, task, split)) for split in SPLITS} == before
    assert sum(map(len, before.values())) == PATIENTS


def test_later_exams_enter_the_window_only(sealed: Any, task: Task) -> None:
    train, window = of_split(sealed, task, "train"), of_split(sealed, task, "window")
    before = bits(load(sealed, task))
    for number in range(PATIENTS, 2 * PATIENTS):  # new patients
        sealed.image(f"P{number}", f"{number}.dcm", value=100 + number)
    for number in range(PATIENTS):  # new exams of known patients
        sealed.image(f"P{number}", f"again {number}.dcm", value=4000)
    assert bits(load(sealed, task)) == before
    now = load(sealed, task, "window")
    images = {len(record.images) for record in map(now.record, range(len(now)))}
    assert images == {1, 2}
    assert set(of_split(sealed, task, "window")) > set(window)
    assert not set(of_split(sealed, task, "window")) & set(train)


def test_a_changed_file_is_used_in_its_frozen_form_while_it_is_cached(
    sealed: Any, task: Task
) -> None:
    before, number = bits(load(sealed, task)), of_split(sealed, task, "train")[0]
    sealed.image(f"P{number}", f"{number}.dcm", value=3000)
    after = load(sealed, task)
    assert bits(after) == before
    assert after.warnings == (
        "1 files changed or went since the freeze; their frozen form is used",
    )


def test_without_its_frozen_form_a_changed_file_is_dropped_and_named(
    sealed: Any, task: Task
) -> None:
    first, second, *rest = of_split(sealed, task, "train")
    sealed.image(f"P{first}", f"{first}.dcm", value=3000)
    (sealed.archive / f"{second}.dcm").unlink()
    shutil.rmtree(sealed.home / "cache")
    assert of_split(sealed, task, "train") == rest
    assert sealed.reasons() == {
        f"{first}.dcm": "changed-since-freeze",
        f"{second}.dcm": "gone-since-freeze",
    }
    assert "2 files changed or went" in load(sealed, task).warnings[0]


def test_a_deleted_cache_costs_time_and_nothing_else(sealed: Any, task: Task) -> None:
    before = {split: bits(load(sealed, task, split)) for split in SPLITS}
    shutil.rmtree(sealed.home / "cache")
    assert {split: bits(load(sealed, task, split)) for split in SPLITS} == before


def test_labels_are_sealed_too(sealed: Any, task: Task) -> None:
    before = bits(load(sealed, task))
    labels(sealed, "no")
    assert bits(load(sealed, task)) == before
    assert {label for _, label in before.values()} == {1}


def test_a_second_freeze_of_the_same_is_no_error_and_of_another_is_refused(
    sealed: Any, task: Task
) -> None:
    assert seal(sealed, task)[1]
    sealed.image("P99", "late.dcm")
    labels(sealed, "yes", of=100)
    with pytest.raises(DeclinedError, match=r"would be another now .*cohort, catalogue, labels"):
        seal(sealed, task)
    assert len(load(sealed, task)) + len(load(sealed, task, "audit")) < PATIENTS + 1


def test_a_revised_task_may_be_sealed_anew(sealed: Any, task: Task, make_task: Any) -> None:
    revised = make_task(training={"steps": 2})
    sealed.image("P99", "late.dcm", value=4000)
    labels(sealed, "yes", of=100)
    found, before = seal(sealed, revised)
    assert not before
    assert sum(len(found.patients(split)) for split in SPLITS) == PATIENTS + 1


def test_who_objects_leaves_a_sealed_cohort_and_returns_to_the_same_place(
    sealed: Any, site_toml: str, task: Task
) -> None:
    before, number = bits(load(sealed, task)), of_split(sealed, task, "train")[0]
    (sealed.home / "out.txt").write_text(f"P{number}\n")
    sealed.settings(site_toml + HALVES + '[patients]\nexclude = "out.txt"\n')
    (gone,) = apply_lists(sealed.home, read_site(sealed.home), SystemClock()).left
    rest = bits(load(sealed, task))
    assert rest == {patient: kept for patient, kept in before.items() if patient != gone}
    sealed.settings(site_toml + HALVES)
    apply_lists(sealed.home, read_site(sealed.home), SystemClock())
    assert bits(load(sealed, task)) == before


def test_the_frozen_form_outlives_eviction_for_other_studies(sealed: Any, task: Task) -> None:
    kept = sorted((sealed.home / "cache").rglob("*.npy"))
    assert evict(sealed.home, ["another study"]) == 0
    assert sorted((sealed.home / "cache").rglob("*.npy")) == kept
    assert len(kept) == PATIENTS


def test_patients_dealt_anew_do_not_meet_a_sealed_cohort(
    sealed: Any, site_toml: str, task: Task
) -> None:
    sealed.settings(site_toml)
    with pytest.raises(DeclinedError, match="is not that of the freeze"):
        load(sealed, task)


def test_a_changed_seal_is_not_believed(sealed: Any, task: Task) -> None:
    (folder,) = (sealed.home / "state" / "frozen").iterdir()
    path = folder / "seal.json"
    path.write_text(path.read_text().replace('"cohort":"', '"cohort":"0'))
    with pytest.raises(DamagedStateError, match="restore the folder from a backup"):
        load(sealed, task)


def test_a_site_of_nobodies_is_not_sealed_for_a_private_task(site: Any, make_task: Any) -> None:
    site.image("UNKNOWN", "x.dcm")
    private = make_task(privacy={"enabled": True, "epsilon": 8.0, "noise_multiplier": 1.5})
    with pytest.raises(NotReadyError, match="belong to no known patient"):
        seal(site, private)


def test_masks_are_sealed_with_their_images(site: Any, site_toml: str, make_task: Any) -> None:
    site.settings(site_toml + HALVES.replace("0.5", "1.0", 1).replace("0.5", "0.0"))
    mask = np.zeros((1, 16, 16), np.uint8)
    mask[0, 2:5, 3:9] = 1
    site.mask([site.image("P1", "x.dcm")], mask, "seg.dcm")
    task = make_task(task={"kind": "segmentation"}, labels={"source": "seg", "map": {}})
    seal(site, task)
    shutil.rmtree(site.archive)
    site.archive.mkdir()
    record = load(site, task).record(0)
    assert np.array_equal(record.masks, mask[None])


def test_the_command_prints_counts_and_digests_and_nobody(
    sealed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(sealed.home / "task.toml")
    assert run("freeze", "--home", str(sealed.home), "--task", path) == 0
    assert "was sealed before, unchanged" in capsys.readouterr().out
    assert run("freeze", "--home", str(sealed.home), "--task", path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["patients"].values()) == found["images"] == PATIENTS
    (line,) = [line for line in audit.read(sealed.home) if line["kind"] == "frozen"]
    assert line["cohort"] == found["digests"]["cohort"]
    written = b"".join(p.read_bytes() for p in (sealed.home / "state").rglob("*") if p.is_file())
    assert b"AP1" not in written
    sealed.image("P99", "late.dcm")
    labels(sealed, "yes", of=100)
    assert run("freeze", "--home", str(sealed.home), "--task", path) == 4


@pytest.mark.long
def test_a_round_of_a_sealed_study_gives_the_same_bits(study: TinyStudy, tmp_path: Path) -> None:
    write_task(tmp_path / "task.toml", study.task)
    freeze(study.home("east"), tmp_path / "task.toml", SystemClock())
    shutil.copytree(study.home("east").parent, tmp_path / "east")
    sealed = study.answer().update_digest
    shutil.rmtree(study.home("east").parent)
    shutil.copytree(tmp_path / "east", study.home("east").parent)
    shutil.rmtree(study.home("east") / "state" / "frozen")
    assert study.answer().update_digest == sealed != ""


def test_a_file_that_cannot_be_read_now_counts_as_changed(tmp_path: Path) -> None:
    assert frozen._digest_now(tmp_path) == frozen._digest_now(tmp_path / "gone") == ""
