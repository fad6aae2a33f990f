"""A reply is used only if this round asked this site for it and it fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plain_task import plain_task

from fedrad.contract import Contract, SiteTerms
from fedrad.errors import ProtocolError
from fedrad.parameters import digest
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Chain, Charge, Line, Stream, sealed
from fedrad.protocol import checks
from fedrad.protocol.messages import Block, Reply, Request, reply_id
from fedrad.task import task_hash

MODEL = {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float64)}
REQUEST = Request(
    study="s",
    task_hash="t" * 64,
    round=2,
    phase="train",
    model_digest=digest(MODEL),
    deadline_s=60.0,
)


def a_reply(**fields: object) -> Reply:
    update = {name: tensor + 1 for name, tensor in MODEL.items()}
    base = Reply(
        study="s",
        task_hash="t" * 64,
        round=2,
        phase="train",
        model_digest=digest(MODEL),
        reply_id=reply_id(REQUEST, "north"),
        outcome="done",
        update=update,
        update_digest=digest(update),
    )
    return replace(base, **fields)


def block(name: str, size: int, *, sigma: float = 2.0, sensitivity: float = 1.0) -> Block:
    return Block(name=name, values=np.ones(size), sigma=sigma, sensitivity=sensitivity)


def sums() -> tuple[Block, ...]:
    """Every block of a classification."""
    sizes = {"n": 1, "positives": 1, "operating": 4, "table": 4}
    return tuple(block(name, size) for name, size in sizes.items())


def test_the_reply_that_was_asked_for_passes() -> None:
    checks.check_identity(a_reply(), REQUEST, "north")
    checks.check_update(a_reply(), MODEL, max_norm=100.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("study", "other"),
        ("task_hash", "u" * 64),
        ("round", 3),
        ("phase", "evaluate"),
        ("model_digest", "0"),
    ],
)
def test_a_reply_to_another_question_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ProtocolError, match=f"the reply's {field} is not that"):
        checks.check_identity(a_reply(**{field: value}), REQUEST, "north")


def test_one_site_cannot_answer_for_another() -> None:
    with pytest.raises(ProtocolError, match="not made by site 'south'"):
        checks.check_identity(a_reply(), REQUEST, "south")


def test_the_site_is_found_by_the_reply_id_alone() -> None:
    assert checks.site_of(a_reply(), ["east", "north", "south"]) == "north"
    assert checks.site_of(a_reply(), ["east", "south"]) == ""


@pytest.mark.parametrize(
    ("update", "problem"),
    [
        ({"a": MODEL["a"]}, "do not fit the model"),
        ({"b": MODEL["b"], "a": MODEL["a"]}, "their order"),
        ({"a": MODEL["a"][:1], "b": MODEL["b"]}, r"float32\[1, 3\], the model has float32\[2, 3\]"),
        ({"a": MODEL["a"].astype(np.float64), "b": MODEL["b"]}, "'a' is float64"),
        ({"a": MODEL["a"], "b": MODEL["b"] + np.inf}, "'b' holds a value that is not finite"),
        ({"a": MODEL["a"] * 1e9, "b": MODEL["b"]}, "over the ceiling 100"),
    ],
)
def test_an_update_that_cannot_be_training_is_refused(update: dict, problem: str) -> None:
    reply = a_reply(update=update, update_digest=digest(update))
    with pytest.raises(ProtocolError, match=problem):
        checks.check_update(reply, MODEL, max_norm=100.0)


def test_an_update_that_changed_on_the_way_is_refused() -> None:
    with pytest.raises(ProtocolError, match="differs from its digest"):
        checks.check_update(a_reply(update_digest="0" * 64), MODEL, max_norm=100.0)


def test_a_site_refuses_a_model_that_is_not_the_one_named() -> None:
    checks.check_request(REQUEST, MODEL, task_hash="t" * 64)
    with pytest.raises(ProtocolError, match="not the one that the request names"):
        checks.check_request(REQUEST, {"a": MODEL["a"]}, task_hash="t" * 64)
    with pytest.raises(ProtocolError, match="another task"):
        checks.check_request(REQUEST, MODEL, task_hash="u" * 64)


def test_the_blocks_of_a_task_pass_and_their_sizes_follow_the_edges() -> None:
    checks.check_sums(sums(), checks.block_sizes(plain_task()))
    assert checks.block_sizes(plain_task("segmentation"))["dice_histogram"] == 4


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ((block("ages", 3),), "'ages' is not one of"),
        ((block("n", 2),), r"'n' has shape \(2,\)"),
        ((block("n", 1), block("n", 1)), "two blocks have one name"),
        ((replace(block("n", 1), values=np.array([np.nan])),), "not finite"),
        ((replace(block("n", 1), values=np.array([1e25])),), "'n' holds a value over 1e"),
        ((block("n", 1, sigma=1e200),), "'n' has the noise 1e"),
        ((block("n", 1, sensitivity=np.nan),), "'n' has the sensitivity nan"),
        ((), "no block 'n' among 0 blocks"),
        ((block("n", 1), block("positives", 1)), "no block 'operating' among 2 blocks"),
        ((block("exact", 1),), "'exact' is not one of"),
    ],
)
def test_sums_that_the_task_does_not_know_are_refused(
    blocks: tuple[Block, ...], problem: str
) -> None:
    with pytest.raises(ProtocolError, match=problem):
        checks.check_sums(blocks, checks.block_sizes(plain_task()))


TASK = plain_task()
CONTRACT = Contract(
    schema=1,
    study="s",
    task_hash=task_hash(TASK),
    sites={"north": SiteTerms(label="A", patients_agreed=40, train_sigma=1.5, audit_sigma=2.0)},
)


def a_line(stream: Stream = "train", **fields: object) -> Line:
    """Return what ``north`` writes for one round, or one release, with ``fields`` changed."""
    event = Event(mechanism="subsampled-gaussian", sigma=1.5, q=0.1, steps=1)
    if stream != "train":
        event = Event(mechanism="gaussian", sigma=2.0, q=1.0, steps=1)
    charge = Charge(
        reservation="a" * 64,
        stream=stream,
        task_hash=CONTRACT.task_hash,
        event=event,
        patients_agreed=40,
    )
    return sealed(replace(Chain().charge_line("reserve", charge, time="now"), **fields))


@pytest.mark.parametrize("stream", ["train", "audit", "test"])
def test_a_ledger_line_at_the_contracts_price_passes(stream: Stream) -> None:
    checks.check_line(a_line(stream), TASK, CONTRACT, site="north")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("time", "\ud800"),
        ("reservation", "a" * 129),
        ("prev", "a" * 10_000),
        ("task_hash", "u" * 64),
        ("patients_agreed", 41),
        ("mechanism", "exact"),
        ("sigma", 1e200),
        ("sigma", 1.4),
        ("sensitivity", 2.0),
        ("q", 0.2),
        ("steps", 2),
        ("steps", 10**30),
    ],
)
def test_a_ledger_line_that_charges_anything_else_is_refused(field: str, value: object) -> None:
    line = replace(a_line(), **{field: value})
    with pytest.raises(ProtocolError, match=f"a ledger line's {field} is not that of the contract"):
        checks.check_line(line, TASK, CONTRACT, site="north")


def test_a_release_is_one_step_and_a_changed_line_is_refused() -> None:
    with pytest.raises(ProtocolError, match="steps is not"):
        checks.check_line(a_line("audit", steps=2), TASK, CONTRACT, site="north")
    with pytest.raises(ProtocolError, match="hash is not that of its content"):
        checks.check_line(replace(a_line(), seq=7), TASK, CONTRACT, site="north")


def test_what_a_charge_costs_is_what_the_contract_says() -> None:
    site, terms = next(iter(CONTRACT.sites.items()))
    train = checks.agreed_event("train", TASK, CONTRACT, site)
    assert (train.mechanism, train.sigma) == ("subsampled-gaussian", terms.train_sigma)
    assert (train.steps, train.q) == (
        TASK.training.steps,
        CONTRACT.sampling_rate(site, TASK.training.expected_batch_patients),
    )
    audit = checks.agreed_event("audit", TASK, CONTRACT, site)
    assert (audit.mechanism, audit.sigma, audit.q) == ("gaussian", terms.audit_sigma, 1.0)
    free = replace(CONTRACT, sites={site: replace(terms, train_sigma=0.0, audit_sigma=0.0)})
    for stream in ("train", "audit"):
        assert checks.agreed_event(stream, TASK, free, site).mechanism == "exact"
