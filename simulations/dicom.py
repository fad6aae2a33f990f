"""Write phantoms as DICOM: digital radiographs and CT series with planted identifiers.

Objects carry the type 1 and 2 attributes of their modules (PS3.3 A.26 for DX, A.3 for CT)
and some that hospitals like to fill: private elements, comments, institution. Segmentations
are in ``segmentations``. Stored values come from ``scanners``; lengths are millimetres.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset as dataset_to
from pydicom.filewriter import write_file_meta_info
from pydicom.pixels.encoders.base import JPEG2000LosslessEncoder, RLELosslessEncoder
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from simulations.planted import Identity, SiteIdentity
from simulations.scanners import Scanner

PRIVATE_CREATOR = "PHANTOM CLINIC"
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg2000": JPEG2000Lossless,
}  # of Scanner.syntax
_ENCODERS = {RLELossless: RLELosslessEncoder, JPEG2000Lossless: JPEG2000LosslessEncoder}
_ENCODER = "pylibjpeg"  # fixed, so that the bytes do not depend on what else is installed
_IMPLEMENTATION = "2.25.294012873910298374650192837465019283"  # fedrad's simulations


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Whose study it is, and the identifiers it was given; one image or one series."""

    patient: Identity
    site: SiteIdentity
    study_uid: str
    series_uid: str
    accession: str
    date: str  # YYYYMMDD
    comment: str  # free text that names the patient
    number: int = 1  # of the patient's exams
    view: str = "PA"

    def planted(self) -> Iterator[tuple[str, str]]:
        """Yield kind and value of the identifiers of this exam."""
        yield "study-uid", self.study_uid
        yield "series-uid", self.series_uid
        yield "accession", self.accession


def write_radiograph(
    path: Path, stored: NDArray[np.uint16], *, exam: Exam, scanner: Scanner, uid: str
) -> Dataset:
    """Write one DX object; its folder is made if absent.

    Args:
        path: Overwritten if present.
        stored: (rows, columns), from ``expose``.
        exam: The study.
        scanner: The machine that made the values.
        uid: SOPInstanceUID.

    Returns:
        What was written, for a segmentation to refer to.
    """
    image = radiograph_object(stored, exam=exam, scanner=scanner, uid=uid)
    write_dataset(path, image, SYNTAXES[scanner.syntax])
    return image


def write_series(
    folder: Path, stored: NDArray[np.int16], *, exam: Exam, scanner: Scanner, uids: list[str]
) -> list[Dataset]:
    """Write one axial CT series, a file for each slice.

    File names are scattered and InstanceNumber runs from the top, as it comes: only
    ImagePositionPatient orders the slices.

    Args:
        folder: Made if absent.
        stored: (slices, rows, columns), slice 0 lowest, from ``expose_ct``.
        exam: The study.
        scanner: The machine that made the values.
        uids: SOPInstanceUIDs, one for each slice.

    Returns:
        What was written, lowest slice first.
    """
    slices = []
    for index, uid in enumerate(uids):
        image = ct_object(stored[index], exam=exam, scanner=scanner, uid=uid)
        height_mm = index * scanner.slice_mm
        image.ImagePositionPatient = [*_corner_mm(stored.shape[1:], scanner), height_mm]
        image.SliceLocation = height_mm
        image.InstanceNumber = len(uids) - index
        write_dataset(
            folder / f"CT{(index * 7919 + 13) % 9973:04d}", image, SYNTAXES[scanner.syntax]
        )
        slices.append(image)
    return slices


def write_dataset(path: Path, dataset: Dataset, syntax: UID) -> None:
    """Write ``dataset`` as a DICOM file (PS3.10); its folder is made if absent.

    Deterministic: the bytes depend on the arguments and pydicom's version alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(dataset, syntax))


def encoded(dataset: Dataset, syntax: UID) -> bytes:
    """Return the bytes of a DICOM file (PS3.10) with ``dataset`` in the given syntax."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, syntax.is_implicit_VR
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, meta)
    dataset_to(buffer, dataset)  # dcmwrite would copy and check, for half the time again
    return buffer.getvalue()


def radiograph_object(
    stored: NDArray[np.uint16], *, exam: Exam, scanner: Scanner, uid: str
) -> Dataset:
    """Return one DX object with its pixels encoded; arguments as ``write_radiograph``."""
    image = _copied(_dx_constants(scanner))
    _identify(image, exam, uid)
    image.ViewPosition = exam.view
    image.PatientOrientation = ["R", "F"] if exam.view == "AP" else ["L", "F"]
    _put_pixels(image, stored, scanner)
    return image


def ct_object(stored: NDArray[np.int16], *, exam: Exam, scanner: Scanner, uid: str) -> Dataset:
    """Return one CT slice at height 0 with its pixels encoded; ``stored`` is (rows, columns)."""
    image = _copied(_ct_exam(exam, scanner))
    image.SOPInstanceUID = uid
    image.ImagePositionPatient = [*_corner_mm(stored.shape, scanner), 0.0]
    _put_pixels(image, stored, scanner)
    return image


def _copied(constants: Dataset) -> Dataset:
    """Return a data set of its own: assigning to an element changes the element itself."""
    return Dataset({tag: copy(element) for tag, element in constants.items()})


def _identify(image: Dataset, exam: Exam, uid: str) -> None:
    patient = exam.patient
    image.SpecificCharacterSet = patient.charset
    image.SOPInstanceUID = uid
    image.StudyInstanceUID, image.SeriesInstanceUID = exam.study_uid, exam.series_uid
    image.StudyID, image.SeriesNumber, image.InstanceNumber = str(exam.number), 1, 1
    image.FrameOfReferenceUID = f"{exam.series_uid}.1"
    image.PositionReferenceIndicator = ""
    image.AccessionNumber = exam.accession
    for moment in ("Study", "Series", "Acquisition", "Content"):
        setattr(image, f"{moment}Date", exam.date)
        setattr(image, f"{moment}Time", "101500")
    image.PatientName = f"{patient.family}^{patient.given}"
    image.PatientID = patient.patient_id
    image.IssuerOfPatientID = exam.site.institution
    image.PatientBirthDate = patient.birth_date
    image.PatientSex = "O"
    image.InstitutionName = exam.site.institution
    image.ReferringPhysicianName = exam.site.physician
    image.PatientComments = exam.comment
    image.StudyDescription = f"Chest {exam.accession}"
    private = image.private_block(0x0011, PRIVATE_CREATOR, create=True)
    private.add_new(0x01, "LO", patient.address)
    private.add_new(0x02, "PN", f"{patient.family}^{patient.given}")


def _put_pixels(image: Dataset, stored: NDArray[Any], scanner: Scanner) -> None:
    image.Rows, image.Columns = stored.shape
    signed = stored.dtype.kind == "i"
    syntax = SYNTAXES[scanner.syntax]
    if syntax not in _ENCODERS:
        image.add_new(0x7FE00010, "OW", np.ascontiguousarray(stored).tobytes())
        return
    frame = _ENCODERS[syntax].encode(
        stored, validate=False, encoding_plugin=_ENCODER, number_of_frames=1,
        rows=stored.shape[0], columns=stored.shape[1], samples_per_pixel=1,
        bits_allocated=16, bits_stored=scanner.bits_stored, pixel_representation=int(signed),
        photometric_interpretation=image.PhotometricInterpretation,
    )  # fmt: skip
    image.add_new(0x7FE00010, "OB", encapsulate([frame]))
    image["PixelData"].is_undefined_length = True


@lru_cache(maxsize=2)
def _ct_exam(exam: Exam, scanner: Scanner) -> Dataset:
    image = _copied(_ct_constants(scanner))
    _identify(image, exam, exam.series_uid)
    return image


@lru_cache(maxsize=64)
def _dx_constants(scanner: Scanner) -> Dataset:
    image = _equipment(scanner)
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.Modality, image.PresentationIntentType = "DX", "FOR PRESENTATION"
    image.ImageType = ["ORIGINAL", "PRIMARY", ""]
    image.PhotometricInterpretation = scanner.photometric
    image.PixelRepresentation = 0
    inverse = scanner.photometric == "MONOCHROME1"
    image.PixelIntensityRelationship = "LOG"
    image.PixelIntensityRelationshipSign = 1 if inverse else -1
    image.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    image.WindowCenter = float(1 << (scanner.bits_stored - 1))
    image.WindowWidth = float(1 << scanner.bits_stored)
    image.ImagerPixelSpacing = [scanner.spacing_mm, scanner.spacing_mm]
    image.DetectorType, image.DetectorConfiguration = "DIRECT", "AREA"
    image.DetectorID, image.DateOfLastDetectorCalibration = "D1", ""
    image.ImageLaterality, image.BodyPartExamined = "U", "CHEST"
    image.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    image.AcquisitionContextSequence = []
    image.KVP = 120.0
    return image


@lru_cache(maxsize=64)
def _ct_constants(scanner: Scanner) -> Dataset:
    image = _equipment(scanner)
    image.SOPClassUID = CTImageStorage
    image.Modality = "CT"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelRepresentation = 1
    image.RescaleType = "HU"
    image.PixelSpacing = [scanner.spacing_mm, scanner.spacing_mm]
    image.SliceThickness = scanner.slice_mm
    image.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    image.PatientPosition = "HFS"
    image.PatientOrientation = ["L", "P"]
    image.BodyPartExamined, image.KVP, image.AcquisitionNumber = "CHEST", 120.0, 1
    return image


def _equipment(scanner: Scanner) -> Dataset:
    image = Dataset()
    image.Manufacturer, image.ManufacturerModelName = scanner.manufacturer, scanner.model
    image.DeviceSerialNumber = "0"
    image.SoftwareVersions = "1.0"
    image.SamplesPerPixel, image.BitsAllocated = 1, 16
    image.BitsStored, image.HighBit = scanner.bits_stored, scanner.bits_stored - 1
    image.RescaleSlope, image.RescaleIntercept = scanner.rescale_slope, scanner.rescale_intercept
    image.RescaleType = "US"
    image.LossyImageCompression, image.BurnedInAnnotation = "00", "NO"
    return image


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _corner_mm(shape: tuple[int, ...], scanner: Scanner) -> tuple[float, float]:
    """Return x and y of the first pixel, the volume's axis at 0."""
    rows, columns = shape
    half = scanner.spacing_mm / 2
    return -half * (columns - 1), -half * (rows - 1)
