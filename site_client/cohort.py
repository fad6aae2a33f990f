"""From admitted images to the patients of one split: who, with which images and which truth.

A unit is what becomes one array: one image in 2D, one series in 3D. At most
``max_images_per_patient`` of a patient are used; a keyed digest of the instance decides which,
so that nobody can choose by naming files. Nothing is opened here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import pandas as pd

from fedrad.errors import DataError
from fedrad.task import Task
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.gate import Admitted
from site_client.label_table import read_labels
from site_client.labels import label_patients
from site_client.mask_table import MaskTable, read_mask_table
from site_client.patients import Split, split_of
from site_client.settings import SiteSettings


@dataclass(frozen=True, slots=True)
class Unit:
    """What becomes one array."""

    name: str  # keyed digest: the order in which a patient's units are used
    files: tuple[str, ...]  # relative to the archive, sorted
    truths: tuple[str, ...] = ()  # files of what was drawn on it


@dataclass(frozen=True, slots=True)
class Cohort:
    """The patients of one split with their units, and what was left out of all splits."""

    units: dict[str, tuple[Unit, ...]]  # patient -> units in order of use
    labels: dict[str, int]  # patient -> class index; empty without class labels
    refused: pd.DataFrame  # columns file, reason
    warnings: tuple[str, ...]  # for the site's own screen


def assemble(  # noqa: PLR0913  # whose, of what, by whose word
    admitted: Admitted,
    task: Task,
    *,
    split: Split,
    settings: SiteSettings,
    names: Pseudonyms,
    truth: Literal["needed", "unknown"] = "needed",
) -> Cohort:
    """Put together one split of a task.

    Args:
        admitted: From the gate.
        task: Its labels and its cap on images.
        split: Whose patients.
        settings: Label file and shares.
        names: The site's pseudonyms.
        truth: ``unknown`` keeps images whose class labels are not known yet.

    Raises:
        DataError: No image of the archive suits the task.
        LabelError: The task needs labels and there are none for any image.
    """
    if admitted.images.empty:
        raise DataError(_nothing_suits(admitted, task))
    images, refused = admitted.images, [admitted.refused]
    labels: dict[str, int] = {}
    warnings: list[str] = []
    if truth == "needed" and task.labels.source == "csv":
        found = read_labels(settings.labels.file, task.labels, names)
        known = label_patients(images, found, task.labels)
        images = images[~images["file"].isin(known.refused["file"])]
        labels = known.classes
        refused.append(known.refused)
        warnings += known.notes
        warnings += _label_warnings(known.unknown_keys, found.unmapped, labels)
    truths, notes = _truths(admitted, task, settings, names)
    warnings += notes
    units, without = _units(images, truths, task)
    refused.append(without)
    slots = dict(zip(images["patient"], images["slot"], strict=True))
    mine = {p: u for p, u in units.items() if split_of(slots[p], settings.splits) == split}
    warnings += _beyond_cap(mine, task.data.max_images_per_patient)
    return Cohort(
        mine,
        {patient: labels[patient] for patient in mine if labels},
        pd.concat(refused, ignore_index=True),
        tuple(warnings),
    )


def _units(
    images: pd.DataFrame, truths: dict[tuple[str, str], list[str]], task: Task
) -> tuple[dict[str, tuple[Unit, ...]], pd.DataFrame]:
    volumes = task.data.dimensions == 3
    found: dict[str, list[Unit]] = defaultdict(list)
    without: list[str] = []
    column = "series" if volumes else "instance"
    for names, rows in images.groupby(["patient", column], sort=True)["file"]:
        patient, name = map(str, cast("tuple[str, str]", names))
        unit = Unit(name, tuple(sorted(rows)), tuple(truths.get((patient, name), ())))
        if task.labels.source != "csv" and not unit.truths:
            without += unit.files
        else:
            found[patient].append(unit)
    refused = pd.DataFrame({"file": without, "reason": "no-mask"}, columns=["file", "reason"])
    return {patient: tuple(units) for patient, units in sorted(found.items())}, refused


def _truths(
    admitted: Admitted, task: Task, settings: SiteSettings, names: Pseudonyms
) -> tuple[dict[tuple[str, str], list[str]], list[str]]:
    """Return the files of drawn truth by patient and unit, and what the screen should say."""
    if task.labels.source == "nifti":
        listed = set(admitted.segmentations["file"])
        table = read_mask_table(settings.labels.file, task.labels, names, listed=listed)
        notes = [f"{table.absent} masks of the table are not in the archive"] * (table.absent > 0)
        return _tabled(admitted.images, table), notes
    column = "referenced_series" if task.data.dimensions == 3 else "references"
    return _referring(admitted.segmentations, column), []


def _tabled(images: pd.DataFrame, table: MaskTable) -> dict[tuple[str, str], list[str]]:
    units = images[["patient", "series", table.column]].drop_duplicates()
    rows = units.itertuples(index=False, name=None)
    return {(patient, one): list(table.files.get(key, ())) for patient, one, key in rows}


def _referring(segmentations: pd.DataFrame, column: str) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file, patient, references in segmentations[["file", "patient", column]].itertuples(
        index=False
    ):
        for name in references.split():
            found[patient, name].append(file)
    return found


def _label_warnings(unknown: int, unmapped: int, labels: dict[str, int]) -> Iterator[str]:
    if unknown:
        yield f"{unknown} labels name studies that the archive does not hold; they are not used"
    if unmapped:
        yield f"{unmapped} labels are not in the task's map; they are not used"
    if len(set(labels.values())) == 1:
        yield "all labelled patients are of one class: the site can train but not be scored"


def _beyond_cap(units: dict[str, tuple[Unit, ...]], cap: int) -> Iterator[str]:
    beyond = [len(mine) - cap for mine in units.values() if len(mine) > cap]
    if beyond:
        yield (
            f"{len(beyond)} patients have more than max_images_per_patient = {cap} images; "
            f"{sum(beyond)} of their images are not used"
        )


def _nothing_suits(admitted: Admitted, task: Task) -> str:
    counts = admitted.refused["reason"].value_counts()
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.head(3).items())
    return (
        f"no image of the archive suits the task {task.task.name!r}"
        f" ({reasons or 'no readable image at all'}); see quarantine.csv for each file"
    )
