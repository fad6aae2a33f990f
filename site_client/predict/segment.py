"""Write a predicted mask as DICOM SEG through highdicom, marked as research in every way there is.

SeriesDescription begins with ``RESEARCH``, ContentQualification is RESEARCH (PS3.3 C.12.1.1), the
algorithm is named with the model's digest. UIDs follow from the images and the model, so that
the same prediction is the same object. The patient's identity is repeated: the object stays
with its study, in the hospital.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fedrad import durable
from fedrad.output import Output
from fedrad.released import Released

RESEARCH = "RESEARCH - NOT FOR CLINICAL USE"
QUALIFICATION = "RESEARCH"
SCHEME = "99FEDRAD"  # of codes that are a task's own words
_SERIES_NUMBER = 9900
_LONGEST = 64  # characters of a series description or a label (LO)
_SHORT = 16  # of a code value (SH)
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def write_segmentation(
    path: Path, headers: Sequence[Dataset], mask: NDArray[np.bool_], *, model: Released, number: int
) -> str:
    """Write one binary SEG object, durably, and return its SOPInstanceUID.

    Args:
        path: Overwritten if present.
        headers: The image, the slices of a series, or one enhanced object.
        mask: (slices, rows, columns) in the order of the headers, or of the object's frames.
        model: Which model drew it.
        number: The object's InstanceNumber, from 1.
    """
    drawn = segmentation(headers, mask, model=model, number=number)
    drawn.file_meta = FileMetaDataset()
    drawn.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    durable.replace(path, lambda new: drawn.save_as(new, enforce_file_format=True))
    return str(drawn.SOPInstanceUID)


def segmentation(
    headers: Sequence[Dataset], mask: NDArray[np.bool_], *, model: Released, number: int
) -> Dataset:
    """Return one binary SEG object; arguments as ``write_segmentation``."""
    uids = [str(header.SOPInstanceUID) for header in headers]
    entropy = [*uids, model.about.model_digest, model.about.fedrad]
    study = str(headers[0].StudyInstanceUID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom tells of values that it repeats as they are
        drawn: Dataset = highdicom.seg.Segmentation(
            source_images=[_complete(header) for header in headers],
            pixel_array=mask.astype(np.uint8),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(model)],
            series_instance_uid=generate_uid(entropy_srcs=[study, *entropy[-2:]]),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=generate_uid(entropy_srcs=entropy),
            instance_number=number,
            manufacturer="fedrad",
            manufacturer_model_name=f"{model.about.study} round {model.about.round}"[:_LONGEST],
            software_versions=model.about.fedrad,
            device_serial_number=model.about.model_digest[:_LONGEST],
            content_label="RESEARCH",
            content_description=RESEARCH,
            series_description=f"{RESEARCH}: {model.task.task.name}"[:_LONGEST],
            omit_empty_frames=bool(mask.any()),
        )
    drawn.ContentQualification = QUALIFICATION
    if "ImageOrientationPatient" not in headers[0] and headers[0].get("NumberOfFrames") is None:
        drawn.PatientOrientation = headers[0].get("PatientOrientation") or ""  # C.7.6.1.1.1
    return drawn


def _complete(header: Dataset) -> Dataset:
    """Give a header the type 2 attributes of patient and study that its maker left out."""
    whole = Dataset()
    whole.update(header)
    for keyword in _TYPE_2:
        if keyword not in whole:
            setattr(whole, keyword, "")
    return whole


def _description(model: Released) -> highdicom.seg.SegmentDescription:
    output, word = model.task.output or Output(), model.task.task.positive
    category, kind = _code(output.category), _code(output.type)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"fedrad {model.task.task.name}"[:_LONGEST],
        family=codes.cid7162.ArtificialIntelligence,
        version=model.about.model_digest,
    )
    return highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=word[:_LONGEST],
        segmented_property_category=category or codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=kind or _code((word[:_SHORT], SCHEME, word[:_LONGEST])),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )


def _code(triple: tuple[str, ...]) -> highdicom.sr.CodedConcept | None:
    if not triple:
        return None
    value, scheme, meaning = triple
    return highdicom.sr.CodedConcept(value, scheme, meaning)
