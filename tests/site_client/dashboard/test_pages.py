"""The hospital's page says what happened, what left and what is spent; a viewer changes nothing."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from tiny_study import TinyStudy

from fedrad.metrics.measure import measure
from fedrad.task import read_task
from site_client import audit, own_figures, pausing
from site_client.dashboard import left, records
from site_client.dataset import load_split
from site_client.measure import measure_split
from site_client.settings import read_site

Look = Callable[..., TestClient]
FORM = {"content-type": "application/x-www-form-urlencoded"}


def words(page: str) -> str:
    """Return what a page says, tags left out."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def send(client: TestClient, where: str, fields: str, page: str = "/") -> tuple[int, str]:
    """Send a form with the token of a page; return status and words."""
    found = re.search(r'name="token" value="([0-9a-f]{64})"', client.get(page).text)
    body = f"token={found[1] if found else ''}&{fields}"
    answer = client.post(where, content=body, headers=FORM)
    return answer.status_code, words(answer.text)


def test_todays_rounds_are_there_with_what_became_of_them(worked: Path, look: Look) -> None:
    page = words(look(worked).get("/").text)
    assert "2 answered" in page
    assert "tiny-study, round 1 evaluate" in page
    assert "22.0 kB" in page


def test_every_message_that_left_is_there_field_by_field(worked: Path, look: Look) -> None:
    sent = [line for line in audit.read(worked) if line["kind"] == "sent"]
    page = look(worked).get("/left").text
    assert len(sent) == 2
    assert all(line["digest"] in page for line in sent)
    (measured, trained) = left.messages(records.recent(worked))
    fields = dict(trained.fields)
    assert "numbers in 6 tensors, joint length" in fields["update"]
    assert fields["steps"] == "2"
    assert {block.name for block in measured.sums} >= {"n", "positives", "table"}
    assert all(block.sigma > 0 for block in measured.sums)


def test_what_left_is_told_as_it_left(worked: Path) -> None:
    """The numbers of the record are those of the reply that was kept."""
    (path,) = [p for p in (worked / "state/replies").glob("*.json")
               if json.loads(p.read_text())["phase"] == "evaluate"]  # fmt: skip
    kept = {one["name"]: one["values"] for one in json.loads(path.read_text())["blocks"]}
    told = [line for line in audit.read(worked) if line["kind"] == "sent"][-1]["fields"]["sums"]
    for name, values in kept.items():
        assert told[name]["values"] == pytest.approx(values, abs=1e-3)


def test_the_exact_figures_are_those_of_the_sites_own_patients(study: TinyStudy) -> None:
    site = study.site()
    site.answer(study.ask("evaluate"), study.model)
    (found,) = own_figures.read_figures(study.home())
    task = read_task(study.home() / "state/studies/tiny-study/task.toml")
    source = load_split(study.home(), task, "audit")
    module = next(iter(site._modules.values()))
    again = measure(measure_split(module, source, task), task, np.random.default_rng(0))
    assert [(m.name, m.value) for m in found.metrics] == [(m.name, m.value) for m in again]
    assert all(metric.method == "exact" for metric in found.metrics)
    assert {m.name: m.n for m in found.metrics}["n"] == len(source)


def test_the_exact_figures_are_in_no_message(worked: Path) -> None:
    """What left carries noise, and no file of figures is what a reply is made of."""
    exact = json.loads((worked / "state/figures/tiny-study.json").read_text())
    sums = {one["name"]: one["values"] for one in exact["blocks"]}
    told = [line for line in audit.read(worked) if line["kind"] == "sent"][-1]["fields"]["sums"]
    assert all(told[name]["values"] != sums[name] for name in sums)
    assert (worked / "state/figures/tiny-study.json").stat().st_mode & 0o777 == 0o600


def test_the_budget_is_added_up_beside_the_page(worked: Path, look: Look) -> None:
    client, page = look(worked), ""
    for _ in range(600):
        page = words(client.get("/budget").text)
        if "being added up" not in page:
            break
        time.sleep(0.1)
    assert "every hash checked" in page
    assert re.search(r"Epsilon \d+\.\d\d of 50", page)


def test_pages_of_contract_and_images_open(worked: Path, look: Look) -> None:
    client = look(worked)
    assert "in force" in words(client.get("/contract").text)
    assert "set aside" in words(client.get("/images").text)
    assert client.get("/nothing").status_code == 404


def test_a_viewer_has_no_form_and_cannot_act(worked: Path, look: Look) -> None:
    client = look(worked, "viewer")
    assert not any("<form" in client.get(page).text for page in ("/", "/contract"))
    for where in ("/pause", "/resume", "/withdraw"):
        assert client.post(where, content="reason=a", headers=FORM).status_code == 403
    assert pausing.paused(worked) is None


def test_pause_and_resume_from_the_page_are_in_the_record(study: TinyStudy, look: Look) -> None:
    home = study.home()
    client = look(home)
    status, page = send(client, "/pause", "reason=visitors")
    assert status == 200
    assert "Dr A paused it" in page
    assert send(client, "/pause", "reason=again")[0] == 409
    assert send(client, "/resume", "reason=")[0] == 409
    assert "works again" in send(client, "/resume", "reason=gone")[1]
    kinds = [(line["kind"], line["by"], line["reason"]) for line in audit.read(home)]
    assert kinds == [("paused", "Dr A", "visitors"), ("resumed", "Dr A", "gone")]


def test_who_withdraws_answers_nothing_any_more(study: TinyStudy, look: Look) -> None:
    home = study.home()
    status, page = send(look(home), "/withdraw", "study=tiny-study&reason=asked", "/contract")
    assert status == 200
    assert "Withdrawn." in page
    assert "not approved here" in page
    assert read_site(home).approval.studies == ()
    reply = study.answer()
    assert (reply.outcome, reply.reason_code, reply.update) == ("refused", "declined", {})
    assert not (home / "ledger.jsonl").read_bytes()
    assert send(look(home), "/withdraw", "study=tiny-study&reason=b", "/")[0] == 409


def test_a_refusal_is_the_first_thing_that_is_said(study: TinyStudy, look: Look) -> None:
    study.site().answer(study.ask(task_hash="0" * 64), study.model)
    page = words(look(study.home()).get("/").text)
    assert "The last question was not answered: 'tiny-study' was accepted with another" in page


def test_a_script_in_a_studys_name_is_text(study: TinyStudy, look: Look) -> None:
    script = "<script>document.title='taken'</script>"
    study.site().answer(study.ask(study=script), study.model)
    for page in ("/", "/left"):
        assert script not in look(study.home()).get(page).text
