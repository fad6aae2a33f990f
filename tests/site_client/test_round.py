"""One site's round on real archives: what changes an answer, what prevents one, what it costs."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from tiny_study import EXACT, SITES, TinyStudy, copy_study, sign_study, tiny_task

from fedrad.errors import LedgerError
from fedrad.parameters import digest
from fedrad.privacy.ledger import parse_line, spent
from fedrad.task import task_hash
from simulations.scenario import Limits
from site_client import audit
from site_client.budget import read_budget
from site_client.budget_screen import as_text
from site_client.dataset import load_split
from site_client.settings import read_site
from site_client.study import CHARGED, TASK, study_folder

DEADLY = ("training.optimiser.rate=3e38", "privacy.max_grad_norm=1e3")


def ledger(study: TinyStudy, site: str = "east") -> list:
    path = study.home(site) / "ledger.jsonl"
    return [parse_line(line) for line in path.read_text().splitlines()] if path.exists() else []


def last_note(study: TinyStudy, site: str = "east") -> dict:
    return audit.read(study.home(site))[-1]


def images(study: TinyStudy, site: str = "east") -> list[Path]:
    return sorted(path for path in study.archive(site).rglob("*") if path.is_file())


def change_a_pixel(path: Path) -> None:
    """Turn one pixel of an uncompressed file over."""
    file = pydicom.dcmread(path)
    pixels = file.pixel_array.copy()
    pixels[32, 32] = pixels.max() - pixels[32, 32]
    file.PixelData = pixels.tobytes()
    file.save_as(path)


def training_image(study: TinyStudy, site: str = "east") -> Path:
    """Return the file of a patient whom the site trains on."""
    train = load_split(study.home(site), study.task, "train").patients
    catalogue = pd.read_parquet(study.home(site) / "catalogue.parquet")
    return study.archive(site) / catalogue[catalogue["patient"] == train[0]]["file"].iloc[0]


def write_labels(study: TinyStudy, rows: list[dict[str, str]], site: str = "east") -> None:
    path = study.archive(site).parent / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["StudyInstanceUID", "AccessionNumber", "label"])
        writer.writeheader()
        writer.writerows(rows)


def labels(study: TinyStudy, site: str = "east") -> list[dict[str, str]]:
    with (study.archive(site).parent / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_same_site_asked_afresh_gives_the_same_bits(hospitals: Path, tmp_path: Path) -> None:
    updates = [copy_study(hospitals, tmp_path / name).answer().update_digest for name in "ab"]
    assert updates[0] == updates[1] != ""


def test_one_pixel_of_one_file_changes_the_update(hospitals: Path, tmp_path: Path) -> None:
    """Every training patient is in the batch, so that the change cannot be missed."""
    settings = ("training.expected_batch_patients=20",)
    before = copy_study(hospitals, tmp_path / "a", *settings)
    after = copy_study(hospitals, tmp_path / "b", *settings)
    change_a_pixel(training_image(after))
    assert before.answer().update_digest != after.answer().update_digest


def test_a_deleted_archive_makes_the_site_abstain_and_nobody_else(study: TinyStudy) -> None:
    shutil.rmtree(study.archive("east"))
    replies = {site: study.answer(site) for site in SITES}
    assert (replies["east"].outcome, replies["east"].reason_code) == ("abstained", "not-ready")
    assert {replies[site].outcome for site in SITES[1:]} == {"done"}
    assert ledger(study, "east") == []


def test_a_warm_site_notices_that_its_archive_is_gone(study: TinyStudy) -> None:
    site = study.site()
    assert site.answer(study.ask(), study.model).outcome == "done"
    shutil.rmtree(study.archive())
    assert site.answer(study.ask(round_number=2), study.model).reason_code == "not-ready"


def test_a_patient_who_withdraws_is_out_of_the_next_round_of_a_warm_site(study: TinyStudy) -> None:
    site, home = study.site(), study.home()
    site.answer(study.ask(), study.model)
    everybody = {str(pydicom.dcmread(p, stop_before_pixels=True).PatientID) for p in images(study)}
    (home / "exclude.txt").write_text("\n".join(sorted(everybody)))
    settings = (home / "site.toml").read_text() + '\n[patients]\nexclude = "exclude.txt"\n'
    (home / "site.toml").write_text(settings)
    reply = site.answer(study.ask(round_number=2), study.model)
    assert (reply.outcome, reply.reason_code) == ("abstained", "not-ready")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("no table", "labels .* cannot be read"),
        ("no rows", "has no row whose label is one of normal, nodule"),
        ("foreign keys", "no image has a label"),
        ("no image", "no image of the archive suits|no readable image"),
        ("corrupt", "no image of the archive suits"),
    ],
)
def test_unusable_data_is_not_ready_on_the_wire_and_a_sentence_at_home(
    study: TinyStudy, spoil: str, sentence: str
) -> None:
    rows = labels(study)
    if spoil == "no table":
        (study.archive().parent / "labels.csv").unlink()
    elif spoil in ("no rows", "foreign keys"):
        foreign = [row | {"AccessionNumber": f"X{i}"} for i, row in enumerate(rows)]
        write_labels(study, [] if spoil == "no rows" else foreign)
    for path in images(study) if spoil in ("no image", "corrupt") else []:
        path.unlink() if spoil == "no image" else path.write_bytes(path.read_bytes()[:150])
    reply = study.answer()
    assert (reply.outcome, reply.reason_code, reply.update) == ("abstained", "not-ready", {})
    assert re.search(sentence, last_note(study)["sentence"])
    assert ledger(study) == []


def test_a_site_with_one_class_trains_and_reports_without_an_auroc(
    exact_study: TinyStudy,
) -> None:
    write_labels(exact_study, [row | {"label": "normal"} for row in labels(exact_study)])
    assert exact_study.answer().outcome == "done"
    site = exact_study.site()
    reply = site.answer(exact_study.ask("evaluate"), exact_study.model)
    blocks = {block.name: block.values for block in reply.blocks}
    assert np.isnan(blocks["exact"]).all()
    again = exact_study.site().answer(exact_study.ask("evaluate"), exact_study.model)
    assert np.isnan({block.name: block.values for block in again.blocks}["exact"]).all()


def test_a_few_patients_are_too_few_for_an_exact_round_of_a_site_that_wants_ten(
    hospitals: Path, tmp_path: Path
) -> None:
    study = copy_study(hospitals, tmp_path / "run", *EXACT, east=Limits(min_patients=10))
    write_labels(study, labels(study)[:4])
    reply = study.answer()
    assert (reply.outcome, reply.reason_code) == ("abstained", "not-ready")
    assert "min_patients is 10" in last_note(study)["sentence"]


@pytest.mark.parametrize("phase", ["train", "evaluate"])
@pytest.mark.parametrize("split", ["train", "audit", "test"])
def test_a_private_answer_does_not_depend_on_the_number_of_patients(
    study: TinyStudy, phase: str, split: str
) -> None:
    """One labelled patient, so that at least one of the splits that are read is empty."""
    kept = load_split(study.home(), study.task, split).patients[0]
    catalogue = pd.read_parquet(study.home() / "catalogue.parquet")
    file = catalogue[catalogue["patient"] == kept]["file"].iloc[0]
    accession = str(pydicom.dcmread(study.archive() / file).AccessionNumber)
    write_labels(study, [row for row in labels(study) if row["AccessionNumber"] == accession])
    reply = study.answer(phase=phase)
    assert reply.outcome == "done"
    assert all(np.isfinite(tensor).all() for tensor in reply.update.values())
    assert all(np.isfinite(block.values).all() for block in reply.blocks)


def test_a_model_that_fails_on_patients_does_not_show_it_in_the_outcome(
    study: TinyStudy, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights that overflow in the network make every score NaN."""
    model = {name: np.full_like(tensor, 3e38) for name, tensor in study.model.items()}
    site = study.site()
    report = site.answer(study.ask("evaluate", model_digest=digest(model)), model)
    assert report.outcome == "done"
    assert all(np.isfinite(block.values).all() for block in report.blocks)
    assert "scores not finite" in caplog.text


def test_gradients_that_are_not_finite_are_counted_on_the_sites_own_screen(
    study: TinyStudy,
) -> None:
    model = {name: np.full_like(tensor, 1e30) for name, tensor in study.model.items()}
    reply = study.site().answer(study.ask("train", model_digest=digest(model)), model)
    assert reply.outcome == "done"
    (warning,) = (note for note in audit.read(study.home()) if note["kind"] == "warning")
    assert "gradients of patients were not finite and were left out" in warning["sentence"]
    budget = read_budget(study.home(), read_site(study.home()))
    assert budget.warnings == (f"{warning['time']}: {warning['sentence']}",)
    assert warning["sentence"][:40] in as_text(budget)


@pytest.mark.parametrize("name", ["elsewhere", "../../../etc", "a/b", "", ".", "x" * 101, "a\n"])
def test_a_study_that_was_never_accepted_is_declined(study: TinyStudy, name: str) -> None:
    reply = study.site().answer(study.ask(study=name), study.model)
    assert (reply.outcome, reply.reason_code, reply.update) == ("refused", "declined", {})
    assert ledger(study) == []


def test_a_task_that_site_toml_does_not_name_is_declined(study: TinyStudy) -> None:
    path = study.home() / "site.toml"
    path.write_text(path.read_text().replace(task_hash(study.task), "0" * 64))
    reply = study.answer()
    assert (reply.outcome, reply.reason_code) == ("refused", "declined")
    assert "not in [approval] studies" in last_note(study)["sentence"]


def test_a_contract_for_another_task_is_declined(study: TinyStudy) -> None:
    path = study_folder(study.home(), "tiny-study") / "contract.json"
    path.write_text(path.read_text().replace(task_hash(study.task), "0" * 64))
    reply = study.answer()
    assert (reply.outcome, reply.reason_code) == ("refused", "contract-changed")
    assert ledger(study) == []


def test_a_request_for_another_task_is_declined(study: TinyStudy) -> None:
    reply = study.site().answer(study.ask(task_hash="0" * 64), study.model)
    assert (reply.outcome, reply.reason_code) == ("refused", "contract-changed")


def test_a_contract_that_does_not_name_the_site_is_declined(study: TinyStudy) -> None:
    path = study_folder(study.home(), "tiny-study") / "contract.json"
    path.write_text(path.read_text().replace('"east"', '"yonder"'))
    assert study.answer().reason_code == "declined"


def test_a_spent_budget_is_one_word_on_the_wire_and_numbers_at_home(
    hospitals: Path, tmp_path: Path
) -> None:
    study = copy_study(hospitals, tmp_path / "run", east=Limits(epsilon_limit=0.01, min_patients=1))
    reply = study.answer()
    assert (reply.outcome, reply.reason_code, reply.events) == ("refused", "budget", ())
    assert "over its limit of 0.01" in last_note(study)["sentence"]
    assert ledger(study) == []


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_a_hospital_refuses_what_is_not_private(exact_study: TinyStudy, phase: str) -> None:
    site = exact_study.site(seed=None)
    reply = site.answer(exact_study.ask(phase), exact_study.model)
    assert (reply.outcome, reply.reason_code) == ("refused", "declined")
    assert reply.update == {}
    assert reply.blocks == ()
    assert "only a simulation may run it" in last_note(exact_study)["sentence"]
    assert ledger(exact_study) == []


def test_a_private_round_is_one_reservation_and_one_commit(study: TinyStudy) -> None:
    reply = study.answer()
    lines = ledger(study)
    assert [line.kind for line in lines] == ["reserve", "commit"]
    assert {line.reservation for line in lines} == {reply.reply_id}
    assert [event["hash"] for event in reply.events] == [line.hash for line in lines]
    assert reply.ledger_head == lines[-1].hash
    assert (lines[0].sigma, lines[0].q, lines[0].steps) == (1.5, 8 / 20, 2)


def test_a_private_report_is_one_release(study: TinyStudy) -> None:
    reply = study.answer(phase="evaluate")
    (line,) = ledger(study)
    assert (line.kind, line.stream, line.q) == ("release", "audit", 1.0)
    assert line.sigma == study.contract.sites["east"].audit_sigma
    assert all(block.sigma > 0 for block in reply.blocks)


def test_training_that_dies_was_charged_before_and_stays_charged(
    hospitals: Path, tmp_path: Path
) -> None:
    """Steps beyond what float32 can hold make the weights infinite."""
    study = copy_study(hospitals, tmp_path / "run", *DEADLY)
    reply = study.answer()
    (line,) = ledger(study)
    assert (reply.outcome, reply.reason_code, reply.update) == ("failed", "failed", {})
    assert line.kind == "reserve"
    assert [event.steps for event in spent([line])["train"]] == [2]
    assert [event["hash"] for event in reply.events] == [line.hash]
    assert reply.ledger_head == line.hash


def test_what_cannot_train_is_refused_before_it_is_charged(hospitals: Path, tmp_path: Path) -> None:
    study = copy_study(hospitals, tmp_path / "run", 'recipe.augment=["nonsense"]')
    assert study.answer().outcome == "failed"
    assert ledger(study) == []


def test_a_ledger_that_was_deleted_is_missed_at_home_without_any_anchor(study: TinyStudy) -> None:
    study.answer()
    (study.home() / "ledger.jsonl").unlink()
    for _ in range(2):
        reply = study.answer(round_number=2)
        assert (reply.outcome, reply.reason_code) == ("refused", "declined")
    assert "deleted or rolled back" in last_note(study)["sentence"]
    with pytest.raises(LedgerError, match="deleted or rolled back"):
        read_budget(study.home(), read_site(study.home()))


def test_a_cohort_below_the_minimum_is_named_at_home_and_nowhere_else(study: TinyStudy) -> None:
    """The agreed number is rounded up: one patient more than there are."""
    there = len(load_split(study.home(), study.task, "train"))
    agreed = study.contract.sites["east"].patients_agreed
    assert there < agreed
    settings = study.home() / "site.toml"
    text = re.sub(r"min_patients = \d+", f"min_patients = {agreed}", settings.read_text())
    settings.write_text(text)
    reply = study.answer()
    assert reply.outcome == "done"
    sentences = [note.get("sentence", "") for note in audit.read(study.home())]
    assert any(f"there are {there}, min_patients is {agreed}" in line for line in sentences)


def test_a_second_try_after_a_death_is_charged_again(hospitals: Path, tmp_path: Path) -> None:
    study = copy_study(hospitals, tmp_path / "run", *DEADLY)
    study.answer()
    study.answer()
    assert [line.reservation.partition("#")[2] for line in ledger(study)] == ["", "2"]


@pytest.mark.parametrize("spoil", ["shape", "nan", "digest"])
def test_a_model_that_cannot_be_used_costs_nothing(study: TinyStudy, spoil: str) -> None:
    model = study.model
    name = next(iter(model))
    model[name] = model[name][:1] if spoil == "shape" else np.full_like(model[name], np.nan)
    wanted = "0" * 64 if spoil == "digest" else digest(model)
    reply = study.site().answer(study.ask(model_digest=wanted), model)
    assert (reply.outcome, reply.reason_code) == ("failed", "failed")
    assert ledger(study) == []


def test_a_network_that_cannot_be_built_costs_nothing(hospitals: Path, tmp_path: Path) -> None:
    study = copy_study(hospitals, tmp_path / "run")
    task = tiny_task("model.name=unheard_of")
    settings = study.home() / "site.toml"
    settings.write_text(settings.read_text().replace(task_hash(study.task), task_hash(task)))
    folder = study_folder(study.home(), "tiny-study")
    for path in (folder / TASK, folder / "contract.json"):
        text = path.read_text().replace(task_hash(study.task), task_hash(task))
        path.write_text(text.replace('"filter_bank_cnn"', '"unheard_of"'))
    reply = study.site().answer(study.ask(task_hash=task_hash(task)), study.model)
    assert reply.outcome == "failed"
    assert "unheard_of" in last_note(study)["sentence"]
    assert ledger(study) == []


def test_the_same_question_gets_the_kept_reply_and_is_charged_once(study: TinyStudy) -> None:
    first, again = study.answer(), study.answer()
    assert again.update_digest == first.update_digest == digest(again.update)
    assert again.events == first.events
    assert len(ledger(study)) == 2
    assert last_note(study)["kind"] == "sent again"


def test_a_kept_reply_is_not_sent_again_once_the_approval_is_gone(study: TinyStudy) -> None:
    study.answer()
    path = study.home() / "site.toml"
    path.write_text(path.read_text().replace(task_hash(study.task), "0" * 64))
    reply = study.answer()
    assert (reply.outcome, reply.reason_code, reply.update) == ("refused", "declined", {})
    assert reply.events == ()


def test_a_query_leaves_the_kept_replies_alone(study: TinyStudy) -> None:
    first = study.answer()
    study.site().answer(study.ask("query", round_number=5), {})
    assert study.answer().update_digest == first.update_digest
    assert last_note(study)["kind"] == "sent again"


def test_a_reply_tells_every_line_since_the_anchor_so_lost_ones_are_told(study: TinyStudy) -> None:
    site = study.site()
    first = site.answer(study.ask(), study.model)
    site.answer(study.ask(round_number=2), study.model)  # lost on its way
    ask = study.ask("evaluate", round_number=2, ledger_head=first.ledger_head)
    third = site.answer(ask, study.model)
    told = [event["hash"] for event in third.events]
    assert told == [line.hash for line in ledger(study)[2:]]
    refused = site.answer(study.ask(round_number=3), study.model)
    assert (refused.outcome, len(refused.events)) == ("refused", len(ledger(study)))
    query = site.answer(study.ask("query", ledger_head=third.ledger_head), {})
    assert (query.events, query.ledger_head) == ((), third.ledger_head)


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_a_deleted_ledger_is_not_spent_on(study: TinyStudy, phase: str) -> None:
    head = study.answer().ledger_head
    (study.home() / "ledger.jsonl").unlink()
    ask = study.ask(phase, round_number=2, ledger_head=head)
    reply = study.site().answer(ask, study.model)
    assert (reply.outcome, reply.reason_code, reply.update) == ("refused", "declined", {})
    assert f"has a line with the hash {head}" in last_note(study)["sentence"]
    assert ledger(study) == []


@pytest.mark.parametrize("change", ["shares", "mapping", "key", "forgotten"])
def test_patients_may_not_be_dealt_anew_under_a_running_ledger(
    study: TinyStudy, change: str
) -> None:
    study.answer()
    home = study.home()
    settings = (home / "site.toml").read_text()
    if change == "shares":
        settings = settings.replace("train = 0.5", "train = 0.25").replace(
            "test = 0.25", "test = 0.5"
        )
    elif change == "mapping":
        (home / "who.csv").write_text("PatientID,patient\nnobody,somebody\n")
        settings += '\n[patients]\nmapping = "who.csv"\n'
    elif change == "key":
        (home / "keys" / "split.key").write_bytes(b"o" * 32)
    else:
        (home / CHARGED).unlink()
    (home / "site.toml").write_text(settings)
    reply = study.site().answer(study.ask(round_number=2), study.model)
    assert (reply.outcome, reply.reason_code) == ("refused", "declined")
    assert "is not that of the first charge" in last_note(study)["sentence"]
    assert len(ledger(study)) == 2


def test_a_damaged_note_of_what_was_charged_is_not_guessed(study: TinyStudy) -> None:
    study.answer()
    (study.home() / CHARGED).write_text("{")
    reply = study.site().answer(study.ask(round_number=2), study.model)
    assert (reply.outcome, reply.reason_code) == ("failed", "failed")
    assert "charged.json is damaged" in last_note(study)["sentence"]


def test_a_revised_task_gets_no_new_rounds(study: TinyStudy) -> None:
    site = study.site()
    for number in (1, 2):
        assert site.answer(study.ask(round_number=number), study.model).outcome == "done"
    limits = {"east": Limits(epsilon_limit=50.0, min_patients=1)}
    revised = sign_study(study.run, tiny_task("training.optimiser.rate=0.3"), limits)
    reply = revised.answer(round_number=3)
    assert (reply.outcome, reply.reason_code) == ("refused", "declined")
    assert "2 rounds of this task are charged" in last_note(study)["sentence"]


def test_what_cannot_be_afforded_is_refused_before_the_archive_is_read(
    hospitals: Path, tmp_path: Path
) -> None:
    study = copy_study(hospitals, tmp_path / "run", east=Limits(epsilon_limit=0.01, min_patients=1))
    shutil.rmtree(study.archive())
    assert study.answer().reason_code == "budget"
    assert "0 more steps would fit" in last_note(study)["sentence"]


def test_a_site_uses_as_many_threads_as_its_hospital_allows(study: TinyStudy) -> None:
    path = study.home() / "site.toml"
    path.write_text(path.read_text() + "\n[resources]\nthreads = 2\n")
    try:
        study.site().answer(study.ask("query"), {})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_in_a_hospital_no_two_runs_have_the_same_noise(hospitals: Path, tmp_path: Path) -> None:
    updates = []
    for name in "ab":
        study = copy_study(hospitals, tmp_path / name)
        updates.append(study.site(seed=None).answer(study.ask(), study.model))
    assert {reply.outcome for reply in updates} == {"done"}
    assert updates[0].update_digest != updates[1].update_digest


def test_another_site_with_the_same_archive_draws_other_batches_and_noise(
    study: TinyStudy,
) -> None:
    east = study.answer("east")
    shutil.rmtree(study.home("west").parent)
    shutil.copytree(study.home("east").parent, study.home("west").parent)
    shutil.rmtree(study.home("west") / "state" / "replies")
    (study.home("west") / "ledger.jsonl").unlink()
    settings = study.home("west") / "site.toml"
    settings.write_text(settings.read_text().replace('name = "east"', 'name = "west"'))
    assert study.answer("west").update_digest != east.update_digest


def test_a_damaged_ledger_trains_nothing_and_says_so_at_home(study: TinyStudy) -> None:
    study.answer()
    path = study.home() / "ledger.jsonl"
    path.write_text(path.read_text().replace('"steps":2', '"steps":1'))
    reply = study.site().answer(study.ask(round_number=2), study.model)
    assert (reply.outcome, reply.reason_code, reply.update) == ("failed", "failed", {})
    assert "ledger.jsonl is damaged" in last_note(study)["sentence"]


def test_a_committed_round_whose_reply_was_lost_is_not_trained_again(study: TinyStudy) -> None:
    study.answer()
    shutil.rmtree(study.home() / "state" / "replies")
    reply = study.answer()
    assert (reply.outcome, reply.update) == ("failed", {})
    assert len(ledger(study)) == 2


def test_a_disk_that_refuses_fails_the_round_without_a_path(study: TinyStudy) -> None:
    folder = study.home() / "state" / "replies"
    folder.write_text("in the way")
    reply = study.answer()
    assert (reply.outcome, reply.reason_code, reply.update) == ("failed", "failed", {})
    assert [event["kind"] for event in reply.events] == ["reserve"]
    assert str(study.home()) not in json.dumps(audit.read(study.home()))


def test_a_query_is_answered_without_a_charge(study: TinyStudy) -> None:
    reply = study.site().answer(study.ask("query"), {})
    assert (reply.outcome, reply.update, reply.blocks) == ("done", {}, ())
    assert ledger(study) == []


def test_adding_a_patient_at_one_site_changes_nothing_elsewhere(
    hospitals: Path, tmp_path: Path
) -> None:
    before = copy_study(hospitals, tmp_path / "a")
    after = copy_study(hospitals, tmp_path / "b")
    file = pydicom.dcmread(images(after, "east")[0])
    file.PatientID, file.AccessionNumber = "added", "added"
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = "2.25.4711"
    file.save_as(after.archive("east") / "added.dcm")
    rows = labels(after)
    write_labels(after, [*rows, rows[0] | {"AccessionNumber": "added"}])
    for site in SITES[1:]:
        assert before.answer(site).update_digest == after.answer(site).update_digest
