"""Read a JSON file that a stranger sent: bounded, strict, and JSON only.

Nothing here guesses or repairs. What the tables mean belongs to their readers; signatures are
``signatures``'s. Text of a stranger is shown to a person through ``printable`` only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from fedrad.durable import canonical_json
from fedrad.errors import EnrolmentError

_OTHER = (  # how a file begins that is no JSON, and what it is
    (b"\x80", "a pickle, which fedrad never opens"),
    (b"PK\x03\x04", "a zip archive (a pickle of torch is one), which fedrad never opens"),
    (b"\x1f\x8b", "compressed; send it as it was written"),
    (b"-----BEGIN", "a key or a certificate; send the JSON file, and never a private key"),
)


def read_document(path: Path, *, most_bytes: int) -> dict[str, Any]:
    """Return the one JSON object in a file.

    Args:
        path: The file.
        most_bytes: A larger file is not read.

    Raises:
        EnrolmentError: It is missing, too large, no regular file, or not one JSON object in
            which every key stands once and every number is finite.
    """
    try:
        if not path.is_file():
            raise EnrolmentError(f"{path} is not a file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise EnrolmentError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > most_bytes:
        raise EnrolmentError(f"{path} is larger than {most_bytes:,} bytes, the most there can be")
    return _parse(path, content)


def printable(text: str, longest: int = 300) -> str:
    """Return a stranger's text as a terminal may show it: no control characters, not too long."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:longest])
    return shown + ("..." if len(text) > longest else "")


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    for start, what in _OTHER:
        if content.startswith(start):
            raise EnrolmentError(f"{path} is {what}")
    try:
        table = json.loads(
            content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse_constant
        )
        canonical_json(table)  # no half of a surrogate pair, no number beyond a float
    except (ValueError, RecursionError) as error:
        known = isinstance(error, _StrictnessError)
        why = str(error) if known else "it does not parse"
        raise EnrolmentError(f"{path} is not a JSON object: {why}") from None
    if not isinstance(table, dict):
        raise EnrolmentError(f"{path} is not a JSON object")
    return table


class _StrictnessError(ValueError):
    """A key that stands twice, or a number that is none."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _StrictnessError("a key stands twice")
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise _StrictnessError(f"{name} is not a number")
