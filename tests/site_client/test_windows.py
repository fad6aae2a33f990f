"""A site's windows: dates decide, nobody is in two, the ledger grants each window once."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_study import EXACT, TinyStudy, tiny_task
from watched_study import site_on, watched_study

from fedrad.privacy.ledger import Line, parse_line, spent, window_of
from fedrad.protocol.messages import Phase, Reply
from fedrad.shift.agreed import calendar_of, check_window
from site_client import audit, windows
from site_client.windows import first_windows, remembered

AFTERWARDS = "2025-01-01"
WATCHED = tiny_task('monitoring={begins="2024-01-01", days=30}')


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    return watched_study(tmp_path / "run")


def lines(study: TinyStudy) -> list[Line]:
    path = study.home() / "ledger.jsonl"
    return [parse_line(line) for line in path.read_text().splitlines()] if path.exists() else []


def ask(study: TinyStudy, number: int, phase: Phase = "window", *, day: str = AFTERWARDS) -> Reply:
    return site_on(study, day).answer(study.ask(phase, number), study.model)


def count(reply: Reply, name: str = "n") -> float:
    return float(next(b for b in reply.blocks if b.name == name).values[0])


def test_a_window_holds_the_patients_whose_first_exam_is_in_its_month(tmp_path: Path) -> None:
    """Sums are exact here: who came before the windows is the record, the rest is 12 a month."""
    study = watched_study(tmp_path / "run", *EXACT)
    replies = [ask(study, number) for number in (0, 1, 2, 3)]
    assert [count(reply) for reply in replies[1:]] == [12, 12, 12]
    assert 0 < count(replies[0]) < 40


days = st.dates(date(2023, 6, 1), date(2026, 1, 1))
people = st.dictionaries(
    st.text(min_size=1, max_size=3), st.lists(days, min_size=1, max_size=4), min_size=1
)


@settings(max_examples=25)
@given(people, st.lists(days, min_size=1, max_size=4), days)
def test_neither_another_patient_nor_a_later_exam_moves_anybody(
    others: dict[str, list[date]], exams: list[date], later: date
) -> None:
    """The earliest exam decides; before the first window it is the record's."""
    alone = firsts(others)
    together = firsts(others | {"somebody else": [*exams, max(later, min(exams))]})
    number = together.pop("somebody else")
    assert together == alone
    assert number == firsts({"somebody else": exams})["somebody else"]
    assert (number == 0) == (min(exams) < calendar_of(WATCHED).begins)


def firsts(exams: dict[str, list[date]]) -> dict[str, int]:
    rows = [(name, day.isoformat()) for name, own in exams.items() for day in own]
    rows.append(("nobody knows when", ""))
    found = first_windows(pd.DataFrame(rows, columns=["patient", "exam"]), WATCHED)
    assert "nobody knows when" not in found
    return found


def test_a_window_is_noised_as_agreed_and_charged_once(study: TinyStudy) -> None:
    reply = ask(study, 1)
    sigma = study.contract.sites["east"].window_sigma
    check_window(reply.blocks, study.task, "window", window_sigma=sigma)
    (line,) = lines(study)
    assert (line.stream, line.sigma, window_of(line)) == ("window", sigma, "1")


def test_the_same_question_gets_the_kept_answer(study: TinyStudy) -> None:
    first, again = ask(study, 1), ask(study, 1)
    assert [b.values.tolist() for b in first.blocks] == [b.values.tolist() for b in again.blocks]
    assert len(lines(study)) == 1


def test_another_model_does_not_get_a_window_that_was_told(study: TinyStudy) -> None:
    """Its patients have paid all that the task may cost them; the next month's have not."""
    ask(study, 1)
    model = {name: value + 1 for name, value in study.model.items()}
    from fedrad.parameters import digest

    request = study.ask("window", 1, model_digest=digest(model))
    reply = site_on(study, AFTERWARDS).answer(request, model)
    assert (reply.outcome, reply.reason_code) == ("refused", "budget")
    assert ask(study, 2).outcome == "done"
    assert len(spent(lines(study))["window"]) == 1


def test_a_window_is_not_told_before_its_last_day_is_over(study: TinyStudy) -> None:
    early = ask(study, 1, day="2024-01-31")
    assert (early.outcome, early.reason_code) == ("abstained", "not-ready")
    assert "told from 2024-02-01 on" in audit.read(study.home())[-1]["sentence"]
    assert ask(study, 1, day="2024-02-01").outcome == "done"


@pytest.mark.parametrize(("number", "phase"), [(7, "window"), (-1, "window"), (1, "window-images")])
def test_what_the_task_does_not_grant_is_refused(
    study: TinyStudy, number: int, phase: Phase
) -> None:
    reply = ask(study, number, phase)
    assert (reply.outcome, reply.reason_code, lines(study)) == ("refused", "declined", [])


def test_a_task_without_windows_grants_none(study: TinyStudy, tmp_path: Path) -> None:
    from tiny_study import copy_study, write_hospitals

    write_hospitals(tmp_path / "plain")
    plain = copy_study(tmp_path / "plain", tmp_path / "copy")
    reply = ask(plain, 1)
    assert (reply.outcome, reply.reason_code) == ("refused", "declined")


def test_what_images_show_is_told_where_the_task_asks_for_it(tmp_path: Path) -> None:
    """Sums are exact here: twelve patients, each with the mean of the encoded images."""
    study = watched_study(tmp_path / "run", 'monitoring.encoder="encoder-1"', *EXACT)
    reply = ask(study, 1)
    (shown,) = [block for block in reply.blocks if block.name == "contents"]
    assert shown.values.shape == (16,)
    assert 0 < np.linalg.norm(shown.values) <= 12 * shown.sensitivity
    check_window(reply.blocks, study.task, "window", window_sigma=0.0)


@pytest.mark.parametrize("later", [False, True])
def test_strata_count_every_patient_once_in_each(tmp_path: Path, later: bool) -> None:
    """Sums are exact here: twelve patients, each in one cell of sex and one of age."""
    asked = ['monitoring.strata=["sex", "age"]', *EXACT]
    study = watched_study(tmp_path / "run", *asked, *(['monitoring.labels="later"'] * later))
    phase: Phase = "window-labels" if later else "window"
    reply = ask(study, 1, phase)
    (strata,) = [block for block in reply.blocks if block.name == "strata"]
    (operating,) = [block for block in reply.blocks if block.name == "operating"]
    assert strata.values.sum() == pytest.approx(24)
    assert strata.values.reshape(-1, 4).sum(axis=0) == pytest.approx(2 * operating.values)
    check_window(reply.blocks, study.task, phase, window_sigma=0.0)


def test_labels_that_come_later_are_a_second_release_under_the_same_cap(tmp_path: Path) -> None:
    study = watched_study(tmp_path / "run", 'monitoring.labels="later"')
    once = watched_study(tmp_path / "once").contract.sites["east"].window_sigma
    told = [ask(study, 1, phase) for phase in ("window-images", "window-labels")]
    names = [{block.name for block in reply.blocks} for reply in told]
    assert names == [
        {"seen", "scores", "moments", "tags", "population"},
        {"labelled", "positives", "operating", "table"},
    ]
    (first, second) = lines(study)
    assert first.sigma == second.sigma > once * 1.3
    assert ask(study, 1, "window").outcome == "refused"


def test_labels_that_come_later_are_waited_for(tmp_path: Path) -> None:
    """January is over on 1 February; its labels are told 28 days later, images at once."""
    study = watched_study(tmp_path / "run", 'monitoring.labels="later"', *EXACT)
    assert ask(study, 1, "window-images", day="2024-02-01").outcome == "done"
    early = ask(study, 1, "window-labels", day="2024-02-28")
    assert (early.outcome, early.reason_code) == ("abstained", "not-ready")
    assert ask(study, 0, "window-labels", day="2024-01-28").reason_code == "not-ready"
    assert count(ask(study, 1, "window-labels", day="2024-02-29"), "labelled") == 12


def test_what_comes_after_a_window_is_not_told_in_it(tmp_path: Path) -> None:
    """Sums are exact here: everybody of January comes again in May, to another machine."""
    told = []
    for name, again in (("once", False), ("again", True)):
        study = watched_study(tmp_path / name, *EXACT)
        if again:
            assert _come_again(study) >= 12
        told.append(ask(study, 1))
    blocks = [{b.name: b.values.tolist() for b in reply.blocks} for reply in told]
    assert blocks[0] == blocks[1]


def _come_again(study: TinyStudy) -> int:
    """Give every patient of January another exam in May, of another maker; return how many."""
    import pydicom
    from pydicom.uid import generate_uid

    labels = pd.read_csv(study.home().parent / "labels.csv", dtype=str)
    rows, made = [labels], 0
    for path in [p for p in study.archive().rglob("*") if p.is_file()]:
        file = pydicom.dcmread(path)
        if file.StudyDate.startswith("202401"):
            new = labels[labels["AccessionNumber"] == file.AccessionNumber]
            file.StudyDate, file.Manufacturer = "20240520", "Somebody else"
            file.AccessionNumber = f"{file.AccessionNumber}-2"
            rows.append(new.assign(AccessionNumber=file.AccessionNumber))
            file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(), generate_uid()
            file.save_as(path.with_name(f"{path.stem}-2{path.suffix}"))
            made += 1
    pd.concat(rows).to_csv(study.home().parent / "labels.csv", index=False)
    return made


def test_nobody_moves_to_another_window_when_an_older_exam_turns_up(tmp_path: Path) -> None:
    study = watched_study(tmp_path / "run", *EXACT)
    before = count(ask(study, 2))
    _backdate(study)
    assert count(ask(study, 1)) == 12
    assert set(remembered(study.home(), study.task).values()) == {1, 2}
    assert before == 12


def _backdate(study: TinyStudy) -> None:
    """Give every patient of February a January exam: the same file under another day."""
    import pydicom

    for path in [p for p in study.archive().rglob("*") if p.is_file()]:
        file = pydicom.dcmread(path)
        if file.StudyDate.startswith("202402"):
            file.StudyDate = "20240115"
            file.save_as(path)


def test_an_empty_month_is_released_like_any_other(study: TinyStudy) -> None:
    """Noise alone: whether anybody came is not told by whether there is an answer."""
    reply = ask(study, 5)
    assert reply.outcome == "done"
    assert abs(count(reply)) < 8 * reply.blocks[0].sigma
    assert all(np.isfinite(block.values).all() for block in reply.blocks)


def test_a_window_that_was_charged_and_forgotten_stops_all_others(study: TinyStudy) -> None:
    """Whoever puts an older copy back could have a patient pay in two windows."""
    assert ask(study, 1).outcome == "done"
    (path,) = (study.home() / "state" / "windows").glob("*.json")
    path.unlink()
    lost = ask(study, 2)
    assert (lost.outcome, lost.blocks) == ("failed", ())
    assert not path.exists()


def dies_at_work(study: TinyStudy, number: int, phase: Phase) -> None:
    """Ask in a process that ends when the window's patients are about to meet the model."""
    child = os.fork()
    if child == 0:
        windows.window_sums = lambda *_: os._exit(9)
        ask(study, number, phase)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_window_whose_work_died_is_charged_and_told_afresh_whatever_round_the_study_is_in(
    tmp_path: Path,
) -> None:
    """Numbers of windows are not those of rounds: no round acknowledges a window's answer."""
    study = watched_study(tmp_path / "run", 'monitoring.labels="later"')
    assert ask(study, 3, "train").outcome == "done"
    dies_at_work(study, 1, "window-images")
    assert ask(study, 1, "window-images").outcome == "done"
    own = [line.reservation.rpartition("@")[2] for line in lines(study) if line.stream == "window"]
    assert own == ["1", "1#2"]


def test_a_window_whose_work_died_is_not_told_where_nothing_is_left_of_its_budget(
    study: TinyStudy,
) -> None:
    assert ask(study, 3, "train").outcome == "done"
    dies_at_work(study, 1, "window")
    again = ask(study, 1)
    assert (again.outcome, again.reason_code) == ("refused", "budget")
    assert ask(study, 2).outcome == "done"
