"""Who objects is out from the next round on, and the site can say what they were in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tiny_study import TinyStudy

from fedrad.clock import SystemClock
from fedrad.errors import DamagedStateError, NotReadyError
from fedrad.parameters import digest
from site_client import audit, rosters
from site_client.catalogue import update_catalogue
from site_client.cli import app
from site_client.dataset import load_split
from site_client.settings import read_site
from site_client.withdrawal import apply_lists, evict

ALL_TRAIN = "[splits]\ntrain = 1.0\naudit = 0.0\nwindow = 0.0\ntest = 0.0\n"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(str(ended.value.code))


def arrays(home: Path) -> set[Path]:
    return set((home / "cache").rglob("*.npy"))


def of_kind(home: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in audit.read(home) if line["kind"] == kind]


@pytest.fixture
def loaded(site: Any, site_toml: str, make_task: Any) -> Any:
    """A site whose three patients are all in train, loaded once; its exclude.csv names P9."""
    site.settings(site_toml + ALL_TRAIN + '[patients]\nexclude = "exclude.csv"\n')
    (site.home / "exclude.csv").write_text("PatientID\nP9\n")
    for number in range(3):
        site.image(f"P{number}", f"{number}.dcm", value=number)
    site.label({f"AP{number}": "yes" for number in range(3)})
    apply(site)
    load_split(site.home, make_task(), "train")
    return site


def apply(site: Any) -> Any:
    return apply_lists(site.home, read_site(site.home), SystemClock())


def exclude(site: Any, *patients: str) -> None:
    (site.home / "exclude.csv").write_text("\n".join(["PatientID", *patients]) + "\n")


def pseudonym(site: Any, patient: str) -> str:
    table = update_catalogue(site.home)
    return str(table.loc[table["file"] == f"{patient[1:]}.dcm", "patient"].iloc[0])


def test_an_objection_deletes_the_cached_arrays_and_logs_a_pseudonym(
    loaded: Any, make_task: Any
) -> None:
    before = arrays(loaded.home)
    exclude(loaded, "P9", "P1")
    changes = apply(loaded)
    assert changes.left == {pseudonym(loaded, "P1"): 1}
    assert len(before - arrays(loaded.home)) == 1
    (line,) = of_kind(loaded.home, "patient-removed")
    assert (line["patient"], line["arrays"]) == (pseudonym(loaded, "P1"), 1)
    assert len(load_split(loaded.home, make_task(), "train")) == 2
    assert apply(loaded).left == {}
    assert len(of_kind(loaded.home, "patient-removed")) == 1


def test_nobody_else_moves_and_who_comes_back_is_where_they_were(
    loaded: Any, make_task: Any
) -> None:
    before = load_split(loaded.home, make_task(), "train")
    images = {record.key: record.images for record in map(before.record, range(3))}
    exclude(loaded, "P9", "P1")
    apply(loaded)
    rest = load_split(loaded.home, make_task(), "train").patients
    assert set(before.patients) - set(rest) == {pseudonym(loaded, "P1")}
    exclude(loaded, "P9")
    assert apply(loaded).returned == (pseudonym(loaded, "P1"),)
    assert [line["patient"] for line in of_kind(loaded.home, "patient-returned")] == [
        pseudonym(loaded, "P1")
    ]
    after = load_split(loaded.home, make_task(), "train")
    assert (after.patients, after.roster) == (before.patients, before.roster)
    for record in map(after.record, range(3)):
        assert np.array_equal(record.images, images[record.key])


def test_an_objection_reaches_arrays_of_files_that_left_the_archive(loaded: Any) -> None:
    (loaded.archive / "1.dcm").unlink()
    update_catalogue(loaded.home)
    exclude(loaded, "P1")
    assert list(apply(loaded).left.values()) == [1]


def test_a_crash_in_between_is_made_good(loaded: Any) -> None:
    """Arrays are deleted and logged before the record forgets whose they were."""
    exclude(loaded, "P1")
    for path in (loaded.home / "state" / "in_use").glob("*.json"):
        kept = path.read_bytes()
        apply(loaded)
        path.write_bytes(kept)  # as if the program had died before writing it
    assert list(apply(loaded).left.values()) == [0]
    assert len(of_kind(loaded.home, "patient-removed")) == 2


def test_a_list_that_lost_all_its_entries_brings_nobody_back(loaded: Any, site_toml: str) -> None:
    exclude(loaded, "P1")
    apply(loaded)
    (loaded.home / "exclude.csv").write_text("")
    with pytest.raises(NotReadyError, match="is empty but had 1 objections; put them back"):
        apply(loaded)
    loaded.settings(site_toml + ALL_TRAIN)
    assert len(apply(loaded).returned) == 1


def test_who_withdraws_a_consent_is_let_go_too(loaded: Any, site_toml: str) -> None:
    loaded.settings(site_toml + ALL_TRAIN + '[patients]\ninclude = "in.txt"\n')
    (loaded.home / "in.txt").write_text("P0\nP2\n")
    assert list(apply(loaded).left) == [pseudonym(loaded, "P1")]


def test_arrays_that_nothing_uses_any_more_are_evicted(loaded: Any, make_task: Any) -> None:
    task = make_task()
    (known,) = rosters.iter_in_use(loaded.home)
    before = arrays(loaded.home)
    assert evict(loaded.home, [known.roster.task_hash]) == 0
    loaded.image("P1", "1.dcm", value=77)  # the file changed: its old array is nobody's
    after = load_split(loaded.home, task, "train")
    assert evict(loaded.home, [known.roster.task_hash]) == 1
    assert len(arrays(loaded.home)) == len(before) == 3
    assert [after.record(index).images.shape for index in range(3)] == [(1, 1, 16, 16)] * 3
    assert evict(loaded.home, []) == 3  # the study is over
    assert not arrays(loaded.home)


def test_a_roster_cannot_be_changed_unseen(loaded: Any) -> None:
    (path,) = (loaded.home / "state" / "rosters").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"split":"train"', b'"split":"audit"'))
    with pytest.raises(DamagedStateError, match="was changed; put the original back"):
        apply(loaded)


def patient_of(study: TinyStudy, split: Any) -> tuple[str, str]:
    """Return the PatientID and the pseudonym of somebody in a split."""
    chosen = load_split(study.home(), study.task, split).patients[0]
    table = update_catalogue(study.home())
    file = table.loc[table["patient"] == chosen, "file"].iloc[0]
    return str(pydicom.dcmread(study.archive() / file).PatientID), chosen


def listing(study: TinyStudy, patient: str) -> None:
    path = study.home() / "site.toml"
    (study.home() / "exclude.csv").write_text(f"PatientID\n{patient}\n")
    path.write_text(path.read_text() + '\n[patients]\nexclude = "exclude.csv"\n')


def test_touched_names_the_models_released_while_a_patient_was_in(
    study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    site, home = study.site(seed=None), study.home()
    patient, name = patient_of(study, "train")
    first = site.answer(study.ask(), study.model)
    listing(study, patient)
    second = site.answer(study.ask(round_number=2), study.model)
    assert (first.outcome, second.outcome) == ("done", "done")
    assert run("touched", patient, "--home", str(home), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["patients"] == [name]
    (release,) = found["releases"]
    assert (release["study"], release["round"]) == ("tiny-study", 1)
    assert release["update_digest"] == first.update_digest
    assert release["model_digest"] == study.ask().model_digest
    assert list(found["removed"]) == [name]
    assert len((home / "ledger.jsonl").read_text().splitlines()) == 4  # charges stay


def test_touched_says_nothing_was_released_and_names_no_patient(
    study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    home = study.home()
    patient, name = patient_of(study, "audit")
    study.site(seed=None).answer(study.ask(), study.model)
    assert run("touched", patient, "--home", str(home)) == 1
    assert capsys.readouterr().out == (
        f"patient {name}\nno answer to a round was released while this patient was in\n"
    )
    assert run("touched", "NOBODY-9", "--home", str(home)) == 1
    assert "NOBODY-9" not in capsys.readouterr().out
    assert patient not in json.dumps(audit.read(home))


def test_figures_and_the_next_model_are_listed(
    study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    site, home = study.site(seed=None), study.home()
    moved = {name: values + 1 for name, values in study.model.items()}
    asked = study.ask("evaluate")
    site.answer(study.ask(), study.model)
    site.answer(asked, study.model)
    ask = replace(study.ask(round_number=2), model_digest=digest(moved))
    assert site.answer(ask, moved).outcome == "done"
    for split, said in (("train", f"next model {ask.model_digest}"), ("audit", "figures of model")):
        assert run("touched", patient_of(study, split)[0], "--home", str(home)) == 0
        assert said in capsys.readouterr().out


def test_a_home_whose_study_goes_on_keeps_no_array_of_the_excluded(study: TinyStudy) -> None:
    site, home = study.site(seed=None), study.home()
    site.answer(study.ask(), study.model)
    patient, name = patient_of(study, "train")
    (used,) = (use for use in rosters.iter_in_use(home) if name in use.arrays)
    listing(study, patient)
    site.answer(study.ask(round_number=2), study.model)
    assert not any((home / "cache" / array).exists() for array in used.arrays[name])
    now = next(use for use in rosters.iter_in_use(home) if use.roster.split == "train")
    assert name not in now.roster.patients
    assert set(now.roster.patients) == set(used.roster.patients) - {name}
