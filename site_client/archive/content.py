"""What a file says once it is decoded, as one digest: two encodings of one image have the same.

Used where files of one instance differ in their bytes. What describes the encoding is left out
(PS3.10 7.1, the file meta information; PS3.3 C.7.6.3, the pixel data itself); every other
element counts, private ones too, and so does every stored value. Runs in a reading process.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from fedrad.durable import canonical_json
from site_client.archive.faults import UnusableFileError, foreign_bytes
from site_client.archive.instances import decode, read_instance

READ = "site_client.archive.content:digest_content"
_PIXELS = 0x7FE0  # group: the pixels, and tables of where their frames begin
_PADDING = (0xFFFC, 0xFFFC)  # DataSetTrailingPadding


def digest_content(folder: str, file: tuple[str, int, int]) -> tuple[str, list[Any]]:
    """Return the SHA-256 of what one file says; empty where it cannot be decoded.

    Args:
        folder: The archive.
        file: Path below it, size and time of change (ns) when it was listed.

    Returns:
        64 hexadecimal digits or nothing, and no array.
    """
    name, *listed = file
    try:
        with foreign_bytes("unreadable"):
            instance = read_instance(Path(folder, name), (listed[0], listed[1]))
            stored = decode(instance)
            found = hashlib.sha256(canonical_json([_said(instance), stored.dtype.str[1:]]))
            found.update(repr(stored.shape).encode("ascii"))
            found.update(stored.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes())
            return found.hexdigest(), []
    except UnusableFileError:
        return "", []


def _said(instance: Dataset) -> dict[str, Any]:
    kept = Dataset()
    for tag in instance.keys():  # noqa: SIM118  iterating a Dataset would convert every element
        is_length = tag.element == 0  # of a group, retired
        if tag.group != _PIXELS and not is_length and (tag.group, tag.element) != _PADDING:
            kept[tag] = instance[tag]
    return kept.to_json_dict()
