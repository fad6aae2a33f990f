"""The gate: which images of the catalogue a task may use, and why not the others.

The task's data contract is checked against the catalogue's columns alone, without opening a
file. Faults of pixels and of geometry are found later, when an image is first read. The codes
are explained in ``reasons``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pandas as pd

from fedrad.modalities import IMAGE_STORAGE
from fedrad.task import Task
from site_client.frames import ENHANCED

_COMPLETE_WITHOUT = ("duplicate-instance",)  # set aside, and the series lacks nothing
_MODALITIES = {"seg": "SEG", "rtstruct": "RTSTRUCT"}
_NIFTI = (".nii", ".nii.gz")
_SERIES = ["patient", "series"]  # a file of somebody else takes no series apart
_OF_PATIENT = "patient-"  # codes that concern every file of a patient alike


@dataclass(frozen=True)
class Admitted:
    """What the gate let through, and what it did not."""

    images: pd.DataFrame  # catalogue rows that the task may use
    segmentations: pd.DataFrame  # catalogue rows of drawn truth; empty unless asked for
    refused: pd.DataFrame  # columns file, reason, detail


def admit(catalogue: pd.DataFrame, task: Task) -> Admitted:
    """Sort a catalogue's rows by the task's data contract.

    Args:
        catalogue: From ``update_catalogue``; rows that already have a reason stay out.
        task: Its ``data`` and ``labels`` tables decide.

    Returns:
        Images in catalogue order, drawn truth if the labels come from it, and the other
        usable files with the first reason that applies. Where a series is one volume, a
        series of which a file was set aside as damaged is refused as a whole: without its
        last slice it would look complete.
    """
    usable = catalogue[catalogue["reason"] == ""]
    truths = _truths(catalogue, task)
    rest = usable[~usable.index.isin(truths.index)]
    reason = pd.Series("", index=rest.index, dtype=object)
    for code, wrong in _checks(rest, task):
        reason = reason.mask((reason == "") & wrong, code)
    detail = pd.Series("", index=rest.index, dtype=object)
    if task.data.dimensions == 3:
        without = _files_without(catalogue, rest)
        broken = (reason == "") & (without != "")
        reason, detail = reason.mask(broken, "series-incomplete"), detail.mask(broken, without)
    refused = rest[["file"]].assign(reason=reason, detail=detail)
    return Admitted(images=rest[reason == ""], segmentations=truths, refused=refused[reason != ""])


def until(images: pd.DataFrame, last: date) -> pd.DataFrame:
    """Return the rows whose exam has a date, up to and with the last day."""
    return images[(images["exam"] != "") & (images["exam"] <= last.isoformat())]


def _truths(catalogue: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Return the files that may hold the task's drawn truth; no image has its name."""
    if task.labels.source == "nifti":  # no DICOM: in the catalogue by its path alone
        named = catalogue["file"].str.lower().str.endswith(_NIFTI)
        return catalogue[named & (catalogue["reason"] == "not-dicom")]
    drawn = catalogue["modality"] == _MODALITIES.get(task.labels.source, "no drawing")
    return catalogue[drawn & (catalogue["reason"] == "")]


def _checks(rows: pd.DataFrame, task: Task) -> Iterator[tuple[str, pd.Series[bool]]]:
    data = task.data
    yield "wrong-modality", rows["modality"] != data.modality
    classes = data.sop_classes or IMAGE_STORAGE.get(data.modality, ())
    yield "wrong-sop-class", ~rows["sop_class"].isin(classes)
    yield "burned-in-text", rows["burned_in"] == "YES"
    yield "colour", rows["samples"] != 1
    yield "colour", ~rows["photometric"].isin(("MONOCHROME1", "MONOCHROME2"))
    stack = rows["sop_class"].isin(ENHANCED) & (data.dimensions == 3)
    yield "multi-frame", (rows["frames"] != 1) & ~stack
    yield "too-small", (rows["rows"] < data.min_rows) | (rows["columns"] < data.min_columns)
    yield "localizer", rows["image_type"].str.split("\\", regex=False).map(_is_localizer)
    if data.orientations:
        yield "other-orientation", ~rows["orientation"].isin(data.orientations)
    if data.views:
        yield "other-view", ~rows["view"].isin(data.views)
    if data.dimensions == 3 or task.labels.key == "SeriesInstanceUID":
        yield "series-missing", rows["series"] == ""


def _is_localizer(image_type: list[str]) -> bool:
    return "LOCALIZER" in image_type


def _files_without(catalogue: pd.DataFrame, rows: pd.DataFrame) -> pd.Series[str]:
    """Return for each row what its series lost: how many of its files, and why; else empty."""
    reason = catalogue["reason"]
    whole = reason.isin(("", *_COMPLETE_WITHOUT)) | reason.str.startswith(_OF_PATIENT)
    lost = catalogue[~whole & (catalogue["series"] != "")]
    words = {
        one: f"{len(why)} files of the series were set aside: {_counts(why)}"
        for one, why in lost.groupby(_SERIES)["reason"]
    }
    names = zip(*(rows[column] for column in _SERIES), strict=True)
    return pd.Series([words.get(name, "") for name in names], rows.index, dtype=object)


def _counts(why: pd.Series[str]) -> str:
    return ", ".join(f"{count} {code}" for code, count in why.value_counts().items())
