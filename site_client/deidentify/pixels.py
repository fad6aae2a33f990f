"""Put pixels into a de-identified object as plain numbers, and nothing beside them.

Pixels are written from decoded values, uncompressed: comments and application segments of
JPEG streams, bytes after the last frame and bits beside the stored ones cannot come along.
An object whose words hold something in bits that are not stored (old overlays do, PS3.5 8.1.1)
is refused. Decoding belongs to ``archive``; text inside the picture to ``burned_text``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits

_GREY = ("MONOCHROME1", "MONOCHROME2")


def unsuited(instance: Dataset, stored: NDArray[Any]) -> str:
    """Return why these pixels cannot be written, or an empty text.

    Args:
        instance: The object that they belong to.
        stored: As decoded: (rows, columns) or (frames, rows, columns).

    Returns:
        ``colour``; ``pixels-unreadable`` for a shape or type that is not the header's;
        ``hidden-bits`` for values outside the stored bits.
    """
    if str(instance.get("PhotometricInterpretation") or "") not in _GREY:
        return "colour"
    frames = int(instance.get("NumberOfFrames") or 1)
    one = (int(instance.Rows), int(instance.Columns))
    shapes = ((frames, *one),) if frames > 1 else (one, (1, *one))
    if stored.shape not in shapes or stored.size == 0 or stored.dtype.kind not in "iu":
        return "pixels-unreadable"
    return "" if _inside(instance, stored) else "hidden-bits"


def put_pixels(clean: Dataset, stored: NDArray[Any]) -> None:
    """Write decoded values into ``clean`` and make its description fit them.

    Args:
        clean: The object, to be written as Explicit VR Little Endian.
        stored: From ``decode``; values within BitsStored.
    """
    if int(clean.BitsAllocated) == 1:
        clean.add_new(0x7FE00010, "OB", pack_bits(stored.astype(np.uint8), pad=True))
        return
    bits = stored.dtype.itemsize * 8
    clean.BitsAllocated = bits
    content = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    clean.add_new(0x7FE00010, "OB" if bits == 8 else "OW", content + b"\0" * (len(content) % 2))


def _inside(instance: Dataset, stored: NDArray[Any]) -> bool:
    levels = 1 << int(instance.BitsStored)
    signed = int(instance.PixelRepresentation) == 1
    low, high = (-levels // 2, levels // 2 - 1) if signed else (0, levels - 1)
    return bool(low <= int(stored.min()) and int(stored.max()) <= high)
