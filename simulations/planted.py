"""Invent identifiers for phantom patients, and count them in bytes that left a hospital.

Every name, number and UID here is made up. They are planted in DICOM elements, private tags,
comments and file names, so that a search for them through everything a site sent shows
whether anything got out. Each is at least eight characters long: random tensor bytes do not
hold one by chance.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedrad import seeds
from fedrad.errors import DataError

COLUMNS = ("site", "patient", "kind", "value")
SHORTEST = 8  # characters
SITE_WIDE = -1  # ordinal of what belongs to no patient

_LATIN = (
    "quel", "born", "züg", "häm", "löff", "rétz", "dør", "ström", "våg", "niñ", "çar", "plöh",
    "werd", "holm", "grim", "tass", "vik", "lund", "mora", "sefe", "juno", "kald", "brix", "oste",
)  # fmt: skip
_WIDE = (
    "ščep", "łodz", "żura", "őrsz", "ğılı", "ťapk", "жул", "бряк", "щеп", "хвой", "ψαλ", "θερ",
    "ξυλ", "δρομ", "nový", "řeka", "ěšut", "ľubo", "вьюн", "ёлоч", "ωδικ", "φεγγ", "ūdra", "žvej",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """What the archive says of one patient; all of it invented."""

    ordinal: int
    family: str
    given: str
    charset: str  # SpecificCharacterSet: ISO_IR 100 or ISO_IR 192
    patient_id: str
    birth_date: str  # YYYYMMDD
    address: str  # goes into a private element

    def planted(self) -> Iterator[tuple[str, str]]:
        """Yield kind and value of everything to look for."""
        yield "family-name", self.family
        yield "patient-id", self.patient_id
        yield "birth-date", self.birth_date
        yield "address", self.address


@dataclass(frozen=True, slots=True)
class SiteIdentity:
    """What the archive says of the hospital; all of it invented."""

    institution: str
    physician: str

    def planted(self) -> Iterator[tuple[str, str]]:
        """Yield kind and value of everything to look for."""
        yield "institution", self.institution
        yield "referring-physician", self.physician


@dataclass(frozen=True, slots=True)
class Planted:
    """One identifier that must never leave: a row of ``planted.csv``."""

    site: str
    patient: int  # ordinal; -1: the hospital's own
    kind: str
    value: str


def invent_patient(site: str, ordinal: int, seed: int) -> Identity:
    """Invent one patient of one site."""
    rng = seeds.stream(seed, site, ordinal, "identity")
    wide = bool(rng.integers(2))
    number = int(rng.integers(10**8, 10**9))
    return Identity(
        ordinal=ordinal,
        family=_word(rng, _WIDE if wide else _LATIN, 4),
        given=_word(rng, _WIDE if wide else _LATIN, 2),
        charset="ISO_IR 192" if wide else "ISO_IR 100",
        patient_id=f"PZ{number}-{ordinal:04d}",
        birth_date=f"{rng.integers(1925, 2010)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        address=f"{_word(rng, _LATIN, 3)} Lane {number % 9973}",
    )


def invent_site(site: str, seed: int) -> SiteIdentity:
    """Invent one hospital's name and its referring physician."""
    rng = seeds.stream(seed, site, 0, "institution")
    return SiteIdentity(f"Clinic {_word(rng, _LATIN, 3)}", f"Dr. {_word(rng, _LATIN, 4)}")


def invent_uid(seed: int, *names: str | int) -> str:
    """Return a UID under 2.25 that seed and names fix (PS3.5 B.2)."""
    return f"2.25.{int.from_bytes(seeds.key(seed, 'uid', *names)[:16], 'big')}"


def write_planted(path: Path, rows: Iterable[Planted]) -> None:
    """Write ``planted.csv``; it stays beside the archive and is no part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((row.site, row.patient, row.kind, row.value) for row in rows)


def read_planted(path: Path) -> tuple[Planted, ...]:
    """Read ``planted.csv``.

    Raises:
        DataError: The file is missing or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
            return tuple(
                Planted(row["site"], int(row["patient"]), row["kind"], row["value"]) for row in rows
            )
    except (OSError, KeyError, ValueError):
        columns = ", ".join(COLUMNS)
        raise DataError(
            f"{path} is missing or lacks one of the columns {columns}; write the hospital again"
        ) from None


def occurrences(content: bytes, values: Iterable[str]) -> int:
    """Count where planted identifiers stand in ``content``.

    Looked for as UTF-8, Latin-1 and UTF-16 of either byte order, whatever the case. A value of
    digits alone counts only where no further digit, hexadecimal letter or decimal point
    touches it, so that digests and printed floats cannot hold one by chance.

    Args:
        content: Any bytes, such as a message as it left.
        values: Identifiers of at least eight characters.

    Returns:
        How many places hold one; a value found twice counts twice.

    Raises:
        DataError: A value is shorter than eight characters.
    """
    return _needles(tuple(values)).count(content)


_WINDOW = 8  # bytes that are compared at once
_TABLE_BITS = 20
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: Knuth's multiplicative hash
_HEX = frozenset(b"0123456789abcdef.")


class _Needles:
    """Many byte strings, found by a table of the hashes of their first eight bytes."""

    def __init__(self, values: tuple[str, ...]) -> None:
        self._by_start: dict[bytes, list[tuple[bytes, bool]]] = defaultdict(list)
        for value in set(values):
            if len(value) < SHORTEST:
                raise DataError(f"an identifier needs {SHORTEST} characters, got {len(value)}")
            for form in _byte_forms(value):
                self._by_start[form[:_WINDOW]].append((form, value.isdigit()))
        starts = np.frombuffer(b"".join(self._by_start), "<u8")
        self._possible = np.zeros(1 << _TABLE_BITS, bool)
        self._possible[_hash(starts)] = True

    def count(self, content: bytes) -> int:
        """Count places, each byte of ``content`` belonging to at most one."""
        low = content.lower()
        count = end = 0
        for place in self._candidates(low):
            length = self._length_at(low, place) if place >= end else 0
            count += length > 0
            end = max(end, place + length)
        return count

    def _candidates(self, low: bytes) -> list[int]:
        hits = [np.empty(0, np.int64)]
        for offset in range(_WINDOW):
            length = max(len(low) - offset, 0) // _WINDOW
            windows = np.frombuffer(low, "<u8", count=length, offset=min(offset, len(low)))
            hits.append(np.flatnonzero(self._possible[_hash(windows)]) * _WINDOW + offset)
        places: list[int] = np.sort(np.concatenate(hits)).tolist()
        return places

    def _length_at(self, low: bytes, place: int) -> int:
        forms = self._by_start.get(low[place : place + _WINDOW], ())
        found = [form for form, digits in forms if _stands_at(low, place, form, digits)]
        return max(map(len, found), default=0)


@lru_cache(maxsize=8)
def _needles(values: tuple[str, ...]) -> _Needles:
    return _Needles(values)


def _hash(windows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (windows * _MIX) >> np.uint64(64 - _TABLE_BITS)


def _stands_at(low: bytes, place: int, form: bytes, digits: bool) -> bool:
    end = place + len(form)
    if not low.startswith(form, place):
        return False
    step = 2 if b"\0" in form else 1
    around = (low[max(place - step, 0) : place], low[end : end + step])
    return not (digits and any(_HEX.intersection(side) for side in around))


def _byte_forms(value: str) -> set[bytes]:
    forms = set()
    for text in (value, value.lower(), value.upper()):
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            try:
                forms.add(text.encode(encoding).lower())
            except UnicodeEncodeError:
                continue
    return forms


def _word(rng: np.random.Generator, syllables: tuple[str, ...], count: int) -> str:
    return "".join(syllables[i] for i in rng.integers(0, len(syllables), count)).capitalize()
