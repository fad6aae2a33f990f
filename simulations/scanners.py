"""How a machine records a phantom: blur, gain, gamma, noise, and how it writes the values.

Scanners are what differs between hospitals. Exposure turns an ideal image into stored whole
numbers; which DICOM elements describe them is in ``dicom``. Lengths are millimetres, blur
and noise are relative to the ideal image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fedrad.settings import refuse_problems

Syntax = Literal["explicit", "implicit", "rle", "jpeg2000"]
Photometric = Literal["MONOCHROME1", "MONOCHROME2"]

CT_LOW, CT_HIGH = -1024.0, 3071.0  # HU that a CT stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """One machine; the defaults are a well-kept one."""

    manufacturer: str = "Phantomworks"
    model: str = "Plain 1"
    gain: float = 1.0
    gamma: float = 1.0
    noise: float = 0.01  # standard deviation; of [0, 1] in a radiograph, 1 is 1,000 HU in CT
    blur_px: float = 0.0  # standard deviation of a Gaussian
    spacing_mm: float = 3.0  # between pixel centres
    slice_mm: float = 8.0  # between slices of a CT
    photometric: Photometric = "MONOCHROME2"
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    bits_stored: int = 12
    syntax: Syntax = "explicit"

    def __post_init__(self) -> None:
        refuse_problems("scanner", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for name in ("gain", "gamma", "spacing_mm", "slice_mm", "rescale_slope"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                yield f"{name} must be greater than 0, got {value}"
        for name in ("noise", "blur_px"):
            if not getattr(self, name) >= 0:
                yield f"{name} must be 0 or more, got {getattr(self, name)}"
        if not 8 <= self.bits_stored <= 16:
            yield f"bits_stored must lie in 8 to 16, got {self.bits_stored}"


SCANNERS: dict[str, Scanner] = {
    "plain": Scanner(),
    "soft": Scanner(
        manufacturer="Nordlicht", model="Weich 2", gain=0.93, gamma=1.15, noise=0.012,
        blur_px=0.5, spacing_mm=2.9, bits_stored=14, syntax="jpeg2000",
    ),
    "inverse": Scanner(
        manufacturer="Kontrast & Söhne", model="Negativ 7", gain=1.05, gamma=0.9, noise=0.015,
        spacing_mm=3.2, photometric="MONOCHROME1", bits_stored=12, syntax="implicit",
    ),
    "noisy": Scanner(
        manufacturer="Altgerät", model="Mobil 3", gain=0.9, gamma=1.1, noise=0.03,
        blur_px=0.4, spacing_mm=3.1, bits_stored=15, rescale_slope=2.0, rescale_intercept=-100.0,
        syntax="rle",
    ),
}  # fmt: skip
"""Scanners that a scenario can name; one table of its own describes any other."""


def expose(
    image: NDArray[np.float32], scanner: Scanner, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Record a radiograph as stored values.

    ``gain * image ** gamma``, blurred, with Gaussian noise, clipped to [0, 1], quantised to
    ``bits_stored`` bits; turned over for MONOCHROME1, whose lowest value is shown white
    (PS3.3 C.7.6.3.1.2).

    Args:
        image: (rows, columns) in [0, 1], dense tissue bright.
        scanner: The machine.
        rng: Its noise.

    Returns:
        Stored values, uint16, same shape.
    """
    seen = np.float32(scanner.gain) * np.maximum(image, 0) ** np.float32(scanner.gamma)
    if scanner.blur_px > 0:
        seen = ndimage.gaussian_filter(seen, scanner.blur_px)
    seen = seen + np.float32(scanner.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    if scanner.photometric == "MONOCHROME1":
        seen = 1 - seen
    top = np.float32((1 << scanner.bits_stored) - 1)
    return np.asarray(np.rint(np.clip(seen, 0, 1) * top), np.uint16)


def expose_ct(
    volume: NDArray[np.float32], scanner: Scanner, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Record a CT volume as stored values, HU = slope * stored + intercept.

    Gain stretches HU about water; gamma and photometric do not apply to CT.

    Args:
        volume: (slices, rows, columns) in HU.
        scanner: The machine; its noise is in units of 1,000 HU.
        rng: Its noise.

    Returns:
        Stored values, int16, same shape.
    """
    seen = np.float32(scanner.gain) * volume
    if scanner.blur_px > 0:
        seen = ndimage.gaussian_filter(seen, (0, scanner.blur_px, scanner.blur_px))
    seen += np.float32(1000 * scanner.noise) * rng.standard_normal(seen.shape, dtype=np.float32)
    seen = np.clip(seen, CT_LOW, CT_HIGH)
    stored = np.rint((seen - scanner.rescale_intercept) / scanner.rescale_slope)
    edge = 1 << (scanner.bits_stored - 1)
    return np.asarray(np.clip(stored, -edge, edge - 1), np.int16)
