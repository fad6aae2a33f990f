"""The files of a run's rounds: accepted replies, the model, what a restart needs.

``rounds/NNNN/{replies/SITE.safetensors, late/SITE.safetensors, model.safetensors,
optimiser.safetensors, average.safetensors, state.json, manifest.json}``. The manifest is
written last: a round with one is complete. ``average`` is there where the task averages: then
it is what is measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedrad import durable
from fedrad import parameters as tensors
from fedrad.errors import DamagedStateError
from fedrad.parameters import Parameters

_MODEL, _OPTIMISER, _STATE = "model.safetensors", "optimiser.safetensors", "state.json"
_AVERAGE = "average.safetensors"
_LOST = "manifest.lost.json"
_NOTHING: Parameters = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundState:
    """What a finished round leaves besides tensors."""

    round: int
    committed: int  # rounds that changed the model so far, this one included
    model_digest: str
    accepted: dict[str, str]  # site -> digest of its update
    line: int = 0  # of the committed ones, those that this model descends from; 0: all


def round_folder(run: Path, round_number: int) -> Path:
    """Return the folder of a round; round 0 holds the initial model."""
    return run / "rounds" / f"{round_number:04d}"


def reply_path(run: Path, round_number: int, site: str) -> Path:
    """Return where a site's accepted update lies.

    A name that is not plain letters, digits, ``-``, ``_`` and ``.`` becomes its digest: what
    a site is called must not choose a path.
    """
    plain = site.replace("-", "").replace("_", "").replace(".", "")
    safe = site if plain.isascii() and plain.isalnum() and site[0] != "." else _digest(site)
    return round_folder(run, round_number) / "replies" / f"{safe}.safetensors"


def late_path(run: Path, round_number: int, site: str) -> Path:
    """Return where a round keeps a site's update of an earlier round, which came late."""
    return round_folder(run, round_number) / "late" / reply_path(run, round_number, site).name


def write_late(run: Path, round_number: int, site: str, *, update: Parameters) -> Path:
    """Write an update that came late and is carried, synced, and return its path."""
    path = late_path(run, round_number, site)
    tensors.write_safetensors(path, update)
    return path


def write_reply(run: Path, round_number: int, site: str, *, update: Parameters) -> Path:
    """Write an accepted update, synced, and return its path."""
    path = reply_path(run, round_number, site)
    tensors.write_safetensors(path, update)
    return path


def model_path(run: Path, round_number: int) -> Path:
    """Return where the model of a round lies: what the next round trains on."""
    return round_folder(run, round_number) / _MODEL


def write_round(
    run: Path,
    state: RoundState,
    model: Parameters,
    *,
    moments: Parameters,
    average: Parameters = _NOTHING,
) -> None:
    """Write a round's result; complete once its manifest is there."""
    folder = round_folder(run, state.round)
    names = [_MODEL, _STATE]
    tensors.write_safetensors(folder / _MODEL, model)
    for name, held in ((_OPTIMISER, moments), (_AVERAGE, average)):
        if held:
            tensors.write_safetensors(folder / name, held)
            names.append(name)
    durable.write_json(folder / _STATE, asdict(state))
    found = (*folder.glob("replies/*.safetensors"), *folder.glob("late/*.safetensors"))
    replies = [f"{path.parent.name}/{path.name}" for path in found]
    durable.write_manifest(folder, [*names, *replies])


def read_round(run: Path, round_number: int) -> tuple[RoundState, Parameters, Parameters]:
    """Return a complete round's state, model and optimiser moments; replies are not read.

    Raises:
        DamagedStateError: A file is missing or differs from the manifest.
    """
    folder = round_folder(run, round_number)
    names = durable.verify_manifest(folder, only=(_MODEL, _OPTIMISER, _STATE))
    if not {_MODEL, _STATE} <= set(names):
        raise DamagedStateError(f"the manifest in {folder} does not name model and state")
    state = _state(folder / _STATE)
    moments = tensors.read_safetensors(folder / _OPTIMISER) if _OPTIMISER in names else {}
    return state, tensors.read_safetensors(folder / _MODEL), moments


def read_average(run: Path, round_number: int) -> Parameters:
    """Return the average of the models up to a complete round; empty if none is kept.

    Raises:
        DamagedStateError: A file is missing or differs from the manifest.
    """
    folder = round_folder(run, round_number)
    if _AVERAGE not in durable.verify_manifest(folder, only=(_AVERAGE,)):
        return {}
    return tensors.read_safetensors(folder / _AVERAGE)


def read_released(run: Path, round_number: int) -> Parameters:
    """Return what a complete round measured and released: its average, or else its model.

    Raises:
        DamagedStateError: A file is missing or differs from the manifest.
    """
    return read_average(run, round_number) or read_round(run, round_number)[1]


def set_aside(run: Path, round_number: int) -> None:
    """Make a round's checkpoint count no more; its files stay for whoever looks into it."""
    manifest = round_folder(run, round_number) / durable.MANIFEST
    if manifest.exists():
        manifest.replace(manifest.with_name(_LOST))
        durable.sync_folder(manifest.parent)


def latest_round(run: Path) -> int | None:
    """Return the number of the last complete round; ``None`` if there is none."""
    complete = (path.parent.name for path in (run / "rounds").glob(f"*/{durable.MANIFEST}"))
    return max((int(name) for name in complete if name.isdecimal()), default=None)


def accepted_digest(accepted: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a set of (site, update digest): what fixes the model's bits."""
    return hashlib.sha256(durable.canonical_json(sorted(accepted))).hexdigest()


def _state(path: Path) -> RoundState:
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return RoundState(**table)
    except (OSError, ValueError, TypeError):
        raise DamagedStateError(f"{path} is not the state of a round") from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]
