"""Can this site join this task? On real archives, phantom hospitals among them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import generate_uid
from tiny_study import TinyStudy, copy_study

from fedrad.contract import agreed_patients
from fedrad.task import task_hash, write_task
from simulations.scenario import Limits
from site_client import audit
from site_client.cli import app
from site_client.preflight.check import Check

Said = Callable[[Check, str], str]


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    return int(str(ended.value.code))


def test_a_hospital_that_fits_may_join(
    study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_task(tmp_path / "task.toml", study.task)
    words = ("check", "--home", study.home(), "--task", tmp_path / "task.toml")
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["answer"], found["approved"], found["prepared"]) == ("yes", True, True)
    assert sum(found["patients"]["all"].values()) == 40
    odd = [line["about"] for line in found["lines"] if line["verdict"] != "ok"]
    assert odd == ["patients agreed", "software"]  # signed for 20, there are 19; IT was not asked
    assert run(*words) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Can east join tiny? Yes.\n")
    lines = [line for line in shown.out.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 100
    assert shown.out.endswith(f"{study.home() / 'check.html'}\n")
    assert not (study.home() / "ledger.jsonl").read_bytes()


def test_limits_of_site_toml_alone_are_a_refusal_by_policy(
    hospitals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = Limits(epsilon_limit=0.5, min_patients=1)
    study = copy_study(hospitals, tmp_path / "run", east=strict)
    write_task(tmp_path / "task.toml", study.task)
    assert run("check", "--home", study.home(), "--task", tmp_path / "task.toml") == 4
    assert "epsilon lasts for 0 of the 2 rounds" in " ".join(capsys.readouterr().out.split())


def test_patients_are_counted_by_class_and_split(hospital: Any, said: Said) -> None:
    hospital.fill(30)
    hospital.label(range(24))
    found = hospital.check()
    assert found.exit_code == 0
    counts = {name: sum(splits.values()) for name, splits in found.patients.items()}
    assert counts == {"no": 12, "yes": 12, "all": 24}
    assert said(found, "labels").startswith("ok: 24 of 30 patients with images have a usable label")
    assert [(one.name, one.patients) for one in found.scanners] == [("Acme", 15), ("Bolt", 15)]
    assert [(one.reason, one.files) for one in found.set_aside] == [("no-label", 6)]
    hash_ = task_hash(hospital.task)
    assert said(found, "approval").startswith("warning: the task is not approved yet | once this")
    assert said(found, "software").startswith("warning: the installed software")
    assert hash_ in said(found, "approval")


def test_fewer_patients_than_the_hospital_wants_are_a_no(hospital: Any, said: Said) -> None:
    hospital.fill(5)
    hospital.change("min_patients = 1", "min_patients = 40")
    found = hospital.check()
    assert found.exit_code == 1
    assert [line.about for line in found.lines if line.verdict == "no"] == ["patients to train on"]


def test_the_agreed_number_decides_as_in_a_round(hospital: Any, said: Said) -> None:
    """The guard goes by it, so that no refusal tells the exact number."""
    hospital.fill(26)
    train = hospital.check().patients["all"]["train"]
    agreed = agreed_patients(train)
    assert agreed < train
    hospital.change("min_patients = 1", f"min_patients = {train}")
    assert said(hospital.check(), "patients to train on").startswith(
        f"no: {train}, agreed {agreed}"
    )


def test_drawn_truth_is_counted_by_split(hospital: Any, make_task: Any, said: Said) -> None:
    mask = np.zeros((4, 16, 16), np.uint8)
    mask[2, 3:9, 4:10] = 1
    for number in range(6):
        slices = hospital.site.series(f"P{number}", mask.astype(np.int16) * 100 + number)
        if number:
            hospital.site.mask(slices, mask, f"seg{number}.dcm")
    task = make_task(
        task={"kind": "segmentation"}, data={"modality": "CT", "dimensions": 3},
        labels={"source": "seg", "map": {}}, recipe={"size": [8, 16, 16]},
        training={"loss": "dice"}, evaluation={"metrics": ["dice"]}, analysis={"primary": "dice"},
        privacy={"enabled": True},
    )  # fmt: skip
    write_task(hospital.task_file, task)
    found = hospital.check()
    assert sum(found.patients["with drawn truth"].values()) == 5
    assert said(found, "labels").startswith("ok: 5 of 6 patients with images are drawn on")
    assert [(one.reason, one.files) for one in found.set_aside] == [("no-mask", 4)]


def test_fewer_patients_than_agreed_are_a_warning(study: TinyStudy, said: Said) -> None:
    from fedrad.clock import SystemClock
    from site_client.preflight.check import check_site

    task = study.run / "task.toml"
    write_task(task, study.task)
    files = sorted(study.archive().rglob("*.dcm"))
    for file in files[: len(files) // 2]:
        file.unlink()
    found = check_site(study.home(), task, SystemClock(), say=lambda _: None).check
    assert "warning: " in said(found, "patients agreed")
    assert "ask for a new contract" in said(found, "patients agreed")
    assert found.exit_code == 0


def test_one_picture_in_two_patients_is_found_although_uids_differ(
    hospital: Any, said: Said
) -> None:
    hospital.fill(6)
    first = hospital.site.image("P1", "1.dcm", 501)
    again = {"SOPInstanceUID": generate_uid(), "AccessionNumber": "AP9"}
    hospital.site.image("P9", "9.dcm", 501, **again, StudyInstanceUID=first.StudyInstanceUID)
    hospital.label([*range(6), 9])
    found = hospital.check()
    assert said(found, "duplicates").startswith("warning: 0 UIDs and 1 pictures belong to several")
    (twins,) = found.twins
    assert (twins.images, len(twins.patients)) == (2, 2)
    assert twins.patients[0][:8] in hospital.page()


def test_one_uid_of_two_patients_is_found(hospital: Any, said: Said) -> None:
    hospital.fill(6)
    uid = generate_uid()
    for number in (1, 2):
        hospital.site.image(f"P{number}", f"{number}.dcm", 400 + number, SOPInstanceUID=uid)
    assert "warning: 1 UIDs and 0 pictures" in said(hospital.check(), "duplicates")


def test_objections_and_lines_that_fit_nobody_are_named(hospital: Any, said: Said) -> None:
    hospital.fill(6)
    (hospital.home / "exclude.csv").write_text("PatientID\nP1\nnobody\n")
    with (hospital.home / "site.toml").open("a") as file:
        file.write('[patients]\nexclude = "exclude.csv"\n')
    lists = said(hospital.check(), "lists")
    assert "ok: 1 objected, no include.csv" in lists
    assert "warning: " in lists
    assert "line 3" in lists


def test_a_ledger_that_lost_what_was_told_is_damage(hospital: Any, said: Said) -> None:
    from fedrad.clock import SystemClock

    hospital.fill(6)
    audit.record(hospital.home, SystemClock(), "answered", ledger_head="a" * 64)
    found = hospital.check()
    assert found.exit_code == 5
    assert "no: the ledger lacks the last line" in said(found, "ledger")


def test_a_sealed_cohort_is_checked_as_it_was_sealed(hospital: Any, said: Said) -> None:
    from fedrad.clock import SystemClock
    from site_client.freeze import freeze

    hospital.fill(12)
    freeze(hospital.home, hospital.task_file, SystemClock())
    hospital.site.image("P20", "20.dcm", 900)
    hospital.label([*range(12), 20])
    found = hospital.check()
    assert said(found, "cohort").startswith("ok: sealed at ")
    counts = found.patients["all"]
    assert counts["train"] + counts["audit"] + counts["test"] <= 12
