"""Which SOP classes and transfer syntaxes a site asks with and is ready to receive by DIMSE.

Per modality the storage classes of PS3.4 annex B that hold its images; per class one
presentation context for each transfer syntax, so that a PACS can send an object as it keeps
it. An association has room for 128 contexts (PS3.8 sec. 9.3.2.2): for many modalities the
syntaxes share two contexts a class.
"""

from __future__ import annotations

from collections.abc import Sequence

# Query/Retrieve, Study Root (PS3.4 table C.6.2-1)
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
MOST_CONTEXTS = 126  # of storage; two are left for questions
_ROOT = "1.2.840.10008.5.1.4.1.1"
_BY_MODALITY = {
    "CR": ("1",),
    "CT": ("2", "2.1", "2.2"),  # CT, Enhanced CT, Legacy Converted Enhanced CT
    "DX": ("1.1", "1"),  # many archives keep CR and DX as one
    "IO": ("1.3",),
    "MG": ("1.2", "13.1.3"),  # Digital Mammography, Breast Tomosynthesis
    "MR": ("4", "4.1", "4.4"),
    "NM": ("20",),
    "PT": ("128", "130"),
    "RTSTRUCT": ("481.3",),
    "SEG": ("66.4",),
    "XA": ("12.1",),
}
_PLAIN = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")  # Explicit and Implicit VR Little Endian
_COMPRESSED = (
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless SV1
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
)


def storage_classes(modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the SOP class UIDs that images of these modalities can have, each once."""
    found = (name for m in modalities for name in _BY_MODALITY.get(m, ()))
    return tuple(dict.fromkeys(f"{_ROOT}.{name}" for name in found))


def unknown_modalities(modalities: Sequence[str]) -> list[str]:
    """Return the modalities that no storage class is known for."""
    return [modality for modality in modalities if modality not in _BY_MODALITY]


def storage_contexts(modalities: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return (SOP class, transfer syntaxes) for each presentation context to propose."""
    classes = storage_classes(modalities)
    groups: tuple[tuple[str, ...], ...] = (_PLAIN, *((syntax,) for syntax in _COMPRESSED))
    if len(classes) * len(groups) > MOST_CONTEXTS:
        groups = (_PLAIN, _COMPRESSED)
    return [(name, group) for name in classes for group in groups]
