"""Open one DICOM file whose bytes nobody here wrote.

Every path from a file to an object of pydicom leads through this module, which guards it:
the meta information is read first, a deflated data set is refused (a few kB can become
gigabytes before anybody can stop it), a size that the header claims is capped before any
pixel is decoded, and whatever a parser raises becomes one error with a reason code. Reason
codes carry no value of the file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from fedrad.errors import DataError

MOST_PIXELS = 1 << 28  # of one file, frames and samples included: 512 slices of 724 x 724
_DECODER = "pylibjpeg"  # fixed: otherwise the bits depend on what else is installed


class UnusableFileError(DataError):
    """One file, or one series, cannot be used.

    Attributes:
        reason: The quarantine's code (``site_client.reasons``); it carries no value of the file.
        detail: The numbers that show it, for ``quarantine.csv`` and nobody outside the site;
            geometry and counts, never text of a header.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"a file cannot be used: {self.reason}; see the site's quarantine.csv"


@dataclass(frozen=True, slots=True)
class Header:
    """The asked elements of one file, and how many bytes follow them (pixels, if any)."""

    elements: Dataset
    encapsulated: bool  # compressed pixels: their size says nothing about completeness
    bytes_left: int


@contextmanager
def foreign_bytes(reason: str) -> Iterator[None]:
    """Turn whatever a parser raises into ``UnusableFileError(reason)``; silence its warnings.

    pydicom's warnings and errors quote the values that they stumble over.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnusableFileError:
        raise
    except InvalidDicomError:
        raise UnusableFileError("not-dicom") from None
    except Exception:  # noqa: BLE001  the edge to foreign bytes: a parser may raise anything
        raise UnusableFileError(reason) from None


def read_header(path: Path, tags: Sequence[str]) -> Header:
    """Read the named elements of one file and stop before its pixels.

    Element values are converted when they are first used: use them inside
    ``foreign_bytes`` too.

    Raises:
        UnusableFileError: ``not-dicom``, ``deflated`` or ``unreadable``.
    """
    with foreign_bytes("unreadable"):
        syntax = _safe_syntax(path)
        with path.open("rb") as file:
            elements = dcmread(file, stop_before_pixels=True, specific_tags=list(tags))
            left = os.fstat(file.fileno()).st_size - file.tell()
        return Header(elements, UID(syntax).is_encapsulated, left)


def read_instance(path: Path) -> FileDataset:
    """Read one whole file, pixels still encoded.

    Raises:
        UnusableFileError: ``not-dicom``, ``deflated``, ``too-large`` or ``unreadable``.
    """
    with foreign_bytes("unreadable"):
        _safe_syntax(path)
        instance = dcmread(path)
        refuse_too_large(instance)
        return instance


def refuse_too_large(elements: Dataset) -> None:
    """Refuse an image whose header claims more than ``MOST_PIXELS`` pixels.

    Raises:
        UnusableFileError: ``too-large``.
    """
    if claimed_pixels(elements) > MOST_PIXELS:
        raise UnusableFileError("too-large")


def claimed_pixels(elements: Dataset) -> int:
    """Return Rows x Columns x SamplesPerPixel x NumberOfFrames as the header claims them."""
    rows, columns = int(elements.get("Rows") or 0), int(elements.get("Columns") or 0)
    samples = int(elements.get("SamplesPerPixel") or 1)
    return rows * columns * samples * int(elements.get("NumberOfFrames") or 1)


def decode(instance: Dataset) -> NDArray[Any]:
    """Return the stored values, shape (rows, columns) or with frames first, dtype as stored.

    Raises:
        UnusableFileError: ``pixels-unreadable``.
    """
    with foreign_bytes("pixels-unreadable"):
        syntax = instance.file_meta.TransferSyntaxUID
        decoder = _DECODER if syntax.is_encapsulated else ""
        return np.asarray(pixel_array(instance, decoding_plugin=decoder))


def _safe_syntax(path: Path) -> str:
    syntax = str(read_file_meta_info(path).get("TransferSyntaxUID", ""))
    if syntax == DeflatedExplicitVRLittleEndian:
        raise UnusableFileError("deflated")
    return syntax
