"""Correct one number that old writers of lossy JPEG left wrong and strict decoders refuse.

In a sequential scan three numbers of the header say nothing and are fixed (ITU-T T.81, B.2.3 and
table B.3: Ss = 0, Se = 63, Ah = Al = 0). Some writers put Se = 0; tolerant decoders never look
at it. With the right number the same coefficients are decoded; nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from struct import error as struct_error

_ITEM = Struct("<HHI").unpack_from  # of encapsulated pixels, PS3.5 A.4
_SEGMENT = Struct(">BBH").unpack_from  # 0xFF, marker, length from itself on
_ITEM_TAG = (0xFFFE, 0xE000)
_IMAGE_BEGINS = b"\xff\xd8"
_SEQUENTIAL, _SCAN = (0xC0, 0xC1), 0xDA  # frames of Huffman-coded DCT; start of a scan
_FIXED = b"\x00\x3f\x00"


def with_fixed_scans(encapsulated: bytes) -> bytes:
    """Return encapsulated JPEG frames whose first scans say what T.81 fixes.

    Args:
        encapsulated: The value of PixelData, items with their heads.

    Returns:
        The same bytes, if nothing was wrong or nothing is understood.
    """
    places = [at for begin in _images(encapsulated) if (at := _scan_numbers(encapsulated, begin))]
    wrong = [at for at in places if encapsulated[at : at + 3] != _FIXED]
    if not wrong:
        return encapsulated
    fixed = bytearray(encapsulated)
    for at in wrong:
        fixed[at : at + 3] = _FIXED
    return bytes(fixed)


def _images(encapsulated: bytes) -> Iterator[int]:
    """Yield where each item begins that begins an image."""
    position = 0
    while position + 8 <= len(encapsulated):
        group, number, length = _ITEM(encapsulated, position)
        position += 8
        if (group, number) != _ITEM_TAG:
            return
        if encapsulated[position : position + 2] == _IMAGE_BEGINS:
            yield position
        position += length


def _scan_numbers(content: bytes, begin: int) -> int:
    """Return where Ss, Se, Ah and Al of a sequential image's first scan are; 0 if nowhere."""
    position, sequential = begin + 2, False
    try:
        while True:
            lead, marker, length = _SEGMENT(content, position)
            if lead != 0xFF or length < 2:
                return 0
            sequential |= marker in _SEQUENTIAL
            position += 2 + length
            if marker == _SCAN:
                return position - 3 if sequential and position <= len(content) else 0
    except struct_error:
        return 0
