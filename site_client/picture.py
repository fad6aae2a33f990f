"""What training may see of an image's header: pixels, what their values mean, and where they lie.

The profile of ``deidentify`` at work in memory: an attribute passes if the profile lets numbers,
UIDs or containers through for it, or if it says what values mean; others are not even converted.
Names, dates, free text, private attributes and overlays never become values in the process that
reads an image; UIDs stay, to find masks, and end with that process. What it gives to the one that
trains is arrays and lengths in millimetres (``unit_files``).
"""

from __future__ import annotations

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset

from site_client.deidentify.profile import read_profile

_TABLES = ("numbers", "identifiers", "classes", "sequences")
_WORDS = (
    "Modality", "PhotometricInterpretation", "ImageType", "RescaleType", "Units",
    "PixelSpacingCalibrationType",
)  # fmt: skip
# Looked for, so that an image whose values need them is refused; none is ever written.
_REFUSED_BY = ("ModalityLUTSequence", "RealWorldValueMappingSequence")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DEEPEST = 8


def picture(instance: Dataset) -> Dataset:
    """Return a new data set with what training may see of ``instance``.

    Values are as in the file: what they mean is decided by ``grey``, ``geometry`` and
    ``frames``, which refuse what they do not know.
    """
    tags = frozenset(t for t, rule in read_profile().rules.items() if rule.table in _TABLES)
    extra = (tag_for_keyword(name) for name in (*_WORDS, *_REFUSED_BY, *_PIXELS))
    seen = _seen(instance, tags | frozenset(int(tag) for tag in extra if tag), _DEEPEST)
    seen.file_meta = FileMetaDataset()
    syntax = getattr(instance, "file_meta", Dataset()).get("TransferSyntaxUID")
    if syntax is not None:
        seen.file_meta.TransferSyntaxUID = syntax
    return seen


def _seen(source: Dataset, tags: frozenset[int], depth: int) -> Dataset:
    seen = Dataset()
    for tag in source.keys() & tags:
        element = source.get_item(tag)
        if element is not None and element.VR in ("SQ", None, "UN"):
            element = source[tag]  # its value tells whether it holds items
        if element is not None and element.VR == "SQ":
            items = element.value if depth else []
            seen.add_new(tag, "SQ", [_seen(item, tags, depth - 1) for item in items])
        elif element is not None:
            seen[tag] = element
    return seen
