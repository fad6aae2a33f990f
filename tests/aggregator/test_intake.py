"""Whose a reply is, and that every question ends as a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, Message
from tiny_federation import honest_reply, initial_model, tiny_setup, tiny_task

from aggregator.intake import Intake
from aggregator.store import Store
from aggregator.tables import Answer
from fedrad import flower
from fedrad.monitoring import Monitoring
from fedrad.parameters import digest
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Chain, Charge, as_table, in_window
from fedrad.protocol.codec import encode_reply, encode_request
from fedrad.protocol.messages import Request

NODES = {11: "east", 12: "north", 13: "south"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "run.sqlite") as opened:
        yield opened


def questions(intake: Intake, store: Store, tmp_path: Path) -> tuple[Request, list[Message]]:
    """Note one question for each node; none was handed to a grid yet."""
    flower.begin_run(1)
    contract = tiny_setup(tmp_path).contract
    request = Request(
        study=contract.study,
        task_hash=contract.task_hash,
        round=1,
        phase="train",
        model_digest=digest(initial_model()),
        deadline_s=1.0,
    )
    content = encode_request(request, ArrayRecord())
    for node, site in NODES.items():
        intake.expect(node, request, site)
    return request, [Message(content, node, "train") for node in NODES]


def rows(store: Store) -> list[list[str]]:
    return store.frame("replies")[["site", "outcome", "reason_code"]].to_numpy().tolist()


def test_every_site_whose_question_the_grid_refused_ends_as_a_row(
    store: Store, tmp_path: Path
) -> None:
    """Refused questions have no id, so an id cannot tell them apart."""
    intake = Intake(tiny_setup(tmp_path), store)
    _, messages = questions(intake, store, tmp_path)
    intake.sent(messages)
    intake.close()
    assert rows(store) == [[site, "failed", "offline"] for site in NODES.values()]


def test_a_good_reply_from_another_node_than_the_one_asked_is_refused(
    store: Store, tmp_path: Path
) -> None:
    intake = Intake(tiny_setup(tmp_path), store)
    request, messages = questions(intake, store, tmp_path)
    for message in messages:
        flower.stamp_message(message, f"id of {message.metadata.dst_node_id}")
    intake.sent(messages)
    model, accepted = initial_model(), {}
    for message in messages:
        site = NODES[message.metadata.dst_node_id]
        question = message if site != "east" else Message(message.content, 12, "train")
        flower.stamp_message(question, message.metadata.message_id)
        answer = encode_reply(honest_reply(request, model, site), question)
        accepted |= intake.take_update(answer, model)
    assert set(accepted) == {"north", "south"}
    assert rows(store)[0] == ["east", "failed", "failed"]


def test_every_release_that_the_task_grants_may_be_told(store: Store, tmp_path: Path) -> None:
    """Windows outnumber rounds by far, and a site is not refused for it."""
    watched = Monitoring(begins="2020-01-01", days=30, windows=60, labels="later")
    setup = tiny_setup(tmp_path, replace(tiny_task(), monitoring=watched))
    event, chain = Event(mechanism="gaussian", sigma=2.0, q=1.0, steps=1), Chain()
    for number in range(watched.releases * (watched.windows + 1)):
        window, reply = number // watched.releases, f"{number:064x}"
        charge = Charge(
            reservation=in_window(reply, window), stream="window", task_hash="t" * 64,
            event=event, patients_agreed=100,
        )  # fmt: skip
        line = chain.charge_line("release", charge, time="2026-01-01T00:00:00.000Z")
        chain.append(line)
        answer = Answer(
            round=window, phase="window", site="east", reply_id=reply, outcome="done",
            reason_code="", ledger_head=line.hash,
        )  # fmt: skip
        store.record_reply(answer, ledger_lines=[as_table(line)])
    assert Intake(setup, store).heads == {"east": chain.head}
