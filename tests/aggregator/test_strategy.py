"""Rounds with real messages between real apps, sites that behave and sites that do not."""

from __future__ import annotations

import json
import resource
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message
from tiny_federation import (
    PATIENTS,
    SITES,
    Fault,
    TinySites,
    charge_line,
    initial_model,
    target,
    tiny_contract,
    tiny_setup,
    tiny_task,
)

from aggregator.app import server_app
from aggregator.checkpoints import latest_round, read_round
from aggregator.release import figures_of
from aggregator.setup import RunSetup, Silent
from aggregator.store import Store
from aggregator.tables import Metric
from fedrad.clock import SystemClock
from fedrad.errors import RunError
from fedrad.parameters import digest
from fedrad.protocol.codec import decode_reply, decode_request, encode_reply
from fedrad.protocol.messages import Block
from simulations.engines import run_local


def run(setup: RunSetup, *faults: Fault, sites: tuple[str, ...] = SITES) -> None:
    run_local(server_app(setup), sites, TinySites(sites, faults), workers=0)


def table(setup: RunSetup, name: str) -> pd.DataFrame:
    with Store(setup.folder / "run.sqlite") as store:
        return store.frame(name)


def outcome(setup: RunSetup, site: str, phase: str = "train") -> list[tuple[str, str]]:
    rows = table(setup, "replies").query("site == @site and phase == @phase")
    return list(zip(rows["outcome"], rows["reason_code"], strict=True))


def expected(rounds: int, weights: dict[str, float]) -> float:
    """Return the first value of ``a`` after so many rounds, from the formula alone."""
    value = 0.0
    for _ in range(rounds):
        value += sum(w * (target(site)["a"][0, 0] - value) / 2 for site, w in weights.items())
    return value


def test_three_rounds_give_the_weighted_mean_by_agreed_patients(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    run(setup)
    weights = {site: patients / 1000 for site, patients in PATIENTS.items()}
    state, model, _ = read_round(tmp_path, 3)
    np.testing.assert_allclose(model["a"], expected(3, weights), rtol=1e-6)
    assert (state.committed, sorted(state.accepted)) == (3, sorted(SITES))
    assert [tensor.dtype for tensor in model.values()] == [np.float32, np.float64]


def test_a_finished_run_leaves_its_history(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, seed=7)
    run(setup)
    row = table(setup, "runs").iloc[0]
    assert (row["status"], row["reason"], row["seed"]) == ("done", "", 7)
    assert table(setup, "rounds")["state"].tolist() == ["committed", "evaluated", "evaluated"]
    assert table(setup, "sites")["label"].tolist() == ["A", "B", "C", "D"]
    assert set(table(setup, "reports")["round"]) == {2, 3}
    assert (tmp_path / "metrics.csv").is_file()
    history = (tmp_path / "audit.jsonl").read_text("utf-8").splitlines()
    assert len(history) == len(table(setup, "events"))


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("raise", ("failed", "failed")),
        ("nan", ("failed", "failed")),
        ("huge", ("failed", "failed")),
        ("shape", ("failed", "failed")),
        ("digest", ("failed", "failed")),
        ("foreign", ("failed", "failed")),
        ("many-steps", ("failed", "failed")),
        ("million-steps", ("failed", "failed")),
        ("other-task", ("failed", "failed")),
        ("long-head", ("failed", "failed")),
        ("schema", ("failed", "version")),
        ("newer-failed", ("failed", "failed")),
        ("declined", ("refused", "declined")),
        ("not-ready", ("abstained", "not-ready")),
    ],
)
def test_whatever_one_site_does_is_recorded_and_the_others_go_on(
    tmp_path: Path, kind: str, row: tuple[str, str]
) -> None:
    setup = tiny_setup(tmp_path)
    run(setup, Fault("west", kind, round=2))
    assert outcome(setup, "west") == [("done", ""), row, ("done", "")]
    state, model, _ = read_round(tmp_path, 2)
    assert sorted(state.accepted) == ["east", "north", "south"]
    assert np.isfinite(model["a"]).all()
    assert table(setup, "runs")["status"].tolist() == ["done"]


@pytest.mark.parametrize("kind", ["newer", "older"])
def test_another_release_of_fedrad_takes_part_like_any_other(tmp_path: Path, kind: str) -> None:
    """The wire protocol decides who can work together; a release does not."""
    setup = tiny_setup(tmp_path)
    run(setup, Fault("west", kind))
    assert outcome(setup, "west") == [("done", "")] * 3
    assert sorted(read_round(tmp_path, 2)[0].accepted) == ["east", "north", "south", "west"]


def test_a_ledger_line_that_was_told_is_a_row_and_stays_word_for_word_in_the_history(
    tmp_path: Path,
) -> None:
    setup = tiny_setup(tmp_path)
    run(setup, Fault("west", "agreed-line"))
    row = table(setup, "privacy").iloc[0]
    assert (len(table(setup, "privacy")), row["round"], row["steps"]) == (1, 1, 1)
    told = charge_line(setup.contract.task_hash)
    lines = [json.loads(text) for text in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [told] * 3 == [line for at in lines for line in at["detail"].get("ledger_lines", ())]


@pytest.mark.parametrize("kind", ["no-blocks", "half-blocks", "big-sums"])
def test_sums_that_cannot_be_an_evaluation_are_refused_and_the_others_measured(
    tmp_path: Path, kind: str
) -> None:
    task = tiny_task()
    setup = tiny_setup(tmp_path, task, on_release=figures_of(task, seed=1))
    run(setup, Fault("west", kind, phase="evaluate", round=2))
    assert outcome(setup, "west", "evaluate") == [("failed", "failed"), ("done", "")]
    refused = table(setup, "events").query("kind == 'reply-refused'")
    assert refused[["round", "site"]].to_numpy().tolist() == [[2, "west"]]
    measured = table(setup, "metrics").query("round == 2")["site"]
    assert set(measured) == {"east", "north", "south", "*", "macro", "worst"}


def test_a_site_whose_sums_break_the_figures_is_set_aside_and_the_others_measured(
    tmp_path: Path,
) -> None:
    task = tiny_task(rounds=2)
    figures = figures_of(task, seed=1)

    def delicate(number: int, sums: dict[str, tuple[Block, ...]]) -> list[Metric]:
        if "west" in sums:
            raise OverflowError(34)
        return list(figures(number, sums))

    setup = tiny_setup(tmp_path, task, on_release=delicate)
    run(setup)
    aside = table(setup, "events").query("kind == 'sums-set-aside'").iloc[0]
    assert (aside["site"], aside["detail_json"]) == ("west", '{"problem":"OverflowError"}')
    measured = set(table(setup, "metrics")["site"])
    assert measured == {"east", "north", "south", "*", "macro", "worst"}


def test_figures_that_fail_for_everybody_are_noted_and_the_run_goes_on(tmp_path: Path) -> None:
    def broken(_: int, __: dict[str, tuple[Block, ...]]) -> list[Metric]:
        raise MemoryError

    setup = tiny_setup(tmp_path, on_release=broken)
    run(setup)
    assert table(setup, "runs")["status"].tolist() == ["done"]
    assert set(table(setup, "events").query("kind == 'figures-failed'")["round"]) == {2, 3}


def test_each_site_is_asked_with_the_ledger_head_that_it_told_last(tmp_path: Path) -> None:
    """The anchor: a site answers with every line since."""
    setup = tiny_setup(tmp_path)
    run_local(server_app(setup), SITES, Heads(), workers=0)
    told = table(setup, "replies").query("site == 'west'").set_index("reply_id")["ledger_head"]
    assert sorted(told) == ["", "1", "11", "111", "1111"]


def test_an_exception_at_a_site_leaves_no_word_of_its_text_in_the_run(tmp_path: Path) -> None:
    run(tiny_setup(tmp_path), Fault("west", "raise"))
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Ada Byron" not in content


def test_a_site_without_budget_is_not_asked_to_train_again_but_evaluates(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    run(setup, Fault("west", "budget", round=2))
    assert outcome(setup, "west") == [("done", ""), ("refused", "budget")]
    assert outcome(setup, "west", "evaluate") == [("done", ""), ("done", "")]


def test_a_round_below_the_quorum_is_void_and_a_spare_one_takes_its_place(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, tiny_task(spare_rounds=1))
    faults = [Fault(site, "declined", round=2) for site in ("east", "west")]
    run(setup, *faults)
    states = table(setup, "rounds")["state"].tolist()
    assert states == ["committed", "void", "evaluated", "evaluated"]
    reference = tiny_setup(tmp_path / "undisturbed")
    run(reference)
    assert digest(read_round(tmp_path, 4)[1]) == digest(read_round(reference.folder, 3)[1])


def test_a_run_without_spare_rounds_stops_and_keeps_what_was_finished(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    faults = [Fault(site, "declined", round=2) for site in ("east", "west")]
    with pytest.raises(RunError, match="2 of 3 rounds reached the quorum of 3 sites and all 0"):
        run(setup, *faults)
    row = table(setup, "runs").iloc[0]
    assert row["status"] == "stopped"
    assert "spare rounds are used up" in row["reason"]
    assert table(setup, "rounds")["state"].tolist() == ["committed", "void", "evaluated"]


def test_a_run_whose_sites_are_out_of_budget_stops_at_once_and_measures_its_model(
    tmp_path: Path,
) -> None:
    """Round 1 was not on the schedule, but it is the last there will be."""
    setup = tiny_setup(tmp_path, tiny_task(rounds=5, spare_rounds=5))
    faults = [Fault(site, "budget", round=2) for site in ("east", "west")]
    with pytest.raises(RunError, match=r"2 sites can still train.*out of budget: east, west"):
        run(setup, *faults)
    assert table(setup, "rounds")["state"].tolist() == ["evaluated", "void"]
    run(setup)  # the hospitals allowed more, and a person begins it again
    assert table(setup, "runs")["status"].tolist() == ["done"]
    assert outcome(setup, "east") == [("done", ""), ("refused", "budget"), *[("done", "")] * 4]


def test_sites_that_miss_the_deadline_are_offline_and_the_clock_decides(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, tiny_task(rounds=1, deadline_s=1.0))
    slow = TinySites(faults=(Fault("west", "slow"),))
    run_local(server_app(setup), SITES, slow, workers=2)
    assert outcome(setup, "west") == [("failed", "offline")]
    assert table(setup, "rounds")["state"].tolist() == ["evaluated"]


def test_fedadam_saves_its_moments_with_the_round(tmp_path: Path) -> None:
    task = tiny_task(strategy={"name": "fedadam", "rate": 0.1})
    run(tiny_setup(tmp_path, task))
    _, _, moments = read_round(tmp_path, 3)
    assert set(moments) == {"m:a", "m:b", "v:a", "v:b"}


def test_figures_of_a_release_are_recorded_with_it(tmp_path: Path) -> None:
    def count(round_number: int, sums: dict) -> list[Metric]:
        n = sum(block.values[0] for blocks in sums.values() for block in blocks[:1])
        return [
            Metric(
                round=round_number, site="*", split="audit", metric="n", value=n, lo=None,
                hi=None, n=n, method="exact",
            )
        ]  # fmt: skip

    setup = tiny_setup(tmp_path, on_release=count)
    run(setup)
    assert table(setup, "metrics")["value"].tolist() == [80.0, 80.0]


def test_too_few_sites_to_start_with_are_named(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    with pytest.raises(RunError, match="2 sites are there and the quorum is 3; missing: south"):
        run(replace(setup, clock=Hasty()), sites=("east", "north"))
    assert table(setup, "runs")["status"].tolist() == ["stopped"]


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path: Path) -> None:
    run(tiny_setup(tmp_path))
    before = digest(read_round(tmp_path, 3)[1])
    with pytest.raises(RunError, match="already holds a finished run; choose another folder"):
        run(tiny_setup(tmp_path), Fault("west", "declined"))
    assert digest(read_round(tmp_path, 3)[1]) == before
    assert table(tiny_setup(tmp_path), "runs")["status"].tolist() == ["done"]


def test_a_run_that_died_before_its_last_files_gets_them_when_it_is_asked_for_again(
    tmp_path: Path,
) -> None:
    run(tiny_setup(tmp_path))
    files = [tmp_path / name for name in ("metrics.csv", "audit.jsonl")]
    before = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    with pytest.raises(RunError, match="already holds a finished run"):
        run(tiny_setup(tmp_path))
    assert [path.read_bytes() for path in files] == before


def test_an_interrupted_run_says_so_and_stays_readable(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, progress=Interrupting())
    with pytest.raises(KeyboardInterrupt):
        run(setup)
    assert table(setup, "runs")["status"].tolist() == ["interrupted"]
    assert latest_round(tmp_path) == 1


def test_a_full_disk_is_named_and_the_run_is_marked_failed(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    (tmp_path / "rounds").write_text("in the way", encoding="utf-8")
    with pytest.raises(RunError, match=r"cannot write its files: .*rounds"):
        run(setup)
    assert table(setup, "runs")["status"].tolist() == ["failed"]


def test_a_disk_that_fills_in_mid_round_ends_the_run_with_a_clear_word(tmp_path: Path) -> None:
    """No file of this process may grow past 300 kB: what a full disk does, for real."""
    big = {"a": np.zeros((2, 3), np.float32), "b": np.ones(50_000, np.float64)}
    setup = tiny_setup(tmp_path, initial=lambda: big)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"cannot write its files.*free some space"):
            run(setup)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert table(setup, "runs")["status"].tolist() == ["failed"]


def test_progress_hears_of_rounds_waiting_and_evaluations(tmp_path: Path) -> None:
    notes = Notes()
    run(tiny_setup(tmp_path, progress=notes))
    assert notes.lines[0] == "round 1: 0 of 3"
    assert "train: north, south, west" in notes.lines
    assert notes.lines[-1] == "evaluated 3"


def test_a_contract_for_another_task_is_refused(tmp_path: Path) -> None:
    contract = tiny_contract(tiny_task(rounds=9))
    with pytest.raises(RunError, match="for another task"):
        run(tiny_setup(tmp_path, contract=contract))


def test_the_model_does_not_depend_on_who_answers_first(tmp_path: Path) -> None:
    """Two workers race; the accepted set alone fixes the bits."""
    digests = set()
    for number, workers in enumerate((0, 2)):
        setup = tiny_setup(tmp_path / str(number))
        run_local(server_app(setup), SITES, TinySites(), workers=workers)
        digests.add(digest(read_round(setup.folder, 3)[1]))
    assert len(digests) == 1


def test_round_zero_holds_the_model_that_training_started_from(tmp_path: Path) -> None:
    run(tiny_setup(tmp_path))
    assert digest(read_round(tmp_path, 0)[1]) == digest(initial_model())


class Heads(TinySites):
    """Sites whose ledger's head is the one they were asked with and one more digit.

    The first answer has none.
    """

    def answer(self, message: Message, context: Context) -> Message:
        """Answer honestly, with a head."""
        reply = decode_reply(super().answer(message, context))
        request, _ = decode_request(message)
        first = request.round == 1
        head = "" if first else request.ledger_head + "1"
        return encode_reply(replace(reply, ledger_head=head), message)


class Hasty:
    """A clock on which every second that is asked for has passed already."""

    def __init__(self) -> None:
        self._real, self._ahead_s = SystemClock(), 0.0
        self.now = self._real.now

    def monotonic_s(self) -> float:
        """Return the machine's seconds and those that were slept."""
        return self._real.monotonic_s() + self._ahead_s

    def sleep(self, wait_s: float) -> None:
        """Pass the time at once."""
        self._ahead_s += wait_s


class Interrupting(Silent):
    """Somebody presses Ctrl-C in the middle of round 2."""

    closed = 0

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """Interrupt when half the sites of the second round have answered."""
        if self.closed and phase == "train" and len(sites) == 2:
            raise KeyboardInterrupt

    def round_closed(self, round_number: int, state: str) -> None:
        """Count."""
        del state
        self.closed = round_number


class Notes(Silent):
    """Progress written down."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Note it."""
        self.lines.append(f"round {round_number}: {committed} of {rounds}")

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """Note it."""
        self.lines.append(f"{phase}: {', '.join(sites)}")

    def evaluation_done(self, round_number: int) -> None:
        """Note it."""
        self.lines.append(f"evaluated {round_number}")
