"""A round on disk is complete and unchanged, or it is not taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aggregator import checkpoints
from fedrad import durable
from fedrad.errors import DamagedStateError
from fedrad.parameters import digest

MODEL = {"z": np.ones((2, 2), np.float32), "a": np.array(3.0)}
MOMENTS = {"m:z": np.zeros((2, 2), np.float32)}
STATE = checkpoints.RoundState(
    round=3, committed=2, model_digest=digest(MODEL), accepted={"north": "abc"}
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    checkpoints.write_reply(tmp_path, 3, "north", update=MODEL)
    checkpoints.write_round(tmp_path, STATE, MODEL, moments=MOMENTS)
    return tmp_path


def test_a_round_comes_back_as_it_was_written(run: Path) -> None:
    state, model, moments = checkpoints.read_round(run, 3)
    assert state == STATE
    assert digest(model) == digest(MODEL)
    assert list(moments) == ["m:z"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "state.json"])
def test_one_changed_byte_anywhere_is_seen(run: Path, name: str) -> None:
    flip(checkpoints.round_folder(run, 3) / name)
    with pytest.raises(DamagedStateError, match=name):
        checkpoints.read_round(run, 3)


def test_a_damaged_update_is_seen_and_leaves_its_rounds_model_readable(run: Path) -> None:
    flip(checkpoints.reply_path(run, 3, "north"))
    assert digest(checkpoints.read_round(run, 3)[1]) == digest(MODEL)
    with pytest.raises(DamagedStateError, match="north"):
        durable.verify_manifest(checkpoints.round_folder(run, 3))


def test_a_round_that_is_set_aside_does_not_count(run: Path) -> None:
    checkpoints.set_aside(run, 3)
    checkpoints.set_aside(run, 3)
    assert checkpoints.latest_round(run) is None


def test_a_round_without_its_manifest_does_not_count(run: Path) -> None:
    checkpoints.write_reply(run, 4, "north", update=MODEL)
    assert checkpoints.latest_round(run) == 3
    assert checkpoints.latest_round(run / "nothing") is None


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", ".", "a/b", "küche", ".hidden"])
def test_a_site_name_cannot_choose_a_path(tmp_path: Path, name: str) -> None:
    path = checkpoints.reply_path(tmp_path, 1, name)
    assert path.parent == checkpoints.round_folder(tmp_path, 1) / "replies"
    assert path.resolve().is_relative_to(tmp_path.resolve())


def test_the_accepted_digest_depends_on_the_set_and_not_on_its_order() -> None:
    pairs = [("a", "1"), ("b", "2")]
    one = checkpoints.accepted_digest(pairs)
    assert one == checkpoints.accepted_digest(reversed(pairs))
    assert one != checkpoints.accepted_digest([("a", "2"), ("b", "1")])
