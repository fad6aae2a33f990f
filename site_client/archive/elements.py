"""Walk over the elements of a little-endian data set without making an object of each.

A catalogue wants some 20 values of a header that has hundreds of elements; a walk over the
bytes finds them in a tenth of the time that a general parser needs. It is strict: bytes that
a parser would have to interpret (an unknown VR, a length past the end, a delimiter out of
place) are ``Unusual`` and left to pydicom. What it does accept it reads as pydicom does, which
the tests hold against real and damaged files. PS3.5 chapter 7 and Annex A.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from struct import error as struct_error

from pydicom.datadict import dictionary_VR

from site_client.archive.effort import limits
from site_client.archive.faults import UnusableFileError

UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
META = 132  # preamble and "DICM"
_SYNTAX = 0x00020010
_NESTED = (b"SQ",)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_TAG, _U16, _U32 = Struct("<HH").unpack_from, Struct("<H").unpack_from, Struct("<I").unpack_from


class Unusual(Exception):  # noqa: N818  not an error: a way out to a parser that interprets
    """These bytes need a parser that interprets."""


class Short(Unusual):
    """The bytes end before the data set's pixels do begin."""


@dataclass(frozen=True, slots=True)
class Element:
    """Where the value of one element lies."""

    vr: bytes  # empty where the transfer syntax is implicit
    start: int
    length: int  # may be ``UNDEFINED`` for pixels


@dataclass(frozen=True, slots=True)
class Found:
    """The wanted elements at the top of a data set, and its pixels."""

    elements: dict[int, Element]
    pixels: Element | None


def walk(data: bytes, start: int, wanted: Collection[int], *, implicit: bool, whole: bool) -> Found:
    """Find the wanted elements of a data set, up to its pixels.

    Args:
        data: The file's bytes from its beginning.
        start: Where the data set begins.
        wanted: Tags; those that are absent are absent from the result.
        implicit: The transfer syntax is Implicit VR Little Endian.
        whole: ``data`` is the whole file, so that its end is the data set's end.

    Raises:
        Short: ``data`` ends too early.
        Unusual: The bytes are not what PS3.5 says they should be.
        UnusableFileError: ``too-deep``: more sequences inside sequences than allowed.
    """
    try:
        return _Walk(data, implicit=implicit).top(start, wanted, whole=whole)
    except struct_error:
        raise Short from None


def meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax, and where the data set begins; ``""`` if it is not named.

    Raises:
        Short: ``data`` ends within the meta information.
        Unusual: The meta information is not group 2 in Explicit VR Little Endian.
    """
    position, syntax = META, ""
    try:
        while _U16(data, position)[0] == 2:
            tag, vr, start, length = _explicit_element(data, position)
            if vr in _NESTED or length == UNDEFINED:
                raise Unusual
            position = start + length
            if tag == _SYNTAX:
                syntax = data[start:position].decode("ascii", "replace").strip(" \0")
    except struct_error:
        raise Short from None
    if syntax and position <= len(data):
        return syntax, position
    raise Unusual


def element_at(data: bytes, position: int, *, implicit: bool) -> Element:
    """Return the element that begins at ``position``; errors as ``walk``."""
    try:
        _, vr, start, length = (_implicit_element if implicit else _explicit_element)(
            data, position
        )
    except struct_error:
        raise Short from None
    return Element(vr, start, length)


class _Walk:
    def __init__(self, data: bytes, *, implicit: bool) -> None:
        self._data, self._depth = data, limits().depth
        self._read = _implicit_element if implicit else _explicit_element

    def top(self, position: int, wanted: Collection[int], *, whole: bool) -> Found:
        data, end, read = self._data, len(self._data), self._read
        found: dict[int, Element] = {}
        while position < end:
            tag, vr, start, length = read(data, position)
            if tag in PIXEL_TAGS:
                return Found(found, Element(vr, start, length))
            if tag in wanted:
                found[tag] = Element(vr, start, length)
            nested = vr in _NESTED or length == UNDEFINED
            position = self._sequence(vr, start, length, depth=1) if nested else start + length
        if position > end or not whole:
            raise Short
        return Found(found, None)

    def _sequence(self, vr: bytes, position: int, length: int, *, depth: int) -> int:
        if depth > self._depth:
            raise UnusableFileError("too-deep")
        if vr not in _NESTED:
            raise Unusual
        end = position + length if length != UNDEFINED else UNDEFINED
        while position < end:
            tag, size = _tag(self._data, position), _U32(self._data, position + 4)[0]
            position += 8
            if tag == _SEQUENCE_END and end == UNDEFINED:
                return position
            if tag != _ITEM:
                raise Unusual
            position = self._item(position, size, depth=depth)
        return _same(position, end)

    def _item(self, position: int, size: int, *, depth: int) -> int:
        end = position + size if size != UNDEFINED else UNDEFINED
        while position < end:
            if end == UNDEFINED and _tag(self._data, position) == _ITEM_END:
                return position + 8
            _, vr, start, length = self._read(self._data, position)
            nested = vr in _NESTED or length == UNDEFINED
            position = (
                self._sequence(vr, start, length, depth=depth + 1) if nested else start + length
            )
        return _same(position, end)


def _explicit_element(data: bytes, position: int) -> tuple[int, bytes, int, int]:
    vr = data[position + 4 : position + 6]
    if vr in _SHORT:
        return _tag(data, position), vr, position + 8, _U16(data, position + 6)[0]
    if vr in _LONG:
        return _tag(data, position), vr, position + 12, _U32(data, position + 8)[0]
    raise Unusual if len(vr) == 2 else Short


def _implicit_element(data: bytes, position: int) -> tuple[int, bytes, int, int]:
    tag, length = _tag(data, position), _U32(data, position + 4)[0]
    known = standard_vr(tag)
    nested = known == b"SQ" if known else length == UNDEFINED and tag >> 16 & 1
    return tag, b"SQ" if nested else b"", position + 8, length


@lru_cache(4096)
def standard_vr(tag: int) -> bytes:
    """Return the VR that PS3.6 gives an element; empty if it does not know it."""
    try:
        return dictionary_VR(tag).encode("ascii")
    except KeyError:
        return b""


def _tag(data: bytes, position: int) -> int:
    group, number = _TAG(data, position)
    return int(group << 16 | number)


def _same(position: int, end: int) -> int:
    if position != end:
        raise Unusual
    return position
