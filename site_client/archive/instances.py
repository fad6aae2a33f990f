"""Open one DICOM file whose bytes nobody here wrote.

Every path from a file to an object of pydicom leads through this module, which guards it:
the meta information is read first, a deflated data set is inflated up to a limit before a
parser may do it (a few kB can become gigabytes), what the header claims is capped before any
pixel is decoded, and whatever a parser raises becomes one error with a reason code. Time and
memory are kept by the process that this runs in (``effort``, ``nursery``).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from site_client.archive.effort import allow_pixels, limits
from site_client.archive.elements import META, Unusual, meta, walk
from site_client.archive.faults import UnusableFileError, foreign_bytes
from site_client.archive.jpeg_scans import with_fixed_scans
from site_client.archive.ordinary import Listed, content_of
from site_client.limits import MOST_PIXELS

__all__ = [
    "DECODERS",
    "MOST_PIXELS",
    "Header",
    "UnusableFileError",
    "claimed_pixels",
    "decode",
    "foreign_bytes",
    "inflate",
    "read_header",
    "read_instance",
    "refuse_hostile",
    "refuse_large_claims",
    "refuse_too_large",
]  # fmt: skip
_PYLIBJPEG = "pylibjpeg"  # its plugins: openjpeg, libjpeg, rle
# Fixed for each transfer syntax (PS3.5 Annex A): otherwise the bits depend on what else is
# installed. Empty: the pixels are not compressed. What is not here is not decoded.
DECODERS: dict[str, str] = {
    ImplicitVRLittleEndian: "", ExplicitVRLittleEndian: "", ExplicitVRBigEndian: "",
    DeflatedExplicitVRLittleEndian: "",
    RLELossless: _PYLIBJPEG, JPEGBaseline8Bit: _PYLIBJPEG, JPEGExtended12Bit: _PYLIBJPEG,
    JPEGLossless: _PYLIBJPEG, JPEGLosslessSV1: _PYLIBJPEG, JPEGLSLossless: _PYLIBJPEG,
    JPEGLSNearLossless: _PYLIBJPEG, JPEG2000Lossless: _PYLIBJPEG, JPEG2000: _PYLIBJPEG,
    HTJ2KLossless: _PYLIBJPEG, HTJ2KLosslessRPCL: _PYLIBJPEG, HTJ2K: _PYLIBJPEG,
}  # fmt: skip
_SEQUENTIAL_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit)
_META_END = 1 << 12  # the meta information lies within these bytes
_COPIES = 3  # of the pixels while they are decoded: encoded, decoded, what becomes of them


@dataclass(frozen=True, slots=True)
class Header:
    """The asked elements of one file."""

    elements: Dataset


def read_header(path: Path, tags: Sequence[str]) -> Header:
    """Read the named elements of one file and stop before its pixels.

    Element values are converted when they are first used: use them inside
    ``foreign_bytes`` too.

    Raises:
        UnusableFileError: As ``read_instance``.
    """
    with foreign_bytes("unreadable"):
        file = BytesIO(_content(path))
        return Header(dcmread(file, stop_before_pixels=True, specific_tags=list(tags)))


def read_instance(path: Path, listed: Listed | None = None) -> FileDataset:
    """Read one whole file, pixels still encoded.

    Args:
        path: The file.
        listed: Its size and time of change (ns), if it must be the one that was listed.

    Raises:
        UnusableFileError: ``not-dicom``, ``too-large``, ``too-deep``, ``changing``,
            ``not-readable`` (the system refuses) or ``unreadable`` (the bytes do).
    """
    with foreign_bytes("unreadable"):
        instance = dcmread(BytesIO(_content(path, listed)))
        refuse_too_large(instance)
        allow_pixels(claimed_pixels(instance))
        return instance


def refuse_too_large(elements: Dataset) -> None:
    """Refuse an image whose header claims more pixels or frames than allowed.

    Raises:
        UnusableFileError: ``too-large``.
    """
    frames = int(elements.get("NumberOfFrames") or 1)
    refuse_large_claims(claimed_pixels(elements) // max(1, frames), frames)


def refuse_large_claims(pixels: int, frames: int) -> None:
    """Refuse what ``refuse_too_large`` does, told as samples of one frame and frames."""
    if frames > limits().frames or pixels * frames > limits().pixels:
        raise UnusableFileError("too-large", f"{frames} frames of {pixels} samples")


def claimed_pixels(elements: Dataset) -> int:
    """Return Rows x Columns x SamplesPerPixel x NumberOfFrames as the header claims them."""
    rows, columns = int(elements.get("Rows") or 0), int(elements.get("Columns") or 0)
    samples = int(elements.get("SamplesPerPixel") or 1)
    return rows * columns * samples * int(elements.get("NumberOfFrames") or 1)


def stored_values(path: str) -> tuple[None, list[NDArray[Any]]]:
    """Decode one file in a reading process; the values are in this machine's byte order."""
    stored = decode(read_instance(Path(path)))
    return None, [stored.astype(stored.dtype.newbyteorder("="), copy=False)]


def decode(instance: Dataset) -> NDArray[Any]:
    """Return the stored values, shape (rows, columns) or with frames first, dtype as stored.

    Raises:
        UnusableFileError: ``syntax-unsupported``, ``too-large``, ``pixels-unreadable``.
    """
    with foreign_bytes("pixels-unreadable"):
        syntax = str(instance.file_meta.get("TransferSyntaxUID") or "")
        if syntax not in DECODERS:
            raise UnusableFileError("syntax-unsupported")
        values = claimed_pixels(instance) * -(-int(instance.BitsAllocated) // 8)
        if _COPIES * values > limits().memory_gib * 2**30:
            raise UnusableFileError("too-large", f"{values} bytes of pixels")
        if syntax in _SEQUENTIAL_JPEG:
            instance.PixelData = with_fixed_scans(instance.PixelData)
        return np.asarray(pixel_array(instance, decoding_plugin=DECODERS[syntax]))


def _content(path: Path, listed: Listed | None = None) -> bytes:
    content = content_of(path, listed)
    refuse_hostile(content)
    return content


def refuse_hostile(content: bytes) -> None:
    """Refuse a file that would hurt a parser, before one sees it.

    A deflated file of a few hundred kB can become gigabytes, and pydicom inflates all of it at
    once; sequences inside sequences end in its recursion.

    Raises:
        UnusableFileError: ``not-dicom``, ``too-large``, ``too-deep``, ``unreadable``.
    """
    if content[META - 4 : META] != b"DICM":
        raise UnusableFileError("not-dicom")
    data = content
    try:
        syntax, start = meta(content)
        data = inflate(content, start) if syntax == DeflatedExplicitVRLittleEndian else content
        implicit = syntax == ImplicitVRLittleEndian
        walk(data, start if data is content else 0, (), implicit=implicit, whole=True)
    except Unusual:
        if DeflatedExplicitVRLittleEndian.encode() in content[:_META_END] and data is content:
            raise UnusableFileError("unreadable") from None


def inflate(content: bytes, start: int) -> bytes:
    """Inflate a deflated data set (PS3.5 A.5) that begins at ``start``, up to the limit.

    Raises:
        UnusableFileError: ``too-large``, ``truncated``.
    """
    most = int(limits().inflated_mib * 2**20)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = stream.decompress(memoryview(content)[start:], most + 1)
    if len(inflated) > most:
        raise UnusableFileError("too-large", f"more than {most} bytes once inflated")
    if not stream.eof:
        raise UnusableFileError("truncated")
    return inflated
