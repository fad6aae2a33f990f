"""A site whose process ends at any write: charged at least what it did, never done twice.

The process is a real one that ends without a word, right before a file is synced, renamed or
removed. Then the site is started again and asked the same question.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_study import TinyStudy, copy_study

from fedrad.privacy.ledger import parse_line, reply_of, spent
from fedrad.protocol.messages import Phase, Reply, reply_id
from simulations.places import site_folder
from site_client import outbox
from site_client import round as site_round

STEPS = 2  # of a round of the tiny task
WORKS: dict[str, str] = {"train": "train_round", "evaluate": "measure_split"}
PRICE = {"train": STEPS, "evaluate": 1}


def ask(study: TinyStudy, phase: Phase) -> Reply:
    """Start the hospital's program and ask it; noise comes from the operating system."""
    return study.site(seed=None).answer(study.ask(phase), study.model)


def die_at(study: TinyStudy, phase: Phase, point: int) -> bool:
    """Ask in a process that ends at the n-th write after its work; tell if it did."""
    child = os.fork()
    if child == 0:
        with watched(study, phase, lambda: _end_at(point)):
            ask(study, phase)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def _end_at(point: int) -> None:
    """End this process right before its n-th call that makes something durable."""
    left = [point]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return call(*given, **named)

        return count

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


@contextmanager
def watched(study: TinyStudy, phase: Phase, then: Callable[[], None]) -> Iterator[None]:
    """Leave a mark in the run each time that patients met the model; then do ``then``."""
    work = getattr(site_round, WORKS[phase])

    def marked(*given: Any, **named: Any) -> Any:
        done = work(*given, **named)
        with (study.run / "worked").open("a") as file:
            file.write("1")
        then()
        return done

    setattr(site_round, WORKS[phase], marked)
    try:
        yield
    finally:
        setattr(site_round, WORKS[phase], work)


def check(study: TinyStudy, phase: Phase, reply: Reply) -> None:
    """Every work has a charge of its own, and the answer tells them all."""
    lines = [parse_line(text) for text in (study.home() / "ledger.jsonl").open()]
    charged = [line.reservation for line in lines if line.kind != "commit"]
    worked = len((study.run / "worked").read_text())
    (events,) = spent(lines).values()
    assert len(charged) == len(set(charged)) == worked
    assert sum(event.steps for event in events) == worked * PRICE[phase]
    assert {reply_of(line) for line in lines} == {reply.reply_id}
    assert [event["hash"] for event in reply.events] == [line.hash for line in lines]
    if phase == "train":
        assert (lines[-1].kind, lines[-1].reservation) == ("commit", charged[-1])


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_a_site_that_dies_at_any_write_after_its_work_answers_and_is_charged_for_all_it_did(
    hospitals: Path, tmp_path: Path, phase: Phase
) -> None:
    origin = copy_study(hospitals, tmp_path / "origin")
    study = TinyStudy(tmp_path / "run", origin.task, origin.contract)
    kept_at = []
    for point in itertools.count(1):
        shutil.rmtree(study.run, ignore_errors=True)
        shutil.copytree(site_folder(origin.run, "east"), site_folder(study.run, "east"))
        if not die_at(study, phase, point):
            break
        before = outbox.kept(study.home(), reply_id(study.ask(phase), "east"))
        with watched(study, phase, lambda: None):
            reply = ask(study, phase)
        check(study, phase, reply)
        kept_at.append(before is not None)
        if before is not None:
            assert (study.run / "worked").read_text() == "1"
            assert content(reply) == content(before)
    assert kept_at == sorted(kept_at)
    assert kept_at.count(False) >= 2
    assert kept_at.count(True) >= 3


def content(reply: Reply) -> tuple[str, list[list[float]]]:
    return reply.update_digest, [block.values.tolist() for block in reply.blocks]
