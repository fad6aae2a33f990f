"""A refusal for want of budget says one word to the coordinator, and no number in any field."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from flwr.app import Message, RecordDict
from tiny_study import TinyStudy, copy_study

from fedrad import flower
from fedrad.protocol.codec import encode_reply
from fedrad.protocol.messages import Phase, Reply
from simulations.scenario import Limits
from site_client import audit


def refused(hospitals: Path, folder: Path, limit: float, phase: Phase) -> tuple[Reply, str]:
    """Return what leaves a site with this limit, and what its own screen says."""
    limits = Limits(epsilon_limit=limit, min_patients=1)
    study: TinyStudy = copy_study(hospitals, folder, east=limits)
    reply = study.site().answer(study.ask(phase), study.model)
    return reply, audit.read(study.home())[-1]["sentence"]


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_two_hospitals_with_other_limits_refuse_in_the_same_bytes(
    hospitals: Path, tmp_path: Path, phase: Phase
) -> None:
    limits = (0.01, 0.37)
    found = [refused(hospitals, tmp_path / str(limit), limit, phase) for limit in limits]
    (one, _), (other, _) = found
    assert (one.outcome, one.reason_code) == ("refused", "budget")
    assert one == other
    flower.begin_run(1)
    asked = Message(RecordDict(), 1001, phase)
    sent = [encode_reply(reply, asked).content for reply, _ in found]
    assert sent[0] == sent[1]
    for (_, sentence), limit in zip(found, limits, strict=True):
        assert f"over its limit of {limit:.2f}" in sentence
        assert re.search(r"bring epsilon to \d+\.\d\d", sentence)
        assert re.search(r"at this noise \d+ more steps would fit", sentence)


def test_no_field_of_a_refusal_can_hold_what_the_site_would_afford(
    hospitals: Path, tmp_path: Path
) -> None:
    reply, _ = refused(hospitals, tmp_path / "run", 0.01, "train")
    numbers = {
        field.name: getattr(reply, field.name)
        for field in dataclasses.fields(reply)
        if isinstance(getattr(reply, field.name), int | float)
    }
    assert numbers == {"schema": reply.schema, "round": 1, "steps": 0}
    assert (reply.update, reply.blocks, reply.events) == ({}, (), ())
    digests = (reply.task_hash, reply.model_digest, reply.reply_id)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)
    assert reply.ledger_head == ""
