"""What one file says of itself: a few values as text, and whether its pixels can be there.

The file meta information is read before anything else. Values come as the file spells them,
several joined by a backslash, without padding; what they mean belongs to ``catalogue``. A
file is opened once, without following a link, and refused if it is not the one that was
listed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.datadict import keyword_dict
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from site_client.archive.effort import begin, limits
from site_client.archive.elements import (
    META,
    UNDEFINED,
    Element,
    Short,
    Unusual,
    element_at,
    meta,
    standard_vr,
    walk,
)
from site_client.archive.instances import (
    DECODERS,
    UnusableFileError,
    foreign_bytes,
    inflate,
    refuse_hostile,
    refuse_large_claims,
)
from site_client.archive.ordinary import open_ordinary

REFERENCES = "ReferencedSeriesSequence"
DRAWN = ("SEG", "RTSTRUCT")  # modalities that say what they were drawn on
_OF_CONTOURS = "ReferencedFrameOfReferenceSequence"
_PADDING = " \t\r\n\0"
_FIRST_READ = 1 << 15  # nearly every header ends within these bytes
_NUMBERS = {b"US": 2, b"UL": 4}  # VR to bytes of one
_PIXEL_NUMBERS = (
    ("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1), ("BitsAllocated", 8),
    ("NumberOfFrames", 1),
)  # fmt: skip
_NUMBERS_END = 1 << 31  # IS and US end there (PS3.5 6.2)
_LONGEST = 1 << 12  # characters of one value
_MOST_REFERENCES = 20_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What one file says.

    Attributes:
        values: Keyword to text, for the asked keywords that the file has.
        references: For a DICOM SEG: SeriesInstanceUID and SOPInstanceUIDs drawn on.
        fault: Why it cannot be used although it can be read; else empty.
    """

    values: dict[str, str]
    references: dict[str, list[str]] = field(default_factory=dict)
    fault: str = ""


def read_facts(path: Path, keywords: tuple[str, ...], listed: tuple[int, int]) -> Facts:
    """Read the asked values of one file.

    Args:
        path: The file.
        keywords: Attributes of text or whole numbers; ``ReferencedSeriesSequence`` too.
        listed: Size and time of change (ns) that the listing saw.

    Raises:
        UnusableFileError: ``not-dicom``, ``syntax-missing``, ``too-large``, ``too-deep``,
            ``changing``, ``not-readable`` (the system refuses), ``unreadable`` (the bytes do).
    """
    with foreign_bytes("unreadable"), open_ordinary(path, listed) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_FIRST_READ)
        for length in (1 << 20, size, size):
            try:
                return _facts(head, keywords, size)
            except Short:
                if len(head) >= size:
                    return _cut_short(_parsed(head, keywords))
                head += file.read(length - len(head))
            except Unusual:
                break
        return _parsed(head + file.read(), keywords)


def read_chunk(
    folder: str, files: list[tuple[str, int, int]], keywords: list[str]
) -> tuple[list[Any], list[Any]]:
    """Read many files in a reading process, each within its own time.

    Args:
        folder: The archive.
        files: Path below it, size and time of change of each.
        keywords: As for ``read_facts``.

    Returns:
        For each file ``[values, references, fault]`` or ``[reason, detail]``, and no array.
    """
    return [_told(Path(folder, name), keywords, listed) for name, *listed in files], []


def digest_chunk(folder: str, files: list[tuple[str, int, int]]) -> tuple[list[str], list[Any]]:
    """Return the SHA-256 of each file of ``read_chunk``; empty where it cannot be had."""
    return [_digest(Path(folder, name), (size, time)) for name, size, time in files], []


def _digest(path: Path, listed: tuple[int, int]) -> str:
    try:
        with foreign_bytes("unreadable"), open_ordinary(path, listed) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except UnusableFileError:
        return ""


def _told(path: Path, keywords: list[str], listed: list[int]) -> list[Any]:
    begin(limits().seconds)
    try:
        facts = read_facts(path, tuple(keywords), (listed[0], listed[1]))
    except UnusableFileError as error:
        return [error.reason, error.detail]
    return [facts.values, facts.references, facts.fault]


def _cut_short(facts: Facts) -> Facts:
    """Say that the end of the file is missing, where an element runs past it."""
    lost = facts.fault == "no-pixels"
    return dataclasses.replace(facts, fault="truncated") if lost else facts


def _facts(head: bytes, keywords: tuple[str, ...], size: int) -> Facts:
    if head[META - 4 : META] != b"DICM":
        raise UnusableFileError("not-dicom")
    syntax, start = meta(head)
    data, whole = head, len(head) >= size
    if syntax == DeflatedExplicitVRLittleEndian:
        if not whole:
            raise Short
        data, start, size = inflate(head, start), 0, 0
    _refuse_other_encoding(data, start, syntax)
    tags = {keyword_dict[keyword]: keyword for keyword in keywords}
    implicit = syntax == ImplicitVRLittleEndian
    found = walk(data, start, tags, implicit=implicit, whole=whole)
    values = {tags[tag]: _text(data, tag, found.elements[tag]) for tag in found.elements}
    if values.get("Modality") in DRAWN:
        raise Unusual  # what it was drawn on lies in a sequence
    return Facts(
        values, fault=_fault(values, syntax, _bytes_of(found.pixels, max(size, len(data))))
    )


def _refuse_other_encoding(data: bytes, start: int, syntax: str) -> None:
    looks_explicit = data[start + 4 : start + 6].isalpha()
    if (syntax == ImplicitVRLittleEndian and looks_explicit) or syntax == ExplicitVRBigEndian:
        raise Unusual


def _bytes_of(pixels: Element | None, size: int) -> int | None:
    if pixels is None:
        return None
    there = max(0, size - pixels.start)
    return there if pixels.length == UNDEFINED else min(there, pixels.length)


def _text(data: bytes, tag: int, element: Element) -> str:
    if element.length == UNDEFINED:
        raise Unusual
    raw = data[element.start : element.start + element.length]
    vr = standard_vr(tag)
    if element.vr not in (vr, b"") or vr in (b"SQ", b"UN") or len(raw) > _LONGEST:
        raise Unusual
    if vr in _NUMBERS:
        return _numbers(raw, _NUMBERS[vr])
    if not raw.isascii() or b"\x1b" in raw:
        raise Unusual  # another character set: (0008,0005) decides
    text = raw.decode("ascii").strip(_PADDING)
    if not text.isprintable():
        raise Unusual  # padding in the middle
    if vr == b"IS" and text and not text.isdigit():
        raise Unusual
    return text


def _numbers(raw: bytes, width: int) -> str:
    if len(raw) % width:
        raise Unusual
    numbers = (raw[at : at + width] for at in range(0, len(raw), width))
    return "\\".join(str(int.from_bytes(number, "little")) for number in numbers)


def _parsed(data: bytes, keywords: tuple[str, ...]) -> Facts:
    """Read the same by pydicom, which interprets what ``elements`` does not."""
    refuse_hostile(data)
    file = io.BytesIO(data)
    elements = dcmread(file, stop_before_pixels=True, specific_tags=[*keywords, _OF_CONTOURS])
    syntax = str(elements.file_meta.get("TransferSyntaxUID") or "")
    asked = (keyword for keyword in keywords if keyword in elements and keyword != REFERENCES)
    values = {keyword: _spelled(elements, keyword) for keyword in asked}
    references = _references(elements) if values.get("Modality") in DRAWN else {}
    _refuse_no_text([*values.values(), *references, *chain(*references.values())])
    if syntax == DeflatedExplicitVRLittleEndian:
        left = len(dcmread(io.BytesIO(data)).get("PixelData") or b"")
    else:
        left = _left(data, file.tell(), syntax)
    return Facts(values, references, _fault(values, syntax, left))


def _refuse_no_text(said: Iterable[str]) -> None:
    """Let nothing through that no table can hold: a character set may give half a character."""
    for text in said:
        text.encode("utf-8")


def _left(data: bytes, position: int, syntax: str) -> int:
    """Return how many bytes of pixels begin at ``position``, where pydicom stopped."""
    implicit = syntax == ImplicitVRLittleEndian
    if syntax != ExplicitVRBigEndian:
        with suppress(Unusual):
            return _bytes_of(element_at(data, position, implicit=implicit), len(data)) or 0
    return max(0, len(data) - position - 12)


def _spelled(elements: Dataset, keyword: str) -> str:
    value = elements.get(keyword)
    several = isinstance(value, MultiValue)
    text = "\\".join(map(_one, value)) if several else _one(value)
    if len(text) > _LONGEST:
        raise UnusableFileError("value-too-long")
    return text.strip(_PADDING)


def _one(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, int) else str(value)


def _references(elements: Dataset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in _drawn_on(elements):
        images = item.get("ReferencedInstanceSequence") or item.get("ContourImageSequence") or []
        uids = found.setdefault(str(item.SeriesInstanceUID), [])
        uids += [str(image.ReferencedSOPInstanceUID) for image in images]
    if sum(map(len, found.values())) > _MOST_REFERENCES:
        raise UnusableFileError("too-large")
    return found


def _drawn_on(elements: Dataset) -> Iterator[Dataset]:
    """Yield the series that a segmentation or a structure set (PS3.3 C.8.8.5) refers to."""
    yield from elements.get(REFERENCES) or []
    for frame in elements.get(_OF_CONTOURS) or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            yield from study.get("RTReferencedSeriesSequence") or []


def _fault(values: dict[str, str], syntax: str, pixel_bytes: int | None) -> str:
    rows, columns, samples, bits, frames = (
        _whole(values.get(keyword) or default) for keyword, default in _PIXEL_NUMBERS
    )
    refuse_large_claims(rows * columns * samples, frames)
    if not syntax:
        return "syntax-missing"
    if not values.get("SOPInstanceUID"):
        return "instance-uid-missing"
    if values.get("Modality") == "RTSTRUCT":
        return ""  # contours have no pixels
    if not rows * columns or not pixel_bytes:
        return "no-pixels"
    if syntax not in DECODERS:
        return "syntax-unsupported"
    if values.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # PS3.3 C.7.6.3.1.2
    needed = rows * columns * samples * bits * frames
    native = not DECODERS[syntax]
    return "truncated" if native and pixel_bytes * 8 < needed else ""


def _whole(said: str | int) -> int:
    """Return a number that is said to be one: not several, not negative, no column's overflow."""
    number = int(said)
    if not 0 <= number < _NUMBERS_END:
        raise UnusableFileError("unreadable")
    return number
