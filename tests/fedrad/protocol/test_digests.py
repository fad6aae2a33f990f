"""A message's digest: the same at both ends, another for every other message."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from fedrad.protocol.digests import reply_digest, request_digest
from fedrad.protocol.messages import Block, Reply, Request

REQUEST = Request(
    study="s", task_hash="t" * 64, round=1, phase="train", model_digest="m" * 64, deadline_s=60.0
)
BLOCK = Block(name="n", values=np.array([1.0, 2.0]), sigma=0.5, sensitivity=1.0)
REPLY = Reply(
    study="s",
    task_hash="t" * 64,
    round=1,
    phase="evaluate",
    model_digest="m" * 64,
    reply_id="r" * 64,
    outcome="done",
    blocks=(BLOCK,),
    events=({"seq": 1},),
)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Request)])
def test_every_field_of_a_request_counts(name: str) -> None:
    value = getattr(REQUEST, name)
    other = value + "x" if isinstance(value, str) else value + 1
    assert request_digest(replace(REQUEST, **{name: other})) != request_digest(REQUEST)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Reply)])
def test_every_field_of_a_reply_counts_and_tensors_by_their_digest(name: str) -> None:
    value = getattr(REPLY, name)
    other = {str: lambda: f"{value}x", int: lambda: value + 1}.get(type(value), lambda: ())()
    changed = replace(REPLY, **{name: {"w": np.ones(2)} if name == "update" else other})
    assert (reply_digest(changed) != reply_digest(REPLY)) == (name != "update")


def test_one_bit_of_one_sum_counts_and_what_is_no_number_has_a_digest_too() -> None:
    digests = {
        reply_digest(replace(REPLY, blocks=(replace(BLOCK, values=np.array([1.0, last])),)))
        for last in (2.0, np.nextafter(2.0, 3.0), np.nan, np.inf, -0.0, 0.0)
    }
    assert len(digests) == 6
    assert reply_digest(replace(REPLY, blocks=(replace(BLOCK, sigma=float("nan")),)))
