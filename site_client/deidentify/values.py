"""What each rule of the profile makes of one value; what it does not allow becomes nothing.

A value is read as what it is meant to be (a number, a word of a list, a code of PS3.16) and
written again from that, so that no text of the file passes in it. Functions return ``None``
for a value that must not stay.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_has_tag
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pydicom.valuerep import DSfloat, format_number_as_ds

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{8}")
_AGE = re.compile(r"\d{3}[DWMY]")
_LONGEST_DECIMAL = 16  # bytes of a DS (PS3.5 6.2)
_LONGEST_MEANING = 64  # characters of an LO
_WHOLE = 2**31
OLDEST = 89  # years; 45 CFR 164.514(b)(2)(i)(C): one category of age 90 or older
_OLDER = "090Y"
REMOVED = "REMOVED"


def several(value: Any) -> list[Any]:
    """Return the values of one element as a list; none for an empty element."""
    if value is None or value == "":
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def number(value: Any, vr: str) -> Any | None:
    """Return a number of the file as a number.

    A decimal string keeps its digits where they are digits and not too many; else it is
    written anew. A tag (VR AT) stays if the standard's dictionary has it.
    """
    if vr == "AT":
        return value if dictionary_has_tag(value) and not Tag(value).is_private else None
    if vr == "DS":
        return _decimal(str(value).strip())
    if vr == "IS":
        text = str(value).strip()
        whole = int(text) if re.fullmatch(r"[+-]?\d{1,12}", text) else _WHOLE
        return whole if -_WHOLE <= whole < _WHOLE else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def word(value: Any, allowed: frozenset[str]) -> str:
    """Return a word of the list, or an empty text in its place."""
    text = str(value).strip()
    return text if text in allowed else ""


def registered(value: Any) -> str | None:
    """Return a UID that the standard registers."""
    text = UID(str(value).strip(" \0"))
    return str(text) if text.type else None  # only the dictionary's UIDs have a type


def earlier(value: Any, days: int) -> str | None:
    """Return a date, or the date of a date and time, ``days`` before: YYYYMMDD."""
    match = _DATE.match(str(value).strip())
    if match is None:
        return None
    try:
        day = datetime.datetime.strptime(match.group(), "%Y%m%d").date()  # noqa: DTZ007
        return (day - datetime.timedelta(days)).strftime("%Y%m%d").zfill(8)
    except (ValueError, OverflowError):
        return None


def age(value: Any) -> str | None:
    """Return an age (VR AS); more than 89 years become 090Y."""
    text = str(value).strip()
    if _AGE.fullmatch(text) is None:
        return None
    return _OLDER if text.endswith("Y") and int(text[:3]) > OLDEST else text


def maker(value: Any, makers: Mapping[str, str]) -> str:
    """Return the name of a known maker, or REMOVED (type 1 of enhanced objects)."""
    text = str(value).strip().upper()
    return next((name for start, name in makers.items() if text.startswith(start)), REMOVED)


def code(item: Dataset) -> Dataset | None:
    """Return a code of PS3.16 with the standard's own meaning (PS3.3 8.8)."""
    value = str(item.get("CodeValue") or "").strip()
    scheme = str(item.get("CodingSchemeDesignator") or "").strip()
    meaning = _meanings().get((scheme, value))
    if meaning is None:
        return None
    clean = Dataset()
    clean.CodeValue, clean.CodingSchemeDesignator = value, scheme
    clean.CodeMeaning = meaning
    return clean


@lru_cache(maxsize=1)
def _meanings() -> dict[tuple[str, str], str]:
    """All codes of the context groups of PS3.16 that pydicom carries, SRT names included."""
    from pydicom.sr._concepts_dict import concepts  # 1 MB of text
    from pydicom.sr._snomed_dict import mapping

    named: dict[str, dict[str, dict[str, tuple[str, list[int]]]]] = {**concepts}  # type: ignore[dict-item]
    found = {
        (scheme, value): meaning[:_LONGEST_MEANING]
        for scheme, keywords in named.items()
        for values in keywords.values()
        for value, (meaning, _) in values.items()
    }
    for old, new in mapping["SRT"].items():
        if ("SCT", new) in found:
            found["SRT", old] = found["SCT", new]
    return found


def _decimal(text: str) -> DSfloat | None:
    if not _DECIMAL.fullmatch(text) or not math.isfinite(float(text)):
        return None
    if len(text) > _LONGEST_DECIMAL:
        text = format_number_as_ds(float(text))
    return DSfloat(text)
