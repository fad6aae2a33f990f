"""The frames of a multi-frame object (CT, MR, segmentation), each as a header of its own.

An enhanced object keeps what all frames share in one place and what differs in another
(PS3.3 C.7.6.16). Here both are laid over the object's own attributes, so that one set of rules
serves frames and single-frame slices. Pixels are decoded elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)

ENHANCED = (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)
_OF_OBJECT = (
    "SOPInstanceUID", "Modality", "Rows", "Columns", "FrameOfReferenceUID",
    "PhotometricInterpretation", "BitsStored", "PixelRepresentation", "Units",
)  # fmt: skip
_OF_FRAME = {
    "PixelMeasuresSequence": ("PixelSpacing", "SpacingBetweenSlices"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "SegmentIdentificationSequence": ("ReferencedSegmentNumber",),
    "DerivationImageSequence": ("SourceImageSequence",),
}  # functional group macro -> what is taken from it


def is_enhanced(instance: Dataset) -> bool:
    """Whether the object is an enhanced multi-frame CT or MR, whose frames make a volume."""
    return instance.get("SOPClassUID") in ENHANCED


def frame_headers(instance: Dataset) -> list[Dataset]:
    """Return one header for each frame, in stored order.

    A frame's own functional groups outrank the shared ones (PS3.3 C.7.6.16.1.1).
    """
    shared = next(iter(instance.get("SharedFunctionalGroupsSequence") or ()), Dataset())
    groups = instance.get("PerFrameFunctionalGroupsSequence") or ()
    return [_header(instance, shared, own) for own in groups]


def _header(instance: Dataset, shared: Dataset, own: Dataset) -> Dataset:
    header = Dataset()
    for name in _OF_OBJECT:
        if name in instance:
            header[name] = instance[name]
    for macro, names in _OF_FRAME.items():
        for item in _items(macro, shared, own):
            for name in names:
                if name in item:
                    header[name] = item[name]
    return header


def _items(macro: str, shared: Dataset, own: Dataset) -> Iterator[Dataset]:
    for groups in (shared, own):
        yield from (groups.get(macro) or ())[:1]
