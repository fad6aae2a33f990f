"""Canaries for de-identification: a value that must not stay, for each tag that matters.

The tags are those of PS3.15 Table E.1-1 as the package dicom-anonymizer carries it (2026c),
private and unknown tags, and groups 50xx and 60xx. Each gets a value that is legal for its VR
and stands in no other file. A leak is a value that is found again, unchanged, in what a tool
wrote: no judgement of what is left beside it.
"""

from __future__ import annotations

import datetime
import importlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

TABLE = "dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c"
META_GROUP = 0x0002
TEXT_SHORTEST = 8  # a shorter text may stand in a file by chance
_FIRST_DAY = datetime.date(1903, 5, 7)


@dataclass(frozen=True, eq=False)
class Canary:
    """One tag with a value that must not stay."""

    tag: int
    vr: str
    value: Any
    text: bytes  # what to look for in bytes; empty where only elements are compared

    def element(self) -> DataElement:
        """Return a new element that holds it."""
        return DataElement(self.tag, self.vr, self.value)


def table_tags() -> list[int]:
    """Return the 652 tags of Table E.1-1 that are one tag each."""
    rows = importlib.import_module(TABLE).ALL_TAGS
    return sorted({(row[0] << 16) | row[1] for row in rows if len(row) == 2})


def table_canaries() -> list[Canary]:
    """Return one canary for each tag of the table."""
    return [canary(tag, number) for number, tag in enumerate(table_tags())]


def other_canaries() -> dict[str, list[Canary]]:
    """Return canaries of tags that no table can name."""
    private = [(0x00091001, "LO"), (0x00091002, "PN"), (0x00091003, "UN"), (0x70FF1001, "UT")]
    unknown = [(0x00109999, "LO"), (0x00189999, "UT"), (0x00409999, "UN"), (0x7FE10002, "OB")]
    drawn = [(0x50000022, "LO"), (0x50003000, "OB"), (0x60004000, "LT"), (0x60003000, "OB")]
    kinds = {"private": private, "unknown": unknown, "curves and overlays": drawn}
    return {
        kind: [canary(tag, 700 + 10 * place + n, vr) for n, (tag, vr) in enumerate(tags)]
        for place, (kind, tags) in enumerate(kinds.items())
    }


def canary(tag: int, number: int, vr: str = "") -> Canary:
    """Return a legal value that ``number`` makes unlike all others."""
    vr = vr or _vr(tag)
    text = f"ZQ{number:04d}CANARY"
    if vr in _NUMBERS:
        return Canary(tag, vr, _NUMBERS[vr](number), b"")
    if vr == "SQ":
        item = Dataset()
        item.PatientName, item.ImageComments = f"{text}^SQ", f"{text} lives at"
        return Canary(tag, vr, [item], text.encode())
    value = _TEXTS[vr](number) if vr in _TEXTS else text
    held = value.encode() + b" " * (len(value) % 2) if vr in ("OB", "UN") else value
    return Canary(tag, vr, held, value.encode() if len(value) >= TEXT_SHORTEST else b"")


def at_top(*canaries: Canary) -> FileDataset:
    """Return an object with the canaries at its top."""
    instance = plain_ct()
    for one in canaries:
        holder = instance.file_meta if one.tag >> 16 == META_GROUP else instance
        holder.add(one.element())
    return instance


def nested(*canaries: Canary) -> FileDataset:
    """Return an object with the canaries two sequences deep; Table E.1-1 names neither."""
    instance, groups, anatomy = plain_ct(), Dataset(), Dataset()
    for one in canaries:
        anatomy.add(one.element())
    groups.FrameAnatomySequence = [anatomy]
    instance.SharedFunctionalGroupsSequence = [groups]
    return instance


def plain_ct() -> FileDataset:
    """Return a small CT slice of nobody."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3.1"
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in _PLAIN.items():
        setattr(file, keyword, value)
    file.PixelData = np.arange(64, dtype="<i2").tobytes()
    return file


def raw(instance: Any) -> bytes:
    """Return a file's bytes as a careless writer makes them: nothing is checked or refused."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        preamble = getattr(instance, "preamble", None) or b""
        buffer.write(preamble.ljust(128, b"\0") + b"DICM")
        write_file_meta_info(buffer, instance.file_meta, enforce_standard=False)
        write_dataset(buffer, instance)
    return buffer.getvalue()


def round_trip(instance: FileDataset) -> FileDataset:
    """Return what a reader of the file gets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(BytesIO(raw(instance)), force=True)


def leaks(written: bytes, *canaries: Canary) -> list[Canary]:
    """Return those canaries that are still in the bytes of a written file."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = {
                (int(element.tag), str(element.value))
                for element in _elements(pydicom.dcmread(BytesIO(written), force=True))
                if element.VR != "SQ"
            }
    finally:
        logging.disable(logging.NOTSET)
    return [one for one in canaries if _stands(one, written, held)]


def _stands(one: Canary, written: bytes, held: set[tuple[int, str]]) -> bool:
    if one.text and one.text in written:
        return True
    return one.vr != "SQ" and (one.tag, str(one.element().value)) in held


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    yield from getattr(dataset, "file_meta", ())
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag).split(" or ")[0]
    except KeyError:  # younger than pydicom's dictionary
        return "LO"


def _day(number: int) -> str:
    return (_FIRST_DAY + datetime.timedelta(days=31 * number)).strftime("%Y%m%d")


_NUMBERS = {
    "US": lambda number: 40000 + number,
    "SS": lambda number: 20000 + number,
    "UL": lambda number: 7310000 + number,
    "FD": lambda number: 0.731 + number,
    "FL": lambda number: 0.5 + number,
    "IS": lambda number: 731000000 + number,
    "DS": lambda number: f"731.{number:04d}",
}
_TEXTS = {
    "UI": lambda number: f"1.2.826.0.1.3680043.10.{9000000 + number}",
    "DA": _day,
    "TM": lambda number: f"0731{number % 60:02d}.{number:06d}",
    "DT": lambda number: f"{_day(number)}0731{number % 60:02d}.{number:06d}",
    "AS": lambda number: f"{90 + number % 9:03d}Y",
    "UR": lambda number: f"https://example.org/ZQ{number:04d}CANARY",
}
_PLAIN: dict[str, Any] = {
    "SOPClassUID": CTImageStorage, "SOPInstanceUID": "1.2.3.1", "StudyInstanceUID": "1.2.3.2",
    "SeriesInstanceUID": "1.2.3.3", "FrameOfReferenceUID": "1.2.3.4", "Modality": "CT",
    "PatientID": "plain", "PatientName": "", "PatientBirthDate": "", "PatientSex": "",
    "StudyDate": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "",
    "ReferringPhysicianName": "", "Manufacturer": "", "SeriesNumber": 1, "InstanceNumber": 1,
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "Rows": 8, "Columns": 8,
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
    "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1,
    "RescaleIntercept": 0, "KVP": 120, "AcquisitionNumber": 1, "SliceThickness": 2.5,
    "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [0.7, 0.7],
}  # fmt: skip
