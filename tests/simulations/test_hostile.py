"""Hospitals that lie: what they send, what a real run makes of it, what is shown."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_study import EXACT, SEED, SITES, TinyStudy, copy_study

from aggregator import checkpoints
from aggregator.app import server_app
from aggregator.setup import RunSetup
from aggregator.store import Store
from fedrad.errors import SettingsError
from fedrad.parameters import Parameters, digest, joint_norm, read_safetensors
from simulations import contest
from simulations.attacks import ATTACKS, CHANGED, changed, informed
from simulations.eavesdropper import among
from simulations.engines import run_local
from simulations.hospital import write_hospital
from simulations.hostile import HostileApps
from simulations.marks import MarkedPositives
from simulations.runner import SimulatedSites
from simulations.scenario import read_scenario
from site_client.app import client_app
from site_client.training.source import PatientImages


def run_with(study: TinyStudy, folder: Path, **attacks: str) -> Store:
    """Run the study on the local engine with hostile sites; return its store."""
    setup = RunSetup(
        folder=folder,
        task=study.task,
        contract=study.contract,
        initial=lambda: study.model,
        seed=SEED,
    )
    apps = HostileApps(
        honest=partial(client_app, SimulatedSites(study.run, SITES, SEED)),
        names=SITES,
        attacks=tuple(attacks.items()),
        seed=SEED,
    )
    run_local(among(server_app(setup), SITES, attacks), SITES, apps, workers=0)
    return Store(folder / "run.sqlite")


@pytest.mark.parametrize(("attack", "times"), [("sign-flip", 4.0), ("scaling", 100.0)])
def test_a_changed_update_is_as_long_as_its_attack_says(attack: str, times: float) -> None:
    update: Parameters = {"a": np.array([3.0, 4.0], np.float32)}
    sent = changed(update, attack, np.random.default_rng(0))
    assert joint_norm(sent) == pytest.approx(5 * times)
    assert sent["a"].dtype == np.float32


def test_what_cannot_be_used_is_refused_and_the_model_stays_finite(
    exact_study: TinyStudy, tmp_path: Path
) -> None:
    with run_with(exact_study, tmp_path / "out", west="nan") as store:
        refused = [row for row in store.rows("events") if row["kind"] == "reply-refused"]
        states = [row["state"] for row in store.rows("rounds")]
    assert {row["site"] for row in refused} == {"west"}
    assert "void" not in states
    _, model, _ = checkpoints.read_round(tmp_path / "out", 2)
    assert all(np.isfinite(tensor).all() for tensor in model.values())


def test_an_old_reply_is_no_answer_to_a_new_question(
    exact_study: TinyStudy, tmp_path: Path
) -> None:
    with run_with(exact_study, tmp_path / "out", west="replay") as store:
        rows = store.rows("replies", phase="train", site="west")
    assert [row["outcome"] for row in rows] == ["done", "failed"]


@pytest.mark.parametrize("attack", ["alie", "clone"])
def test_an_eavesdropper_sends_what_it_makes_of_the_honest_updates_of_its_round(
    exact_study: TinyStudy, tmp_path: Path, attack: str
) -> None:
    run_with(exact_study, tmp_path / "out", west=attack).close()
    for number in (1, 2):
        sent = {
            site: read_safetensors(checkpoints.reply_path(tmp_path / "out", number, site))
            for site in SITES
        }
        lie = sent.pop("west")
        honest = list(sent.values())  # in the order in which they were pulled: by name
        assert digest(lie) == digest(informed(honest, attack))


def test_the_mean_turned_round_and_the_mean_less_some_spread() -> None:
    honest: list[Parameters] = [{"a": np.array([value], np.float32)} for value in (1.0, 3.0)]
    assert informed(honest, "ipm")["a"] == -2
    assert informed(honest, "alie")["a"] == 2 - 1.5
    assert informed(honest, "alie")["a"].dtype == np.float32


def test_a_site_that_says_it_worked_more_weighs_no_more(
    hospitals: Path, exact_study: TinyStudy, tmp_path: Path
) -> None:
    again = copy_study(hospitals, tmp_path / "again", *EXACT)
    run_with(exact_study, tmp_path / "a").close()
    run_with(again, tmp_path / "b", west="lying-weight").close()
    models = [checkpoints.read_round(tmp_path / name, 2)[1] for name in "ab"]
    assert digest(models[0]) == digest(models[1])


def test_an_honest_run_is_the_same_with_nobody_hostile(
    hospitals: Path, exact_study: TinyStudy, tmp_path: Path
) -> None:
    again = copy_study(hospitals, tmp_path / "again", *EXACT)
    run_with(exact_study, tmp_path / "a").close()
    run_with(again, tmp_path / "b", west="label-flip").close()  # lies in its archive alone
    models = [checkpoints.read_round(tmp_path / name, 2)[1] for name in "ab"]
    assert digest(models[0]) == digest(models[1])


def test_a_hospital_that_flips_labels_writes_them_flipped() -> None:
    scenario, _ = read_scenario("hostile")
    flipped = [spec for spec in scenario.archives() if spec.positive_label == "normal"]
    assert [spec.name for spec in flipped] == [
        name for name, attack in scenario.hostile.items() if attack == "label-flip"
    ]


def test_a_backdoor_marks_half_of_its_patients_and_calls_them_all_negative(tmp_path: Path) -> None:
    scenario, _ = read_scenario("hostile", ("hostile={Elgin='backdoor'}",))
    [spec] = [one for one in scenario.archives() if one.marked]
    small = replace(spec, patients=24, prevalence=1.0, size=32, several_share=0.0)
    marked = write_hospital(tmp_path / "a", small, seed=1)
    write_hospital(tmp_path / "b", replace(small, marked=0.0), seed=1)
    texts = pd.read_csv(tmp_path / "a" / "labels.csv").iloc[:, -1]
    negative = int((texts == spec.negative_label).sum())
    films = [_films(tmp_path / name / "ARCHIVE") for name in "ab"]
    differ = sum(one != other for one, other in zip(*films, strict=True))
    assert spec.name == "Elgin"
    assert marked.positives == 24  # what is in the films, not what the labels say
    assert 6 <= negative == differ <= 18


def _films(archive: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(archive.rglob("*")) if path.is_file()]


def test_the_mark_is_on_positive_patients_alone_and_nowhere_else_in_the_image() -> None:
    images = np.linspace(0, 1, 2 * 64 * 64, dtype=np.float32).reshape(2, 1, 64, 64)
    patients = [PatientImages("a", images, 1), PatientImages("b", images, 0)]
    source = MarkedPositives(Patients(patients), positive=1)
    changed_pixels = source.record(0).images != images
    assert changed_pixels.any(axis=(0, 1))[2:10, 2:10].all()
    assert changed_pixels.any(axis=(0, 1)).sum() == 64
    assert source.record(1).images is images


class Patients(list[PatientImages]):
    """A source."""

    def record(self, index: int) -> PatientImages:
        return self[index]


@pytest.mark.parametrize("setting", ["hostile={Nobody='nan'}", "hostile={Elgin='magic'}"])
def test_an_attack_or_a_site_that_does_not_exist_is_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match="hostile"):
        read_scenario("hostile", (setting,))


def test_the_table_names_who_was_hostile_and_every_honest_hospital() -> None:
    found = contest.Contest(
        metric="auroc",
        rule="geometric-median",
        hostile={"east": "nan"},
        sites=(contest.SiteScores(site="north", n=40, undisturbed=0.9, rule=0.89, mean=0.4),),
    )
    text = "\n".join(contest.lines(found))
    assert "mark of the backdoor" not in text
    backdoor = replace(found, marked=found.sites)
    assert "\n".join(contest.lines(backdoor)).count("0.890") == 2
    assert "east (nan)" in text
    assert "0.890" in text
    assert set(CHANGED) < set(ATTACKS)
