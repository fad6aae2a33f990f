"""What a window tells of CT and MR beside the nine descriptors: where tissues lie on their scale.

CT values have a unit, so a scanner, a kernel or a calibration that drifts moves the peaks of
air, fat and soft tissue in Hounsfield units [1]. MR values have none: there it is where the
commonest grey level lies between dark and bright. Centres and units are stated round numbers,
fitted on nothing. Slice thickness is among the tags.

References:
    [1] Definition: -1000 HU is air and 0 water; fat near -100 and soft tissue near 45 HU are
        usual values (Hounsfield, Computerized Transverse Axial Scanning, 1973).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedrad.constants import limits_of, read_constants
from fedrad.errors import DataError

Floats = npt.NDArray[np.float64]

CLIP = 2.0  # of a patient's L2 norm: the sensitivity of a sum
PEAKS: Mapping[str, tuple[float, float, float, float]] = {  # searched from, to; centre, unit; HU
    "air peak": (-1060.0, -860.0, -1000.0, 50.0),
    "fat peak": (-160.0, -50.0, -100.0, 25.0),
    "soft tissue peak": (0.0, 90.0, 45.0, 20.0),
}
MODE = (0.3, 0.2)  # centre and unit of an MR image's commonest level
BIN = 5.0  # HU
FEWEST = 200  # voxels within a range, below which it has no peak
VARIANCE = 0.25  # among patients, of each number: public; how much more or less, windows say


def names_of(modality: str) -> tuple[str, ...]:
    """Return what is told of a modality; nothing of radiographs."""
    return {"CT": tuple(PEAKS), "MR": ("mode",)}.get(modality, ())


def describe_more(image: npt.NDArray[np.float32], modality: str, *, constants: str) -> Floats:
    """Return the numbers of one image or volume; one that it cannot tell is not finite.

    Args:
        image: After the task's recipe, any shape.
        modality: ``CT`` or ``MR``.
        constants: Those of the recipe's intensity: they say which Hounsfield units 0 and 1 are.

    Returns:
        (len(names_of(modality)),).
    """
    values = np.asarray(image, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if modality == "MR":
        return np.array([_mode(values)])
    known = read_constants(constants)["values"]
    if known.get("unit") != "HU":
        return np.full(len(PEAKS), np.nan)
    low, high = limits_of(known)
    inside = values[(values > 0) & (values < 1)]  # what the recipe cut is no peak
    units = low + inside * (high - low)
    return np.array([_peak(units, first, last) for first, last, _, _ in PEAKS.values()])


def patient_extras(images: Sequence[npt.ArrayLike], modality: str) -> Floats:
    """Return one patient's numbers, standardised, of L2 norm at most ``CLIP``.

    The mean over a patient's images comes first; one that is not finite counts as 0.

    Raises:
        DataError: No image, or another number of values than the modality has.
    """
    names = names_of(modality)
    rows = np.asarray(images, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(names) or not len(rows):
        raise DataError(f"a patient has {len(names)} numbers an image, got {rows.shape}")
    scales = [PEAKS[name][2:] if name in PEAKS else MODE for name in names]
    centre, unit = np.array(scales).T
    with np.errstate(over="ignore"):
        each = (rows - centre) / unit
    z = np.where(np.isfinite(each), np.clip(each, -CLIP, CLIP), 0.0).mean(axis=0)
    return np.asarray(z * min(1.0, CLIP / max(float(np.linalg.norm(z)), 1e-300)))


def covariance(length: int) -> Floats:
    """Return the public covariance among patients."""
    return VARIANCE * np.eye(length)


def _peak(units: Floats, first: float, last: float) -> float:
    """Return the middle of the fullest bin of a range, smoothed over three bins."""
    kept = units[(units >= first) & (units <= last)]
    if len(kept) < FEWEST:
        return float("nan")
    counts, edges = np.histogram(kept, bins=round((last - first) / BIN), range=(first, last))
    smooth = np.convolve(counts, np.ones(3), mode="same")
    place = int(np.argmax(smooth))
    return float((edges[place] + edges[place + 1]) / 2)


def _mode(values: Floats) -> float:
    """Return where the commonest level above the darkest tenth lies between it and the 95th."""
    if len(values) < FEWEST:
        return float("nan")
    dark, bright = np.percentile(values, (10, 95))
    if not bright > dark:
        return float("nan")
    counts, edges = np.histogram(values, bins=40, range=(dark, bright))
    counts[0] = 0  # background
    place = int(np.argmax(np.convolve(counts, np.ones(3), mode="same")))
    return float(((edges[place] + edges[place + 1]) / 2 - dark) / (bright - dark))
