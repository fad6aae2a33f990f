"""Make a new DICOM object that holds nothing but what the profile allows.

The new object is built element by element from an empty one: an attribute that no rule
names is never looked at, at no depth (PS3.15 E.1, done as an allow-list). Pixel data is put in
by ``pixels``; which objects are refused altogether is told by ``profile``; files and folders
belong to ``export``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

import fedrad
from site_client.deidentify import values
from site_client.deidentify.profile import Profile, Rule
from site_client.deidentify.pseudonyms import Pseudonyms

IMPLEMENTATION = UID("2.25.178643911498424023577304206912430913451")
DEEPEST = 8  # sequences inside sequences; the deepest object of PS3.3 that may pass needs 5
# CID 7050 of PS3.16: what was done, and which options were used.
METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)


def deidentified(
    instance: Dataset, patient: str, *, names: Pseudonyms, profile: Profile
) -> Dataset:
    """Return a new object with what the profile allows of ``instance``, without pixels.

    Args:
        instance: As read; it is not changed. Elements are converted here, so that call this
            where a parser's errors and warnings are guarded.
        patient: The pseudonym of the patient whose it is.
        names: The site's pseudonyms: stand-ins of UIDs, offsets of dates.
        profile: The allow-list.

    Returns:
        The object with its file meta information, and with PatientIdentityRemoved,
        DeidentificationMethod and its codes (PS3.15 E.3; PS3.3 C.7.1.1) and
        LongitudinalTemporalInformationModified.
    """
    walk = _Walk(profile, uid=names.uid, days=names.days_back(patient))
    clean = walk.cleaned(instance, DEEPEST)
    _name_segments(clean)
    _keep_age(clean, instance)
    clean.SpecificCharacterSet = "ISO_IR 192"
    clean.PatientID, clean.PatientName = patient, ""
    _mark(clean, profile)
    clean.file_meta = _meta(clean)
    return clean


def allowed(instance: Dataset, profile: Profile) -> Dataset:
    """Return what ``deidentified`` would read of ``instance``: UIDs and dates as they are.

    For a process that must not know the site's key; what it gives back is cleaned again by
    one that does.
    """
    clean = _Walk(profile, uid=str, days=0).cleaned(instance, DEEPEST)
    _keep_age(clean, instance)
    return clean


class _Walk:
    """One pass through one object and its sequences."""

    def __init__(self, profile: Profile, *, uid: Callable[[str], str], days: int) -> None:
        self._profile = profile
        self._by_table: dict[str, Callable[[list[Any], Rule, str], list[Any]]] = {
            "numbers": lambda found, _, vr: _whole([values.number(v, vr) for v in found]),
            "terms": lambda found, rule, _: [values.word(v, rule.values) for v in found],
            "identifiers": lambda found, _, __: [uid(str(v)) for v in found],
            "classes": lambda found, _, __: _whole([values.registered(v) for v in found]),
            "dates": lambda found, _, __: _whole([values.earlier(v, days) for v in found]),
            "makers": lambda found, _, __: [values.maker(v, profile.makers) for v in found[:1]],
            "constants": lambda _, rule, __: [rule.constant],
            "emptied": lambda _, __, ___: [],
        }

    def cleaned(self, source: Dataset, depth: int) -> Dataset:
        clean = Dataset()
        for tag in source.keys():  # noqa: SIM118  iterating a Dataset would convert every element
            rule = self._profile.rules.get(int(tag))
            if rule is not None:
                self._keep(clean, source, rule, tag=int(tag), depth=depth)
        return clean

    def _keep(self, clean: Dataset, source: Dataset, rule: Rule, *, tag: int, depth: int) -> None:
        try:
            element = source[tag]
            if str(element.VR) not in dictionary_VR(tag).split(" or "):
                return  # another kind of value than the standard's, such as text for a number
            kept = self._sequence(element, rule, depth) if element.VR == "SQ" else None
            if kept is None:
                kept = self._plain(element, rule)
        except Exception:  # noqa: BLE001  a value that cannot be read is one that cannot stay
            return
        clean.add(kept)

    def _sequence(self, element: DataElement, rule: Rule, depth: int) -> DataElement:
        items: list[Dataset] = []
        if rule.table == "sequences" and depth > 0:
            items = [self.cleaned(item, depth - 1) for item in element.value]
        elif rule.table == "codes" and depth > 0:
            items = [one for item in element.value if (one := self._code(item, depth - 1))]
        return DataElement(element.tag, "SQ", items)

    def _code(self, item: Dataset, depth: int) -> Dataset | None:
        clean = values.code(item)
        if clean is not None:
            clean.update(self.cleaned(item, depth))  # modifiers of the code
        return clean

    def _plain(self, element: DataElement, rule: Rule) -> DataElement:
        kept = self._by_table[rule.table](values.several(element.value), rule, str(element.VR))
        value = kept[0] if len(kept) == 1 else kept
        return DataElement(element.tag, str(element.VR), value if any(map(_said, kept)) else None)


def _whole(kept: list[Any | None]) -> list[Any]:
    # One wrong number of six would make a wrong orientation of the rest: all or nothing.
    return [] if any(value is None for value in kept) else kept


def _said(value: Any) -> bool:
    return value is not None and value != ""


def _keep_age(clean: Dataset, instance: Dataset) -> None:
    if "PatientAge" in instance:
        clean.PatientAge = values.age(instance.PatientAge) or ""


def _name_segments(clean: Dataset) -> None:
    # A segment's label is free text; the standard's name of what it shows stands instead.
    for segment in clean.get("SegmentSequence") or []:
        shown = segment.get("SegmentedPropertyTypeCodeSequence") or []
        if shown:
            segment.SegmentLabel = shown[0].CodeMeaning


def _mark(clean: Dataset, profile: Profile) -> None:
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = f"fedrad {fedrad.__version__}, profile {profile.name}"
    clean.DeidentificationMethodCodeSequence = [_method(*method) for method in METHODS]
    clean.LongitudinalTemporalInformationModified = "MODIFIED"


def _method(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _meta(clean: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = clean.SOPClassUID
    meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    return meta
