"""What may stay of a DICOM object: the allow-list of ``profile.toml``, and refused kinds.

One rule for each attribute that may stay; what has no rule goes. The list itself is data that
a hospital can read; how each rule turns a value into another belongs to ``values``, the walk
through an object to ``apply``.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import pydicom.uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

FILE = "profile.toml"
_LISTS = ("codes", "sequences", "identifiers", "classes", "dates", "emptied")
_SCREENSHOTS = ("SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE", "DOSE_INFO", "CAPTURE")
_BY_MODALITY = {
    "US": "ultrasound", "IVUS": "ultrasound", "XC": "visible-light", "ES": "visible-light",
    "GM": "visible-light", "SM": "visible-light", "OP": "visible-light",
    "DOC": "encapsulated-document",
    "SR": "structured-report", "KO": "structured-report", "PR": "presentation-state",
    "OT": "secondary-capture", "SC": "secondary-capture",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """What one attribute may hold."""

    table: str  # the table of ``profile.toml`` that names it
    values: frozenset[str] = frozenset()  # terms: what each value may be
    constant: str = ""  # constants: what stands there instead


@dataclass(frozen=True)
class Profile:
    """The allow-list."""

    rules: Mapping[int, Rule]  # by tag
    objects: frozenset[str]  # SOP class UIDs that may be written
    kinds: Mapping[str, tuple[str, ...]]  # refused kind -> beginnings of SOP class UIDs
    makers: Mapping[str, str]  # beginning of a Manufacturer -> what is written
    name: str  # version and digest of the list

    def kind(self, instance: Dataset) -> str:
        """Return the refused kind of an object, or an empty text.

        The SOP class decides first; modality, ConversionType and ImageType (PS3.3 C.8.6.1,
        C.7.6.1) tell a screenshot that hides behind another class. Values must have been
        guarded by the caller: a damaged one raises whatever pydicom raises.
        """
        uid = str(instance.get("SOPClassUID") or "")
        for kind, starts in self.kinds.items():
            if any(uid == start or uid.startswith(f"{start}.") for start in starts):
                return kind
        by_modality = _BY_MODALITY.get(str(instance.get("Modality") or "").upper(), "")
        if by_modality or _looks_captured(instance):
            return by_modality or "secondary-capture"
        return "" if uid in self.objects else "kind-not-allowed"


def burned_in(instance: Dataset) -> bool:
    """Tell whether the object says of itself that text is in its pixels (PS3.3 C.7.6.1)."""
    return str(instance.get("BurnedInAnnotation") or "").strip().upper() not in ("", "NO")


@lru_cache(maxsize=1)
def read_profile() -> Profile:
    """Return the profile that is part of the program."""
    content = files("site_client.deidentify").joinpath(FILE).read_bytes()
    table = tomllib.loads(content.decode("utf-8"))
    return Profile(
        rules={_tag(keyword): rule for keyword, rule in _rules(table)},
        objects=frozenset(str(getattr(pydicom.uid, name)) for name in table["objects"]),
        kinds={kind: tuple(starts) for kind, starts in table["kinds"].items()},
        makers=table["makers"],
        name=f"{table['version']}-{hashlib.sha256(content).hexdigest()[:16]}",
    )


def _rules(table: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
    for keywords in table["numbers"].values():
        yield from ((keyword, Rule("numbers")) for keyword in keywords)
    for keyword, words in table["terms"].items():
        yield keyword, Rule("terms", values=frozenset(words))
    for keyword, constant in table["constants"].items():
        yield keyword, Rule("constants", constant=constant)
    for name in _LISTS:
        yield from ((keyword, Rule(name)) for keyword in table[name]["keywords"])
    yield "Manufacturer", Rule("makers")


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{FILE} names {keyword!r}, which is no attribute of DICOM")
    return tag


def _looks_captured(instance: Dataset) -> bool:
    if str(instance.get("ConversionType") or "") not in ("", "SYN"):
        return True
    words = instance.get("ImageType") or ()
    words = [words] if isinstance(words, str) else words
    return any(str(word).upper() in _SCREENSHOTS for word in words)
