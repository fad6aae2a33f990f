"""Spoil a healthy DICOM file in the ways that archives know.

Each kind changes one data set or its bytes and nothing else, so that what a site says of the
file can be held against its name. Where the files lie belongs to ``hospital``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from simulations.dicom import encoded

_FLIPS = 24
_HEADER = slice(132, 600)  # after preamble and DICM: meta information and the first elements


def broken_file(reason: str, healthy: Dataset, rng: np.random.Generator) -> bytes:
    """Return the bytes of a file that is broken as ``reason`` says.

    Args:
        reason: One of ``REASONS``.
        healthy: An uncompressed image; changed in place, so give it away.
        rng: Where to cut and which bits to flip.
    """
    return REASONS[reason](healthy, rng)


def unknown_reasons(reasons: Iterator[str]) -> Iterator[str]:
    """Yield one line for each reason that does not exist."""
    for reason in reasons:
        if reason not in REASONS:
            yield f"broken.{reason} is not a way to break a file; known: {', '.join(REASONS)}"


def _healthy(image: Dataset) -> bytes:
    return encoded(image, ExplicitVRLittleEndian)


def _truncated(image: Dataset, rng: np.random.Generator) -> bytes:
    content = _healthy(image)
    return content[: len(content) - int(len(image.PixelData) * rng.uniform(0.3, 0.9))]


def _not_dicom(_image: Dataset, rng: np.random.Generator) -> bytes:
    return b"%PDF-1.4\n" + rng.bytes(4000)


def _empty(_image: Dataset, _rng: np.random.Generator) -> bytes:
    return b""


def _no_patient_id(image: Dataset, _rng: np.random.Generator) -> bytes:
    del image.PatientID
    return _healthy(image)


def _wrong_modality(image: Dataset, _rng: np.random.Generator) -> bytes:
    image.Modality, image.SOPClassUID = "MR", MRImageStorage
    return _healthy(image)


def _no_pixels(image: Dataset, _rng: np.random.Generator) -> bytes:
    del image.PixelData
    return _healthy(image)


def _flipped_header(image: Dataset, rng: np.random.Generator) -> bytes:
    content = np.frombuffer(_healthy(image), np.uint8).copy()
    places = rng.integers(_HEADER.start, _HEADER.stop, _FLIPS)
    content[places] ^= (1 << rng.integers(0, 8, _FLIPS)).astype(np.uint8)
    return content.tobytes()


def _lying_rows(image: Dataset, _rng: np.random.Generator) -> bytes:
    image.Rows = 60000
    return _healthy(image)


REASONS: dict[str, Callable[[Dataset, np.random.Generator], bytes]] = {
    "truncated": _truncated,
    "not_dicom": _not_dicom,
    "empty": _empty,
    "no_patient_id": _no_patient_id,
    "wrong_modality": _wrong_modality,
    "no_pixels": _no_pixels,
    "flipped_header": _flipped_header,
    "lying_rows": _lying_rows,
}
"""Name to the function that breaks a file that way."""
