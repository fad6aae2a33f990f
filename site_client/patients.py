"""Who is one patient, and in which split: the unit of privacy.

A patient's key is (PatientID, IssuerOfPatientID) of PS3.3 C.7.1.1, or what the hospital's
mapping file says. The split follows from the key and the site's secret alone: no other
patient, task or image has a say, so adding one patient moves nobody else.
"""

from __future__ import annotations

import csv
import dataclasses
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fedrad.durable import file_digest
from fedrad.errors import ArchiveError, DataError
from site_client.deidentify.pseudonyms import PADDING, Pseudonyms, pseudonyms
from site_client.settings import PatientLists, Shares

Split = Literal["train", "audit", "window", "test"]
SPLITS: tuple[Split, ...] = ("train", "audit", "window", "test")
SLOTS = 1000


def patient_key(patient_id: str, issuer: str = "") -> str:
    """Return the key of one patient.

    Args:
        patient_id: PatientID (0010,0020); white space at its ends does not count.
        issuer: IssuerOfPatientID (0010,0021); may be empty.

    Raises:
        DataError: ``patient_id`` is empty: nobody could say whose image it is.
    """
    name = patient_id.strip(PADDING)
    if not name:
        raise DataError("an image without PatientID belongs to no patient; repair its header")
    return f"{name}\x1f{issuer.strip(PADDING)}"


def slot(split_key: bytes, key: str) -> int:
    """Return where a patient's keyed hash falls: 0 to 999.

    Args:
        split_key: The site's secret.
        key: From ``patient_key`` or the mapping file.
    """
    return int.from_bytes(hmac.digest(split_key, key.encode(), "sha256"), "big") % SLOTS


def split_of(slot_number: int, shares: Shares) -> Split:
    """Return the split that owns a slot: the shares laid end to end over 0 to 999."""
    edge = 0.0
    for name in SPLITS[:-1]:
        edge += getattr(shares, name) * SLOTS
        if slot_number < round(edge):
            return name
    return _last_split(shares)


def _last_split(shares: Shares) -> Split:
    # Shares such as .7/.2/.1/0 must leave nothing to an empty split by rounding.
    return next(name for name in reversed(SPLITS) if getattr(shares, name) > 0)


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient as fedrad names it: a pseudonym, a slot, and the pseudonym of the bare ID."""

    pseudonym: str
    slot: int
    listed_as: str


@dataclass(frozen=True, slots=True)
class Register:
    """Turns what a file says about its patient into a ``Patient``."""

    secret: bytes = field(repr=False)
    names: Pseudonyms
    mapping: dict[tuple[str, str], str] = field(repr=False)

    def patient(self, patient_id: str, issuer: str = "") -> Patient:
        """Return the patient of one file; raises ``DataError`` like ``patient_key``."""
        key = patient_key(patient_id, issuer)
        name, _, by = key.partition("\x1f")
        mapped = self.mapping.get((name, by), self.mapping.get((name, "")))
        key = key if mapped is None else f"\x1f\x1f{mapped}"
        return Patient(
            self.names.of("patient", key), slot(self.secret, key), self.names.of("listed", name)
        )


def read_register(lists: PatientLists, split_key: bytes) -> Register:
    """Read the hospital's mapping file, if it names one.

    Raises:
        ArchiveError: The file is missing.
        DataError: It lacks the columns ``PatientID`` and ``patient``, or leaves one empty.
    """
    mapping: dict[tuple[str, str], str] = {}
    for row in _rows(lists.mapping) if lists.mapping else []:
        name, master = (str(row.get(column) or "").strip() for column in ("PatientID", "patient"))
        if not name or not master:
            raise DataError(
                f"{lists.mapping} needs the columns PatientID and patient, filled in every row"
            )
        mapping[name, str(row.get("IssuerOfPatientID") or "").strip()] = master
    return Register(split_key, pseudonyms(split_key), mapping)


def register_version(lists: PatientLists, split_key: bytes) -> str:
    """Return a text that changes whenever a file could come out as another patient."""
    mapping = file_digest(lists.mapping) if lists.mapping else ""
    return pseudonyms(split_key).of("register", mapping)


def assignment(lists: PatientLists, shares: Shares, split_key: bytes) -> str:
    """Return a text that changes whenever a patient could be dealt to another split.

    A keyed digest over the secret itself, the shares and the mapping file.
    """
    dealt = [register_version(lists, split_key), *map(repr, dataclasses.astuple(shares))]
    return pseudonyms(split_key).of("assignment", " ".join(dealt))


def listed(path: Path, names: Pseudonyms) -> frozenset[str]:
    """Read a list of patient IDs, one a line, as the pseudonyms of ``Patient.listed_as``.

    Raises:
        ArchiveError: The file is missing: nobody is let in or left out by guessing.
    """
    lines = _text(path).splitlines()
    wanted = (line.split(",")[0].strip() for line in lines)
    return frozenset(names.of("listed", name) for name in wanted if name not in ("", "PatientID"))


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(_text(path).splitlines()))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise ArchiveError(f"{path} cannot be read; correct its name in site.toml") from None
