"""The models of a run: what each round made, which one it stands on, what was decided of which.

A model is handed out with the digest that every manifest names it by, after its file was checked.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator import checkpoints
from aggregator.dashboard.book import Book
from aggregator.dashboard.glance import banner_of
from aggregator.lineage import CHANGING, lineage
from aggregator.run_folder import Row
from fedrad.parameters import digest

DECISIONS = {"promote": "promoted", "harm": "harm shown", "cannot-tell": "cannot tell"}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model as it is handed out."""

    content: bytes  # safetensors
    digest: str  # of its tensors, as manifests name it
    sha256: str  # of the file's bytes
    name: str


def model_context(book: Book) -> dict[str, Any]:
    """Return what the page of models shows."""
    rounds = book.rounds()
    run = book.run(rounds=rounds)
    line = lineage(rounds, book.lineage_events())
    made = [row for row in rounds if row["state"] in CHANGING]
    releases = book.rows("SELECT * FROM releases ORDER BY round DESC")
    return {
        "run": run,
        "banner": banner_of(run),
        "stands": line.stands,
        "models": [_model(row, line.left, releases) for row in reversed(made)],
        "releases": [_release(row) for row in releases],
        "turned": book.rows("SELECT * FROM actions WHERE action = 'rollback' ORDER BY round DESC"),
    }


def model_file(folder: Path, number: int) -> ModelFile:
    """Return what a round released, its average where the task averages, the file checked.

    Raises:
        DamagedStateError: The round has no model here, or its file does not verify.
    """
    released = digest(checkpoints.read_released(folder, number))
    average = checkpoints.model_path(folder, number).with_name("average.safetensors")
    path = average if average.exists() else checkpoints.model_path(folder, number)
    content = path.read_bytes()
    return ModelFile(
        content=content,
        digest=released,
        sha256=hashlib.sha256(content).hexdigest(),
        name=f"{folder.name}-round-{number:04d}-{released[:12]}.safetensors",
    )


def _model(row: Row, left: frozenset[int], releases: list[Row]) -> Row:
    decided = [_release(one) for one in releases if one["model_digest"] == row["model_digest"]]
    return row | {"left": row["round"] in left, "decided": decided}


def _release(row: Row) -> Row:
    try:
        reasons = [str(reason) for reason in json.loads(row["reasons_json"] or "[]")]
    except ValueError:
        reasons = []
    return row | {"said": DECISIONS.get(row["decision"], row["decision"]), "reasons": reasons}
