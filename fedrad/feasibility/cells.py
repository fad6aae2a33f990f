"""What a feasibility record counts: three blocks of public cells, each patient once in each.

The blocks are patients by split and label, by maker of the scanner, and by view, or by plane
where the task has volumes. They are one joint Gaussian release (``fedrad.site_report``). The
cells come from the task and from the constants ``feasibility-1``, never from a site's data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrad.constants import read_constants
from fedrad.durable import canonical_json
from fedrad.privacy.accounting import Event
from fedrad.protocol.messages import Block
from fedrad.task import Task, task_hash

VOCABULARY = "feasibility-1"
SPLITS = ("train", "audit", "rest")  # rest: window and test patients
UNLABELLED = "unlabelled"
DRAWN = "drawn"  # where the truth is drawn: a patient who has one
OTHER = "other or missing"
SENSITIVITY = 1.0  # of a block: see ``sums``


def layout(task: Task) -> dict[str, tuple[str, ...]]:
    """Return the names of the cells of each block, in the order of a record's numbers."""
    grouped = tuple(f"{split} {label}" for split in SPLITS for label in labels_of(task))
    return {"patients": grouped, "vendors": _names("vendors"), "views": _names(_seen_from(task))}


def labels_of(task: Task) -> tuple[str, ...]:
    """Return the labels that patients are counted by; the last is ``UNLABELLED``."""
    known = task.task.classes if task.labels.source == "csv" else (DRAWN,)
    return (*known, UNLABELLED)


def patient_cell(task: Task, split: str, label: int | None) -> int:
    """Return the cell of a patient.

    Args:
        task: Its classes.
        split: The patient's split; any but train and audit is the rest.
        label: Index into ``labels_of``; ``None``: none is known.
    """
    labels = labels_of(task)
    group = SPLITS.index(split if split in SPLITS else SPLITS[-1])
    return group * len(labels) + (len(labels) - 1 if label is None else label)


def vendor_cell(maker: str) -> int:
    """Return the cell of a scanner's maker: the vocabulary's word that its name begins with."""
    name = maker.strip().upper()
    words = _words("vendors").items()
    return _names("vendors").index(next((s for b, s in words if name.startswith(b)), OTHER))


def view_cell(task: Task, view: str) -> int:
    """Return the cell of a View Position, or of a slice's plane where the task has volumes."""
    kind = _seen_from(task)
    name = view.strip() if kind == "planes" else view.strip().upper()
    return _names(kind).index(_words(kind).get(name, OTHER))


def sums(task: Task, cells: Mapping[str, npt.NDArray[np.int64]]) -> tuple[Block, ...]:
    """Count patients.

    One patient more moves one value of each block by 1, so the L2 sensitivity of a block is 1;
    that of all together, each on the scale of its share, is at most 1, as the shares sum to 1
    (``fedrad.site_report``).

    Args:
        task: Decides how many cells there are.
        cells: For each block of ``layout``, (patients,) the cell of each patient.

    Returns:
        Exact counts, in the order of ``layout``.
    """
    return tuple(
        Block(
            name=name,
            values=np.bincount(cells[name], minlength=len(names)).astype(np.float64),
            sigma=0.0,
            sensitivity=SENSITIVITY,
        )
        for name, names in layout(task).items()
    )


def event(noise: float) -> Event:
    """Return what one record with this noise multiplier costs every patient of the site."""
    return Event(mechanism="gaussian", sigma=noise, q=1.0, steps=1)


def charged_as(task: Task) -> str:
    """Return the hash under which a ledger charges records of a task: a contract of its own.

    The lines of the task's own hash say what the study's contract says, and the coordinator
    refuses others; a record comes before there is a contract.
    """
    what = {"feasibility": 1, "vocabulary": VOCABULARY, "task_hash": task_hash(task)}
    return hashlib.sha256(canonical_json(what)).hexdigest()


def _seen_from(task: Task) -> str:
    return "planes" if task.data.dimensions == 3 else "views"


@lru_cache(maxsize=8)
def _words(kind: str) -> Mapping[str, str]:
    words: dict[str, str] = read_constants(VOCABULARY)["values"][kind]
    return words


@lru_cache(maxsize=8)
def _names(kind: str) -> tuple[str, ...]:
    return (*dict.fromkeys(_words(kind).values()), OTHER)
