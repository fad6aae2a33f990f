"""Count a site's patients into the public cells of a feasibility record: exact, stays here.

Everybody counts of whom the gate admits an image, once in each block (``fedrad.feasibility``):
by split and label as a round would deal and label them, by the maker and the view of most of
their admitted images. No pixel is read. What may leave is ``sharing``'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pandas as pd

from fedrad.feasibility.cells import patient_cell, sums, vendor_cell, view_cell
from fedrad.protocol.messages import Block
from fedrad.task import Task
from site_client import home as site_home
from site_client.catalogue import update_catalogue
from site_client.cohort import assemble
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.identities import count_unusable, refuse_many_unusable
from site_client.patients import SPLITS, split_of
from site_client.settings import Shares, SiteSettings


@dataclass(frozen=True, slots=True)
class Tally:
    """Exact counts."""

    blocks: tuple[Block, ...]
    patients: int  # everybody who is counted
    train: int  # labelled patients in the training split


def tally(home: Path, settings: SiteSettings, task: Task) -> Tally:
    """Count the patients of whom the archive has anything for a task.

    Raises:
        DataError, LabelError: It has nothing, or nobody is labelled.
        NotReadyError: Too many studies belong to nobody.
    """
    catalogue = update_catalogue(home)
    refuse_many_unusable(count_unusable(catalogue, settings.patients.max_studies))
    admitted = admit(catalogue, task)
    names = pseudonyms(site_home.split_key(home))
    labels: dict[str, int] = {}
    train = 0
    for split in SPLITS:
        found = assemble(admitted, task, split=split, settings=settings, names=names)
        labels |= found.labels or dict.fromkeys(found.units, 0)
        train += len(found.units) if split == "train" else 0
    cells = cells_of(admitted.images, labels, task, settings.splits)
    columns = {str(name): cells[name].to_numpy() for name in cells}
    return Tally(sums(task, columns), patients=len(cells), train=train)


def cells_of(
    images: pd.DataFrame, labels: Mapping[str, int], task: Task, shares: Shares
) -> pd.DataFrame:
    """Return the cell of each patient in each block: one row a patient, one column a block.

    A row depends on that patient's images and label alone.

    Args:
        images: Columns ``patient``, ``slot``, ``maker``, ``view`` and ``orientation``.
        labels: Patient to label; who is absent is unlabelled.
        task: Whose cells.
        shares: Of the splits.
    """
    slots = images.groupby("patient")["slot"].first()
    splits = slots.map(lambda slot: split_of(int(slot), shares))
    seen = "orientation" if task.data.dimensions == 3 else "view"
    return pd.DataFrame(
        {
            "patients": [
                patient_cell(task, split, labels.get(str(patient)))
                for patient, split in splits.items()
            ],
            "vendors": _most(images, "maker", vendor_cell),
            "views": _most(images, seen, partial(view_cell, task)),
        },
        index=slots.index,
        dtype="int64",
    )


def _most(images: pd.DataFrame, column: str, cell: Callable[[str], int]) -> pd.Series[int]:
    """Return for each patient the cell of most of the images; of equals, the first."""
    cells = images[column].map(cache(cell)).rename("cell")
    counted = cells.groupby([images["patient"], cells]).size().rename("images").reset_index()
    ordered = counted.sort_values(["patient", "images", "cell"], ascending=[True, False, True])
    return ordered.drop_duplicates("patient").set_index("patient")["cell"]
