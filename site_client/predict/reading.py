"""Read one image or series with what an object derived from it must repeat, in a worker process.

Unlike training, which sees pixels alone, a result stays with its patient: names and identifiers
of patient and study are read here, go into what ``segment`` writes, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.faults import UnusableFileError, foreign_bytes
from site_client.archive.instances import read_instance
from site_client.archive.ordinary import Listed

IMAGE = "site_client.predict.reading:read_one"
SERIES = "site_client.predict.reading:read_many"
# PS3.3: patient (C.7.1.1), study (C.7.2.1), and what says where the pixels lie (C.7.6.2, C.7.6.16).
REPEATED = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "PatientName",
    "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "StudyDescription", "SeriesInstanceUID", "SeriesNumber",
    "InstanceNumber", "FrameOfReferenceUID", "PositionReferenceIndicator", "Rows", "Columns",
    "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence",
    "DimensionIndexSequence", "PatientOrientation", "ImageType",
)  # fmt: skip
File = tuple[str, int, int]  # path, size and time of change (ns) when it was listed


def read_one(files: Sequence[File]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read one image.

    Returns:
        ``headers`` (DICOM JSON, PS3.18 F, of ``REPEATED``) and ``spacing_mm``. Arrays: the values
        that training would see, float32 (rows, columns).

    Raises:
        UnusableFileError: As ``images.read_image``, or the file changed.
    """
    from site_client.images import read_image

    [(path, *listed)] = files
    header = _header(Path(path), (listed[0], listed[1]))
    image = read_image(Path(path))
    return {"headers": [header], "spacing_mm": list(image.spacing_mm)}, [image.pixels]


def read_many(files: Sequence[File]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read one series.

    Returns:
        As ``read_one``, the headers in the order of the slices. Arrays: float32 (slices, rows,
        columns) on the axes of ``volumes``, and int32 of that shape: for every voxel its place
        in the flattened slices as they were acquired.

    Raises:
        UnusableFileError: As ``volumes.read_volume``, or a file changed.
    """
    from site_client.volumes import places, read_volume

    headers = [_header(Path(path), (size, time_ns)) for path, size, time_ns in files]
    volume = read_volume([Path(path) for path, *_ in files])
    by_uid = {_uid(header): header for header in headers}
    ordered = [by_uid[uid] for uid in dict.fromkeys(volume.uids)]
    told = {"headers": ordered, "spacing_mm": list(volume.spacing_mm), "frames": volume.frames}
    return told, [volume.voxels, places(volume)]


def _header(path: Path, listed: Listed) -> dict[str, Any]:
    instance = read_instance(path, listed)
    with foreign_bytes("unreadable"):
        header = Dataset()
        for keyword in REPEATED:
            if keyword in instance:
                header[keyword] = instance[keyword]
        table: dict[str, Any] = header.to_json_dict()
        if not _uid(table):
            raise UnusableFileError("instance-uid-missing")
        return table


def _uid(header: dict[str, Any]) -> str:
    return str(next(iter(header.get("00080018", {}).get("Value", [])), ""))
