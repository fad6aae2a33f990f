"""Nine numbers of an image that move when a machine or its settings do.

Grey levels, contrast, noise and sharpness of the array that a recipe made, in that array's own
unit and pixels; nothing of anatomy. What becomes of them is ``moments``' business. Frequencies
are cycles per pixel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from fedrad.errors import DataError

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]

NAMES = (
    "mean",
    "deviation",
    "p5",
    "p95",
    "median position",
    "log median laplacian",
    "log high share",
    "log middle to high",
    "log mean gradient",
)
MIDDLE, HIGH = 0.0625, 0.25  # where the middle and the high band begin
MOST_SLICES = 5
SMALLEST = 8  # rows and columns
_LEAST = 1e-6  # stands for 0 under a logarithm, and for no spread of grey levels


def describe(image: npt.NDArray[np.float32]) -> Floats:
    """Return the descriptors of one image, or their mean over slices of a volume.

    Mean and standard deviation; 5th and 95th percentile; (median - p5) / (p95 - p5), 0.5 where
    there is no spread; log10 of the median of the absolute 4-neighbour Laplacian (noise [1]);
    log10 of the power above ``HIGH`` over all but frequency 0; log10 of the power from
    ``MIDDLE`` to ``HIGH`` over that above (sharpness); log10 of the mean length of the gradient
    by central differences. Powers are of the image less its mean under a Hann window.

    Args:
        image: (rows, columns), or (slices, rows, columns), of which at most ``MOST_SLICES``
            evenly placed ones are read; after the task's recipe.

    Returns:
        (9,) in the order of ``NAMES``. Where a value of the image is not finite, so is what
        depends on it: ``moments`` gives those a public value.

    Raises:
        DataError: It has another number of axes, or under ``SMALLEST`` rows or columns.

    References:
        [1] Immerkaer, Fast Noise Variance Estimation, CVIU 64, 1996 (a Laplacian sees noise
            and little of the anatomy).
    """
    values = np.asarray(image, dtype=np.float32)
    if values.ndim not in (2, 3) or min(values.shape[-2:]) < SMALLEST or not values.size:
        raise DataError(f"descriptors need an image or a volume, got the shape {values.shape}")
    if values.ndim == 2:
        return _of_plane(values)
    places = np.linspace(0, len(values) - 1, min(len(values), MOST_SLICES)).round().astype(int)
    return np.asarray(np.mean([_of_plane(values[place]) for place in places], axis=0))


def _of_plane(plane: Plane) -> Floats:
    low, middle, high = (float(value) for value in np.percentile(plane, (5, 50, 95)))
    spread = high - low
    position = (middle - low) / spread if spread > _LEAST else 0.5
    total, band, fine = _powers(plane)
    return np.array(
        [
            plane.mean(dtype=np.float64),
            plane.std(dtype=np.float64),
            low,
            high,
            position,
            _log(float(np.median(np.abs(_laplacian(plane))))),
            _log(fine / max(total, _LEAST)),
            _log(band / max(fine, _LEAST)),
            _log(float(_gradient(plane).mean())),
        ]
    )


def _laplacian(plane: Plane) -> Plane:
    across = plane[1:-1, 2:] + plane[1:-1, :-2]
    return across + plane[2:, 1:-1] + plane[:-2, 1:-1] - 4 * plane[1:-1, 1:-1]


def _gradient(plane: Plane) -> Plane:
    down = plane[2:, 1:-1] - plane[:-2, 1:-1]
    across = plane[1:-1, 2:] - plane[1:-1, :-2]
    return np.asarray(np.sqrt(down * down + across * across) / 2, np.float32)


def _powers(plane: Plane) -> tuple[float, float, float]:
    """Return the power of everything but the mean, of the middle band and of the high band."""
    window, middle, high = _bands(*plane.shape)
    found = fft.rfft2((plane - plane.mean()) * window)
    power = found.real**2 + found.imag**2
    power[0, 0] = 0.0
    return float(power.sum()), float((power * middle).sum()), float((power * high).sum())


@lru_cache(maxsize=8)
def _bands(rows: int, columns: int) -> tuple[Plane, Plane, Plane]:
    window = np.outer(np.hanning(rows), np.hanning(columns)).astype(np.float32)
    radius = np.hypot(fft.fftfreq(rows)[:, None], fft.rfftfreq(columns)[None, :])
    middle, high = (radius > MIDDLE) & (radius <= HIGH), radius > HIGH
    return window, middle.astype(np.float32), high.astype(np.float32)


def _log(value: float) -> float:
    return float(np.log10(max(value, _LEAST))) if not np.isnan(value) else float("nan")
