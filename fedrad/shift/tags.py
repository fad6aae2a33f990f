"""Which public cell a scanner's or a patient's words belong to; everything else is "other".

The vocabulary is ``tags-1``: makers by how their name begins, numbers by bins with public
edges. Free text never becomes a cell. Reading DICOM belongs to the site.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrad.constants import read_constants
from fedrad.errors import SettingsError

Floats = npt.NDArray[np.float64]

VOCABULARY = "tags-1"
OTHER = "other or missing"


def acquisition_tags(modality: str) -> tuple[str, ...]:
    """Return the names of the tags that are counted for a modality.

    Raises:
        SettingsError: The vocabulary has none for it.
    """
    known: dict[str, list[str]] = _values()["tags"]
    if modality not in known:
        line = f"{VOCABULARY} has no tags for modality {modality!r}; it has {', '.join(known)}"
        raise SettingsError("data", (line,))
    return tuple(known[modality])


def population_tags() -> tuple[str, ...]:
    """Return the names of what is counted of patients: sex and age."""
    return tuple(_values()["population"])


def cells_of(tag: str) -> tuple[str, ...]:
    """Return the names of a tag's cells; the last is ``OTHER``."""
    return _cells(tag)


def cell(tag: str, said: str) -> int:
    """Return the cell of what a header says: a word's beginning, or a number in its unit."""
    words: dict[str, str] = _values()["words"].get(tag, {})
    names = _cells(tag)
    if words:
        name = said.strip().upper()
        return names.index(
            next((short for begin, short in words.items() if _is(name, begin)), OTHER)
        )
    value = _number(said)
    if not math.isfinite(value):
        return len(names) - 1
    return int(np.searchsorted(_values()["edges"][tag], value, side="right"))


def counted(tags: Sequence[str], images: Sequence[Mapping[str, str]]) -> Floats:
    """Return one patient's part of the cells of several tags, one tag after the other.

    Each image puts 1 into one cell of each tag; the mean over the patient's images moves each
    tag's cells by at most 1 in L2 norm, all of them by at most the root of their number. No
    image counts as one that says nothing.

    Returns:
        (cells of all tags,), each tag's cells adding up to 1.
    """
    return placed(tags, [{tag: cell(tag, said.get(tag, "")) for tag in tags} for said in images])


def placed(tags: Sequence[str], images: Sequence[Mapping[str, int]]) -> Floats:
    """Return the same as ``counted`` of images whose cells were looked up before.

    A cell that is missing or that the vocabulary does not have counts as ``OTHER``.
    """
    rows = [
        np.concatenate([_one_hot(tag, image.get(tag, -1)) for tag in tags])
        for image in (images or [{}])
    ]
    return np.asarray(np.mean(rows, axis=0), dtype=np.float64)


def _one_hot(tag: str, place: int) -> Floats:
    length = len(_cells(tag))
    return np.asarray(np.eye(length)[place if 0 <= place < length else length - 1])


def known_tags() -> tuple[str, ...]:
    """Return the names of everything that the vocabulary counts, sorted."""
    return tuple(sorted(set(_values()["words"]) | set(_values()["edges"])))


def _is(name: str, begin: str) -> bool:
    return name == begin if len(begin) == 1 else name.startswith(begin)


def _number(said: str) -> float:
    try:
        return float(said.split("\\", maxsplit=1)[0])
    except ValueError:
        return math.nan


@lru_cache(maxsize=32)
def _cells(tag: str) -> tuple[str, ...]:
    words, edges = _values()["words"], _values()["edges"]
    if tag in words:
        return (*dict.fromkeys(words[tag].values()), OTHER)
    bounds = ["", *(f"{edge:g}" for edge in edges[tag]), ""]
    return (*(f"{a} to {b}".strip() for a, b in itertools.pairwise(bounds)), OTHER)


@lru_cache(maxsize=1)
def _values() -> dict[str, Any]:
    values: dict[str, Any] = read_constants(VOCABULARY)["values"]
    return values
