"""Write masks as DICOM SEG through highdicom, for radiographs and for CT series.

The truth of a segmentation task lies in the archive as a hospital would have it. A radiograph
has a frame of reference and no position in it: its object refers to the image by
SOPInstanceUID alone, and has no plane position. highdicom
invents UIDs and takes the clock; both are overwritten, so that a seed fixes the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from simulations.dicom import Exam, write_dataset

SEGMENT = 1  # the only segment's number
_ALGORITHM = hd.seg.SegmentAlgorithmTypeValues.MANUAL


def write_segmentation(
    path: Path, images: Sequence[Dataset], *, mask: NDArray[np.uint8], exam: Exam, label: str
) -> str:
    """Write one binary SEG object that refers to ``images``.

    Args:
        path: Overwritten if present.
        images: The radiograph, or the slices of a series, as written.
        mask: (rows, columns) or (slices, rows, columns), 0 or 1, slices in the order of
            ``images``; may be empty.
        exam: The study that the images belong to.
        label: SegmentLabel.

    Returns:
        Its SOPInstanceUID: the series UID with ``.9`` after it.
    """
    uid = f"{exam.series_uid}.9"
    drawn = hd.seg.Segmentation(
        source_images=list(images),
        pixel_array=mask if mask.ndim == 3 else mask[None],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(label)],
        series_instance_uid=f"{exam.series_uid}.8",
        series_number=9,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer="Phantomworks",
        manufacturer_model_name="Truth 1",
        software_versions="1.0",
        device_serial_number="0",
        omit_empty_frames=bool(mask.any()),
    )
    _fix(drawn, exam)
    write_dataset(path, drawn, ExplicitVRLittleEndian)
    return uid


def _description(label: str) -> hd.seg.SegmentDescription:
    lung = (codes.SCT.AnatomicalStructure, codes.SCT.Lung)
    lesion = (codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion)
    category, kind = lung if label.startswith("lung") else lesion
    return hd.seg.SegmentDescription(
        segment_number=SEGMENT,
        segment_label=label,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=_ALGORITHM,
    )


def _fix(drawn: Dataset, exam: Exam) -> None:
    """Replace what highdicom took from the clock and from chance."""
    organisation = f"{exam.series_uid}.7"
    for item in (*drawn.DimensionOrganizationSequence, *drawn.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    drawn.ContentDate = drawn.SeriesDate = drawn.InstanceCreationDate = exam.date
    drawn.ContentTime = drawn.SeriesTime = drawn.InstanceCreationTime = "120000"
    for item in drawn.ContributingEquipmentSequence:
        item.ContributionDateTime = f"{exam.date}120000"
