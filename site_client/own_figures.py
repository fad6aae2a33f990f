"""The exact figures of the newest measured model on this hospital's own patients, for its screen.

What a release says is noised; what it was made of is known here before the noise comes. Between
two releases the model of each round is measured here alone (``between``). The newest sums are kept
in ``state/figures/``, one file a study, readable by the home's owner alone. They never leave:
nothing that answers a message reads them. What they become is
``fedrad.metrics``'s business.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrad import durable
from fedrad.clock import Clock, stamp
from fedrad.errors import DamagedStateError
from fedrad.metrics.measure import measure
from fedrad.metrics.metric import Metric
from fedrad.protocol.messages import Block, Request
from fedrad.task import Task, read_task
from site_client.study import TASK, study_folder

FOLDER = Path("state", "figures")
_SEED = 0  # of the intervals: the same sums show the same figures


@dataclass(frozen=True, slots=True)
class Figures:
    """One study's last measured model on the patients that a site keeps for measuring."""

    study: str
    round: int  # that made the model; 0: what the study began with
    model_digest: str
    time: str
    released: bool  # whether the same sums left, noised
    metrics: tuple[Metric, ...]
    without: dict[str, float | None]  # the same without this site's last part; empty: not computed


def keep_sums(
    home: Path,
    request: Request,
    blocks: Sequence[Block],
    clock: Clock,
    *,
    without: Sequence[Block] = (),
) -> None:
    """Keep the exact sums of one model in place of the last one's.

    Args:
        home: The site's.
        request: With what the model came.
        blocks: The sums.
        clock: Tells when it was measured.
        without: The sums of the model without this site's last part (``own_part``).

    Raises:
        OSError: The disk refused.
    """
    table = {
        "round": round_of(request),
        "released": request.phase == "evaluate",
        "model_digest": request.model_digest,
        "time": stamp(clock),
        "blocks": list(map(_row, blocks)),
        "without": list(map(_row, without)),
    }
    path = home / FOLDER / f"{study_folder(home, request.study).name}.json"
    durable.write_json(path, table)
    path.chmod(0o600)


def round_of(request: Request) -> int:
    """Return the round that made the model that came with a question.

    An evaluation brings the model of its own round, a question to train that of the round before.
    """
    return request.round if request.phase == "evaluate" else request.round - 1


def read_figures(home: Path) -> tuple[Figures, ...]:
    """Return the figures of every study that was measured here, by name.

    Raises:
        DamagedStateError: A file cannot be read.
    """
    found = []
    for path in sorted((home / FOLDER).glob("*.json")):
        task_path = study_folder(home, path.stem) / TASK
        if task_path.exists():
            found.append(_figures(path, read_task(task_path)))
    return tuple(found)


def _figures(path: Path, task: Task) -> Figures:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        blocks, rest = (tuple(map(_block, table[name])) for name in ("blocks", "without"))
        number, digest, time = int(table["round"]), str(table["model_digest"]), str(table["time"])
        released = bool(table["released"])
    except (ValueError, KeyError, TypeError):
        line = f"{path} is damaged; the next evaluation writes it anew"
        raise DamagedStateError(line) from None
    metrics = measure(blocks, task, np.random.default_rng(_SEED))
    found = measure(rest, task, np.random.default_rng(_SEED)) if rest else ()
    without = {metric.name: metric.value for metric in found}
    return Figures(path.stem, number, digest, time, released, metrics, without)


def _row(block: Block) -> dict[str, Any]:
    return {"name": block.name, "values": list(map(_plain, block.values.tolist()))}


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _block(table: dict[str, Any]) -> Block:
    values = np.asarray(table["values"], dtype=np.float64)
    return Block(name=str(table["name"]), values=values, sigma=0.0, sensitivity=1.0)
