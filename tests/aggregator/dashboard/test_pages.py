"""What the pages show, to whom, and what an operator's form does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from histories import History, write_history
from starlette.testclient import TestClient

from aggregator import attendance, checkpoints, quarantine
from aggregator.dashboard import charts
from aggregator.dashboard.book import opened
from aggregator.dashboard.run_page import run_context
from aggregator.run_folder import read_run
from aggregator.store import Store
from aggregator.tables import Action
from fedrad import audit_log

Browse = Callable[..., TestClient]
SCRIPT = "<script>document.title='taken'</script>"
PAGES = ("", "/course", "/alarms", "/models", "/site/A")
FORM = {"content-type": "application/x-www-form-urlencoded"}
ASK = "site=Carrick&action=ask-about-scanner&round=8&window=2026-04-01"


def token(page: str) -> str:
    """Return the token of a page's form."""
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


def actions(folder: Path) -> list[tuple[str, str]]:
    """Return decision and person of every action."""
    with Store(folder / "run.sqlite") as store:
        return [(row["decision"], row["decided_by"]) for row in store.rows("actions")]


@pytest.mark.parametrize("page", PAGES)
def test_a_script_in_a_sites_name_is_text(tmp_path: Path, browse: Browse, page: str) -> None:
    history = History(odd_name=SCRIPT, rounds=4, windows=8, trouble=True)
    client = browse(write_history(tmp_path / "odd", history))
    answer = client.get(f"/runs/odd{page}")
    assert answer.status_code == 200
    assert SCRIPT not in answer.text
    if page in ("", "/course", "/site/A"):
        assert "&lt;script&gt;" in answer.text


def test_a_proposal_is_accepted_once_with_name_and_reason(troubled: Path, browse: Browse) -> None:
    client = browse(troubled)
    body = f"token={token(client.get('/runs/troubled/alarms').text)}&{ASK}&decision=accepted"
    answer = client.post("/runs/troubled/decide", content=f"{body}&reason=new%20CT", headers=FORM)
    assert "Accepted." in answer.text
    assert "by Dr A: new CT" in answer.text
    assert actions(troubled) == [("accepted", "Dr A")]
    (line,) = audit_log.read(troubled / "messages.jsonl")
    assert (line["kind"], line["by"], line["reason"]) == ("proposal accepted", "Dr A", "new CT")
    again = client.post("/runs/troubled/decide", content=f"{body}&reason=b", headers=FORM)
    assert again.status_code == 409
    assert "Dr A decided before: accepted" in again.text


@pytest.mark.parametrize(
    "rest", ["&decision=accepted", "&decision=accepted&reason=%20", "&reason=a"]
)
def test_without_a_reason_or_an_answer_nothing_is_decided(
    troubled: Path, browse: Browse, rest: str
) -> None:
    client = browse(troubled)
    body = f"token={token(client.get('/runs/troubled/alarms').text)}&{ASK}{rest}"
    assert client.post("/runs/troubled/decide", content=body, headers=FORM).status_code == 409
    assert actions(troubled) == [("proposed", "")]


def test_a_viewer_has_no_form_and_cannot_act(troubled: Path, browse: Browse) -> None:
    client = browse(troubled, role="viewer")
    pages = [client.get(f"/runs/troubled{page}").text for page in PAGES]
    assert not any("<form" in page for page in pages)
    body = f"token=x&{ASK}&decision=accepted&reason=a"
    assert client.post("/runs/troubled/decide", content=body, headers=FORM).status_code == 403
    assert client.post("/runs/troubled/models", content="round=1", headers=FORM).status_code == 403
    assert actions(troubled) == [("proposed", "")]


def test_a_quarantine_is_lifted_from_the_page(troubled: Path, browse: Browse) -> None:
    client = browse(troubled)
    body = f"token={token(client.get('/runs/troubled/alarms').text)}&site=Dunmore&reason=mended"
    answer = client.post("/runs/troubled/lift", content=body, headers=FORM)
    assert "Out of quarantine" in answer.text
    with Store(troubled / "run.sqlite") as store:
        assert store.rows("sites", site="Dunmore")[0]["status"] == "joined"


def test_a_viewer_reads_letters_where_the_contract_says_so(tmp_path: Path, browse: Browse) -> None:
    history = History(name="l", figures="letters", rounds=4, windows=8, trouble=True)
    folder = write_history(tmp_path / "l", history)
    looks, acts = browse(folder, role="viewer"), browse(folder)
    for page in (*(f"/runs/l{page}" for page in PAGES), "/compare"):
        text = looks.get(page).text
        assert not any(name in text for name in history.names)
    assert "Hospital C (Carrick)" in acts.get("/runs/l").text
    assert "Look at Hospital C:" in re.sub(r"</?strong>", "", looks.get("/runs/l").text)


def test_a_viewer_reads_names_where_the_contract_says_so(tmp_path: Path, browse: Browse) -> None:
    folder = write_history(tmp_path / "n", History(name="n", figures="names", rounds=2))
    assert "Hospital A (Ashford)" in browse(folder, role="viewer").get("/runs/n").text


def test_what_is_not_there_is_said(troubled: Path, browse: Browse) -> None:
    client = browse(troubled)
    for page in ("/runs/other", "/runs/troubled/site/Z", "/nothing"):
        assert client.get(page).status_code == 404


def test_exact_metrics_show_no_epsilon(finished_exact: Path, browse: Browse) -> None:
    page = browse(finished_exact).get("/").text
    assert "exact metrics: not private" in page
    assert not re.search(r">\s*\d+\.\d\d\s*</td></tr>", page)


@pytest.fixture
def finished_exact(tmp_path: Path) -> Path:
    """Return a run whose task says exact metrics."""
    return write_history(tmp_path / "exact", History(name="exact", rounds=2, exact=True))


def test_two_runs_are_compared(troubled: Path, healthy: Path, browse: Browse) -> None:
    page = browse(troubled, healthy).get("/compare?run=troubled&run=healthy").text
    assert "Side by side" in page
    assert "of different tasks" in page
    assert "8, 1 of them void" in page


def test_a_model_is_handed_out_with_its_digest(tmp_path: Path, browse: Browse) -> None:
    folder = write_history(tmp_path / "m", History(name="m", rounds=1))
    digest = write_model(folder)
    client = browse(folder)
    body = f"token={token(client.get('/runs/m/models').text)}&round=1"
    answer = client.post("/runs/m/models", content=body, headers=FORM)
    assert answer.headers["x-model-digest"] == digest
    assert answer.content == (folder / "rounds/0001/model.safetensors").read_bytes()
    (line,) = audit_log.read(folder / "messages.jsonl")
    assert (line["kind"], line["model_digest"]) == ("model handed out", digest)


def write_model(folder: Path) -> str:
    """Write a first round's checkpoint; return the model's digest."""
    import numpy as np

    from fedrad.parameters import digest

    model = {"a": np.ones(3, np.float32)}
    state = checkpoints.RoundState(round=1, committed=1, model_digest=digest(model), accepted={})
    checkpoints.write_round(folder, state, model, moments={})
    return digest(model)


def test_the_course_says_of_attendance_what_the_report_says(troubled: Path) -> None:
    """The page reads some of the replies; the report reads all."""
    whole = read_run(troubled)
    with opened(troubled, letters_only=False) as book:
        few = run_context(book)
        replies = book.replies_that_tell(7)
    assert few["absences"] == attendance.sentences(whole)
    assert attendance.sentences(replace(whole, tables=whole.tables | {"replies": replies})) == (
        attendance.sentences(whole)
    )
    assert len(replies) < len(whole.tables["replies"])


def test_every_mark_of_presence_is_drawn_once(troubled: Path) -> None:
    with opened(troubled, letters_only=False) as book:
        drawn = run_context(book)["presence"]
    marks = sum(drawn.paths[outcome].count("M") for outcome in drawn.paths)
    assert marks == len(drawn.rows) * 8
    assert set(drawn.paths) >= {"done", "refused"}


def test_neighbours_of_one_class_are_one_box_and_cover_all() -> None:
    drawn = charts.heat({"a": [0.0, 0.0, 1.0, None] * 60}, [str(n) for n in range(240)])
    assert drawn
    width = charts.WIDEST / 240
    across = [float(w) for path in drawn.paths for w in re.findall(r"h(\d+\.\d)v", path)]
    assert len(across) == 120
    assert sum(across) == pytest.approx(180 * width, abs=0.05 * 120)


def put_aside(folder: Path) -> frozenset[str]:
    """Return whom the next round does not ask."""
    with Store(folder / "run.sqlite") as store:
        return quarantine.enforce(store, 3)


def test_a_hospital_is_set_aside_from_the_page_and_let_in_again(
    troubled: Path, browse: Browse
) -> None:
    client = browse(troubled)
    page = client.get("/runs/troubled/alarms").text
    assert "Leave the updates of Hospital C (Carrick) aside" in page
    body = f"token={token(page)}&site=Carrick&reason=new%20scanner"
    answer = client.post("/runs/troubled/set-aside", content=body, headers=FORM)
    assert "Set aside: it is not asked from the next round on" in answer.text
    assert "Carrick" in put_aside(troubled)
    assert "(Dr A set it aside: new scanner)" in client.get("/runs/troubled/course").text
    (line,) = audit_log.read(troubled / "messages.jsonl")
    assert (line["kind"], line["site"], line["by"]) == ("set aside", "Carrick", "Dr A")
    client.post("/runs/troubled/lift", content=body, headers=FORM)
    assert "Carrick" not in put_aside(troubled)


def test_a_viewer_sets_nobody_aside(troubled: Path, browse: Browse) -> None:
    body = "token=x&site=Carrick&reason=a"
    client = browse(troubled, role="viewer")
    assert client.post("/runs/troubled/set-aside", content=body, headers=FORM).status_code == 403
    assert "Carrick" not in put_aside(troubled)


@pytest.mark.parametrize(("answer", "aside"), [("accepted", True), ("declined", False)])
def test_a_proposal_to_set_aside_does_so_if_it_is_accepted(
    healthy: Path, browse: Browse, answer: str, aside: bool
) -> None:
    with Store(healthy / "run.sqlite") as store:
        store.record([
            Action(round=4, window="", site="Carrick", action="set-aside", parameters_json="{}",
                   reason="a", decided_by="", decision="proposed", effect="")
        ])  # fmt: skip
    client = browse(healthy)
    page = client.get("/runs/healthy/alarms").text
    assert "Accepted it is not asked from the next round on" in page
    body = f"token={token(page)}&site=Carrick&action=set-aside&round=4&window=&reason=b"
    client.post("/runs/healthy/decide", content=f"{body}&decision={answer}", headers=FORM)
    assert actions(healthy) == [(answer, "Dr A")]
    assert ("Carrick" in put_aside(healthy)) == aside


def test_what_only_a_person_can_do_says_so(troubled: Path, browse: Browse) -> None:
    client = browse(troubled)
    page = client.get("/runs/troubled/alarms").text
    assert "Accepted it is noted; fedrad changes nothing: ask the hospital." in page
    body = f"token={token(page)}&{ASK}&decision=accepted&reason=a"
    answer = client.post("/runs/troubled/decide", content=body, headers=FORM).text
    assert "fedrad changes nothing: ask the hospital" in answer
    assert put_aside(troubled) == {"Dunmore"}
