"""A feasibility record is charged before it exists, noised as charged, and told once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tiny_study import TinyStudy

from fedrad import site_report
from fedrad.clock import SystemClock
from fedrad.contract import agreed_patients
from fedrad.errors import (
    BudgetExceededError,
    DeclinedError,
    LostLinesError,
    NotReadyError,
    PrivacyError,
    SettingsError,
)
from fedrad.feasibility.cells import charged_as, event, layout
from fedrad.feasibility.record import Record, as_bytes, read_record
from fedrad.privacy.accounting import Event, epsilon
from fedrad.privacy.mechanisms import gaussian, noise_source
from fedrad.task import Task, task_hash, write_task
from site_client import audit, sharing
from site_client.cli import app
from site_client.journal import FILE, Journal
from site_client.settings import FILE as SITE_TOML
from site_client.settings import read_site
from site_client.sharing import KEPT, hand_out, kept_record, offer, share, share_again
from site_client.tally import tally
from site_client.touched import as_text, find_touched

CLOCK = SystemClock()


class Hospital:
    """A tiny hospital that approved records at an epsilon."""

    def __init__(self, study: TinyStudy, epsilon: float = 2.0) -> None:
        self.study, self.home = study, study.home()
        self.task = self.home / "state" / "studies" / "tiny-study" / "task.toml"
        self.approve(epsilon)

    def add(self, text: str) -> None:
        path = self.home / SITE_TOML
        path.write_text(path.read_text() + "\n" + text)

    def approve(self, epsilon: float) -> None:
        path = self.home / SITE_TOML
        before = path.read_text().partition("[approval.feasibility]")[0]
        path.write_text(before)
        self.add(f'[approval.feasibility]\n"{task_hash(self.study.task)}" = {epsilon}\n')

    def change(self, key: str, value: float) -> None:
        path = self.home / SITE_TOML
        lines = [
            f"{key} = {value}" if line.startswith(key) else line
            for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines))

    def share(self) -> Record:
        return share(self.home, self.task, CLOCK)

    def share_again(self) -> Record:
        return share_again(self.home, self.task, CLOCK)

    @property
    def lines(self) -> tuple[Any, ...]:
        return Journal(self.home, CLOCK).lines()

    def exact(self) -> np.ndarray:
        found = tally(self.home, read_site(self.home), self.study.task)
        return np.concatenate([block.values for block in found.blocks])


@pytest.fixture
def hospital(study: TinyStudy) -> Hospital:
    return Hospital(study)


def test_the_charge_is_what_was_approved_and_touches_everybody(hospital: Hospital) -> None:
    made = hospital.share()
    (line,) = hospital.lines
    assert (line.stream, line.task_hash) == ("other", charged_as(hospital.study.task))
    assert (line.hash, line.event) == (made.ledger_line, event(made.noise))
    assert line.patients_agreed == 0, "no count leaves with the ledger's lines"
    delta = read_site(hospital.home).privacy.delta_limit
    assert 1.98 < epsilon([line.event], delta) <= 2.0


def test_asked_twice_it_is_the_same_record_and_charged_once(hospital: Hospital) -> None:
    made = hospital.share()
    assert hospital.share() == made == kept_record(hospital.home, hospital.task)
    assert len(hospital.lines) == 1
    again = hospital.share_again()
    assert again.number == 2
    assert not set(again.patients) & set(made.patients), "noise of its own"
    assert len(hospital.lines) == 2
    assert hospital.share() == again


def test_the_charge_is_synced_before_noise_is_drawn(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = noise_source

    def watched() -> np.random.Generator:
        seen.append(len((hospital.home / FILE).read_bytes().splitlines()))
        return real()

    monkeypatch.setattr(sharing, "noise_source", watched)
    hospital.share()
    assert seen == [1]


def test_who_asks_what_left_is_told_of_the_record(hospital: Hospital) -> None:
    """A record counts people and keeps no list of them: it must not look as if nothing left."""
    hospital.share()
    file = next(path for path in hospital.study.archive().rglob("*.dcm"))
    found = find_touched(hospital.home, str(pydicom.dcmread(file).PatientID))
    assert len(found.patients) == len(found.records) == 1
    assert "noised counts of everybody who had an image" in as_text(found)


def test_what_was_charged_and_not_written_stays_charged(hospital: Hospital) -> None:
    """A file stands where the folder should be, so that writing fails."""
    (hospital.home / KEPT).write_text("in the way")
    with pytest.raises(OSError, match="irectory"):
        hospital.share()
    assert len(hospital.lines) == 1
    (hospital.home / KEPT).unlink()
    for ask in (share, offer):
        with pytest.raises(PrivacyError, match="It counts as spent; --again"):
            ask(hospital.home, hospital.task, CLOCK)
    assert hospital.share_again().number == 2
    assert [line.kind for line in hospital.lines] == ["release", "release"]


def step(task: Task, agreed: int, *, rounds: int) -> Event:
    """All private steps of some rounds at a tiny hospital."""
    return Event(
        mechanism="subsampled-gaussian",
        sigma=task.privacy.noise_multiplier or 0.0,
        q=task.training.expected_batch_patients / agreed,
        steps=rounds * task.training.steps,
    )


def residuals(hospital: Hospital, records: int) -> np.ndarray:
    """What was added to the exact counts, in units of what should have been; sound: 1."""
    exact, found = hospital.exact(), []
    for _ in range(records):
        blocks = hospital.share_again().blocks(hospital.study.task)
        values = np.concatenate([block.values for block in blocks])
        sigmas = np.concatenate([np.full(len(block.values), block.sigma) for block in blocks])
        found.append((values - exact) / sigmas)
    return np.concatenate(found)


def judged(noise: np.ndarray) -> bool:
    """Whether noise has the deviation that was charged, within four standard errors."""
    return abs(float(noise.std()) - 1) < 4 / math.sqrt(2 * len(noise))


def test_the_noise_is_as_charged_and_half_of_it_would_be_seen(
    study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital = Hospital(study, epsilon=0.2)
    assert judged(residuals(hospital, 2))

    def halved(values: Any, deviation: float, *, rng: np.random.Generator) -> Any:
        return gaussian(values, deviation / 2, rng=rng)

    monkeypatch.setattr(site_report, "gaussian", halved)
    assert not judged(residuals(hospital, 2))


def test_a_site_that_did_not_approve_shares_nothing(hospital: Hospital, study: TinyStudy) -> None:
    other = study.home("north")
    for ask in (share, share_again, offer):
        with pytest.raises(DeclinedError, match=r"feasibility = \{"):
            ask(other, hospital.task, CLOCK)
    assert not (other / FILE).exists() or not Journal(other, CLOCK).lines()


@pytest.mark.parametrize(
    ("key", "value", "error", "said"),
    [
        ("min_patients", 41, NotReadyError, "patients in train, min_patients is 41"),
        ("min_noise", 90.0, PrivacyError, "under min_noise 90"),
        ("epsilon_limit", 1.5, BudgetExceededError, "over its limit of 1.50"),
        ("delta_limit", 0.05, PrivacyError, "not below 1 / 40 patients"),
    ],
)
def test_the_guard_refuses_before_anything_is_charged(
    hospital: Hospital, key: str, value: float, error: type[Exception], said: str
) -> None:
    text = (hospital.home / SITE_TOML).read_text()
    if key not in text:
        text = text.replace("[privacy]", f"[privacy]\n{key} = 0.0")
        (hospital.home / SITE_TOML).write_text(text)
    hospital.change(key, value)
    with pytest.raises(error, match=said):
        hospital.share()
    assert not hospital.lines
    assert not (hospital.home / KEPT).exists()


def test_an_approval_that_was_withdrawn_holds_the_kept_record_back(hospital: Hospital) -> None:
    hospital.share()
    path = hospital.home / SITE_TOML
    path.write_text(path.read_text().partition("[approval.feasibility]")[0])
    with pytest.raises(DeclinedError, match="is not approved"):
        hospital.share()


def test_records_of_a_task_count_under_its_own_limit(hospital: Hospital) -> None:
    hospital.add("[privacy.per_task]\ntiny = 2.5\n")
    hospital.share()
    with pytest.raises(BudgetExceededError):
        hospital.share_again()


def test_a_ledger_rolled_back_after_sharing_is_found(hospital: Hospital) -> None:
    hospital.share()
    (hospital.home / FILE).unlink()
    with pytest.raises(LostLinesError):
        hospital.share_again()
    assert hospital.study.answer().reason_code == "declined"


def test_a_study_goes_on_after_its_record(hospital: Hospital) -> None:
    """The record is a contract of its own: no reply carries its line."""
    hospital.share()
    reply = hospital.study.answer()
    assert reply.outcome == "done"
    assert {line["stream"] for line in reply.events} == {"train"}


def test_the_offer_says_what_the_guard_would_and_spends_nothing(hospital: Hospital) -> None:
    found = offer(hospital.home, hospital.task, CLOCK)
    assert not hospital.lines
    assert (
        np.concatenate([b.values for b in found.tally.blocks]).tolist() == hospital.exact().tolist()
    )
    whole = next(one for one in found.limits if one.limit == "epsilon_limit")
    assert (whole.before, whole.most) == (0.0, 50.0)
    assert 1.98 < whole.after <= 2.0
    made = hospital.share()
    assert (made.number, made.noise) == (found.number, found.event.multiplier)


def test_nothing_of_a_patient_is_in_the_file(
    site: Any, make_task: Any, site_toml: str, tmp_path: Path
) -> None:
    task = make_task(privacy={"enabled": True, "delta": 1e-5})
    write_task(tmp_path / "task.toml", task)
    site.settings(site_toml + f'[approval.feasibility]\n"{task_hash(task)}" = 0.5\n')
    canaries = ["CANARYID", "CANARY^NAME", "CANARYMAKER", "CANARYVIEW", "CANARYSERIAL"]
    image = site.image(
        "CANARYID", "canaryfile.dcm", PatientName="CANARY^NAME", Manufacturer="CANARYMAKER",
        ViewPosition="CANARYVIEW", DeviceSerialNumber="CANARYSERIAL",
    )  # fmt: skip
    site.label({"ACANARYID": "yes"})
    settings = read_site(site.home)
    if tally(site.home, settings, task).train < 1:
        site.settings(
            (site.home / SITE_TOML).read_text()
            + "[splits]\ntrain = 1.0\naudit = 0.0\nwindow = 0.0\ntest = 0.0\n"
        )
    share(site.home, tmp_path / "task.toml", CLOCK)
    (file,) = (site.home / KEPT).rglob("*.json")
    uids = [str(image.SOPInstanceUID), str(image.StudyInstanceUID), str(image.SeriesInstanceUID)]
    for written in (
        file.read_text(),
        (site.home / audit.NAME).read_text(),
        (site.home / FILE).read_text(),
    ):
        assert not [word for word in [*canaries, *uids] if word.lower() in written.lower()]
    assert "canary" not in str(file).lower()
    assert max(map(abs, read_record(file).patients)) != 1.0


def test_a_record_is_handed_out_where_nothing_else_is(hospital: Hospital, tmp_path: Path) -> None:
    made = hospital.share()
    hand_out(made, tmp_path / "record.json")
    hand_out(made, tmp_path / "record.json")
    assert (tmp_path / "record.json").read_bytes() == as_bytes(made)
    (tmp_path / "other").write_text("a thesis")
    with pytest.raises(SettingsError, match="another file is there"):
        hand_out(made, tmp_path / "other")


def test_the_numbers_follow_the_cells_of_the_task(hospital: Hospital) -> None:
    made = hospital.share()
    assert {name: len(getattr(made, name)) for name in layout(hospital.study.task)} == {
        name: len(cells) for name, cells in layout(hospital.study.task).items()
    }


def test_the_offer_foretells_how_far_the_study_would_get(hospital: Hospital) -> None:
    """A second contract is counted by a filter: what fits alone need not fit beside a record."""
    roomy = offer(hospital.home, hospital.task, CLOCK)
    assert (roomy.study_before.rounds_allowed, roomy.study_after.rounds_allowed) == (2, 2)
    agreed = agreed_patients(roomy.tally.train)
    alone = epsilon([step(hospital.study.task, agreed, rounds=2)], 1e-3)
    hospital.change("epsilon_limit", round(alone * 1.01, 4))
    hospital.approve(alone / 20)
    tight = offer(hospital.home, hospital.task, CLOCK)
    assert tight.study_before.rounds_allowed == 2
    assert tight.study_after.rounds_allowed < 2


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(str(ended.value.code))


def test_a_person_sees_the_price_and_is_asked_before_anything_is_charged(
    hospital: Hospital, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("check", "--home", str(hospital.home), "--task", str(hospital.task))
    file = tmp_path / "east.json"
    assert run(*words, "--share", str(file)) == 1
    said = capsys.readouterr()
    assert "nothing was charged" in said.out
    for part in ("What would leave", "40 PA", "epsilon 2 at delta", "2 of 2 now, 2 of 2 then"):
        assert part in said.err
    assert not hospital.lines
    assert not file.exists()
    assert run(*words, "--share", str(file), "--yes") == 0
    assert "charged once" in capsys.readouterr().out
    assert run(*words, "--share", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out)["charged"] is False
    assert run(*words, "--share", str(file), "--again", "--yes") == 2, "the file is taken"
    assert run(*words, "--yes") == 2
    assert len(hospital.lines) == 1
