"""What was drawn on a series, from whichever kind of file the task's truth comes in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrad.data_contract import Labels
from site_client.archive.instances import read_instance
from site_client.archive.ordinary import content_of
from site_client.contours import contour_mask
from site_client.masks import joined, series_mask
from site_client.nifti import nifti_mask
from site_client.volumes import SeriesVolume, turn


def read_truth(paths: Sequence[Path], volume: SeriesVolume, labels: Labels) -> NDArray[np.uint8]:
    """Read what was drawn on a series.

    Args:
        paths: Files of the task's source; a voxel is inside if any of them says so.
        volume: The series.
        labels: Source, and the map from names (SEG, RTSTRUCT) or values (NIfTI) to classes.

    Returns:
        uint8, the shape of ``volume.voxels``, 0 or 1.

    Raises:
        UnusableFileError: A file cannot be used, or ``mask-other-class``: no file holds a
            region that the task knows.
    """
    found = [_mask(path, volume, labels) for path in paths]
    return turn(joined([mask for mask in found if mask is not None]), volume)


def _mask(path: Path, volume: SeriesVolume, labels: Labels) -> NDArray[np.bool_] | None:
    if labels.source == "nifti":
        return nifti_mask(content_of(path), volume, labels.map)
    draw = contour_mask if labels.source == "rtstruct" else series_mask
    return draw(read_instance(path), volume, labels.map)
