"""A reply is used only if this round asked this site for it and it fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrad.errors import ProtocolError
from fedrad.parameters import digest
from fedrad.protocol import checks
from fedrad.protocol.messages import Block, Reply, Request, reply_id
from fedrad.task import Task, parse_task

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


def a_task(kind: str = "classification", release: str = "private") -> Task:
    return parse_task(
        {
            "schema": 1,
            "task": {"name": "x", "kind": kind, "classes": ["n", "y"], "positive": "y"},
            "data": {"modality": "DX", "dimensions": 2},
            "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
            "recipe": {"size": [8, 8], "intensity": {"kind": "range", "constants": "unit"}},
            "model": {"name": "tiny"},
            "training": {"steps": 1, "expected_batch_patients": 4.0},
            "federation": {"rounds": 1},
            "privacy": {"enabled": release == "private"},
            "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0], "release": release},
            "analysis": {"primary": "auroc"},
        }
    )


def block(name: str, size: int, *, sigma: float = 2.0, sensitivity: float = 1.0) -> Block:
    return Block(name=name, values=np.ones(size), sigma=sigma, sensitivity=sensitivity)


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
    sums = (block("n", 1), block("positives", 1), block("operating", 4), block("table", 4))
    checks.check_blocks(sums, a_task(), audit_sigma=1.0)
    assert checks.block_sizes(a_task("segmentation"))["dice_histogram"] == 4


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ((block("ages", 3),), "'ages' is not one of"),
        ((block("n", 2),), r"'n' has shape \(2,\)"),
        ((block("n", 1), block("n", 1)), "two blocks have one name"),
        ((replace(block("n", 1), values=np.array([np.nan])),), "not finite"),
        ((block("n", 1, sigma=0.0),), "exact although the contract asks for noise"),
        ((block("n", 1, sigma=0.5),), "joint noise multiplier is 0.5, agreed are 1"),
        ((block("exact", 1),), "'exact' is not one of"),
    ],
)
def test_sums_the_contract_does_not_know_are_refused(
    blocks: tuple[Block, ...], problem: str
) -> None:
    with pytest.raises(ProtocolError, match=problem):
        checks.check_blocks(blocks, a_task(), audit_sigma=1.0)


def test_exact_sums_pass_where_the_task_and_the_contract_are_exact() -> None:
    sums = (block("n", 1, sigma=0.0), block("exact", 1, sigma=0.0))
    checks.check_blocks(sums, a_task(release="exact"), audit_sigma=0.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4), st.floats(0.1, 20.0))
def test_noise_dealt_by_any_public_shares_is_accepted_and_less_is_not(
    weights: list[float], sigma: float
) -> None:
    """The rule sees the joint mechanism, so the shares need not be known."""
    task = a_task()
    names = ["n", "positives", "operating", "table"][: len(weights)]
    sizes = checks.block_sizes(task)
    total = sum(weights)
    blocks = tuple(
        block(name, sizes[name], sigma=sigma / (weight / total) ** 0.5)
        for name, weight in zip(names, weights, strict=True)
    )
    checks.check_blocks(blocks, task, audit_sigma=sigma)
    with pytest.raises(ProtocolError, match="joint noise multiplier"):
        checks.check_blocks(blocks, task, audit_sigma=sigma * 1.01)
