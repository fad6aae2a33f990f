"""Kept answers: read back to the bit, forgotten when their study moves on, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedrad.errors import DamagedStateError
from fedrad.parameters import digest
from fedrad.protocol.messages import Block, Phase, Reply, Request
from site_client import outbox

UPDATE = {"b": np.float32([[1.5, -2.0]]), "a": np.float64([1e-300])}


def reply(study: str = "s", round_number: int = 1) -> Reply:
    return Reply(
        study=study,
        task_hash="t",
        round=round_number,
        phase="train",
        model_digest="m",
        reply_id=f"{study}{round_number}",
        outcome="done",
        update=UPDATE,
        update_digest=digest(UPDATE),
        blocks=(Block(name="n", values=np.array([0.1, np.nan]), sigma=2.0, sensitivity=1.0),),
        steps=3,
        events=({"seq": 1, "q": 0.1},),
    )


def test_a_kept_reply_comes_back_to_the_bit(tmp_path: Path) -> None:
    outbox.keep(tmp_path, reply())
    found = outbox.kept(tmp_path, "s1")
    assert found is not None
    assert digest(found.update) == found.update_digest == digest(UPDATE)
    np.testing.assert_array_equal(found.blocks[0].values, [0.1, np.nan])
    assert (found.steps, found.events) == (3, reply().events)


def test_an_unknown_reply_is_none(tmp_path: Path) -> None:
    assert outbox.kept(tmp_path, "s1") is None


def test_only_older_rounds_of_the_same_study_are_forgotten(tmp_path: Path) -> None:
    for study in ("s", "other"):
        for number in (1, 2, 3):
            outbox.keep(tmp_path, reply(study, number))
    outbox.forget_before(tmp_path, "s", 3)
    left = sorted(path.stem for path in (tmp_path / "state" / "replies").glob("*.safetensors"))
    assert left == ["other1", "other2", "other3", "s3"]
    assert outbox.kept(tmp_path, "s2") is None
    assert outbox.kept(tmp_path, "other1") is not None


def test_tensors_without_their_json_are_no_reply(tmp_path: Path) -> None:
    """A crash between the two files: the JSON comes last and makes it valid."""
    outbox.keep(tmp_path, reply())
    (tmp_path / "state" / "replies" / "s1.json").unlink()
    assert outbox.kept(tmp_path, "s1") is None


def test_lost_tensors_are_said_to_be_lost(tmp_path: Path) -> None:
    outbox.keep(tmp_path, reply())
    (tmp_path / "state" / "replies" / "s1.safetensors").unlink()
    with pytest.raises(DamagedStateError, match="cannot be read as safetensors"):
        outbox.kept(tmp_path, "s1")


def test_a_kept_reply_whose_tensors_changed_is_not_sent(tmp_path: Path) -> None:
    outbox.keep(tmp_path, reply())
    path = tmp_path / "state" / "replies" / "s1.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedStateError, match="differs from its digest"):
        outbox.kept(tmp_path, "s1")


def test_answers_of_earlier_rounds_are_acknowledged_by_a_later_one_of_their_study(
    tmp_path: Path,
) -> None:
    outbox.keep(tmp_path, reply("s", 3))
    found = [outbox.moved_on(tmp_path, asked(study, 2)) for study in ("s", "other")]
    assert (found, outbox.moved_on(tmp_path, asked("s", 3))) == ([True, False], False)
    assert not outbox.moved_on(tmp_path, asked("s", 2, "window"))


def asked(study: str, number: int, phase: Phase = "evaluate") -> Request:
    return Request(
        study=study, task_hash="t", round=number, phase=phase, model_digest="m", deadline_s=1.0
    )
