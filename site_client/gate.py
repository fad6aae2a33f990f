"""The gate: which images of the catalogue a task may use, and why not the others.

The task's data contract is checked against the catalogue's columns alone, without opening a
file. Faults of the pixels are found later, when an image is first read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from fedrad.task import Task
from site_client.catalogue import SEGMENTATION

# Screenshots and scanned paper: text burned into the pixels is the rule, not the exception.
_CAPTURES = (
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)


@dataclass(frozen=True)
class Admitted:
    """What the gate let through, and what it did not."""

    images: pd.DataFrame  # catalogue rows that the task may use
    segmentations: pd.DataFrame  # catalogue rows of DICOM SEG objects; empty unless asked for
    refused: pd.DataFrame  # columns file, reason


def admit(catalogue: pd.DataFrame, task: Task) -> Admitted:
    """Sort a catalogue's rows by the task's data contract.

    Args:
        catalogue: From ``update_catalogue``; rows that already have a reason stay out.
        task: Its ``data`` and ``labels`` tables decide.

    Returns:
        Images in catalogue order, segmentations if the labels come from them, and the other
        usable files with the first reason that applies.
    """
    usable = catalogue[catalogue["reason"] == ""]
    truth = usable["modality"] == SEGMENTATION
    asked = truth & (task.labels.source == "seg")
    rest = usable[~asked]
    reason = pd.Series("", index=rest.index, dtype=object)
    for code, wrong in _checks(rest, task):
        reason = reason.mask((reason == "") & wrong, code)
    refused = rest[["file"]].assign(reason=reason)
    return Admitted(
        images=rest[reason == ""], segmentations=usable[asked], refused=refused[reason != ""]
    )


def _checks(rows: pd.DataFrame, task: Task) -> Iterator[tuple[str, pd.Series[bool]]]:
    data = task.data
    yield "wrong-modality", rows["modality"] != data.modality
    if data.sop_classes:
        yield "wrong-sop-class", ~rows["sop_class"].isin(data.sop_classes)
    else:
        yield "wrong-sop-class", rows["sop_class"].isin(_CAPTURES)
    yield "burned-in-text", rows["burned_in"] == "YES"
    yield "colour", rows["samples"] != 1
    yield "colour", ~rows["photometric"].isin(("MONOCHROME1", "MONOCHROME2"))
    yield "multi-frame", rows["frames"] != 1
    yield "too-small", (rows["rows"] < data.min_rows) | (rows["columns"] < data.min_columns)
    yield "localizer", rows["image_type"].str.split("\\", regex=False).map(_is_localizer)
    if data.views:
        yield "other-view", ~rows["view"].isin(data.views)
    if data.dimensions == 3 or task.labels.key == "SeriesInstanceUID":
        yield "series-missing", rows["series"] == ""


def _is_localizer(image_type: list[str]) -> bool:
    return "LOCALIZER" in image_type
