"""Which DICOM storage classes hold the images of a modality, where a task names none.

Images for presentation alone: a raw detector image ("for processing") has another grey scale
under the same modality. Screenshots, reports and drawings are in no list. UIDs are those of
PS3.4 B.5.
"""

from __future__ import annotations

from typing import Final

_CT = "1.2.840.10008.5.1.4.1.1.2"
_MR = "1.2.840.10008.5.1.4.1.1.4"

IMAGE_STORAGE: Final = {
    "CR": ("1.2.840.10008.5.1.4.1.1.1",),
    "DX": ("1.2.840.10008.5.1.4.1.1.1.1",),
    "MG": ("1.2.840.10008.5.1.4.1.1.1.2",),
    "CT": (_CT, f"{_CT}.1", f"{_CT}.2"),  # single slices, enhanced, legacy converted
    "MR": (_MR, f"{_MR}.1", f"{_MR}.4"),
    "PT": ("1.2.840.10008.5.1.4.1.1.128",),
}
"""Modality (0008,0060) -> UIDs."""
