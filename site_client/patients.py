"""Who is one patient, and in which split: the unit of privacy.

A patient's key is (PatientID, IssuerOfPatientID) of PS3.3 C.7.1.1, or what the hospital's
mapping file says. The split follows from the key and the site's secret alone: no other
patient, task or image has a say, so adding one patient moves nobody else.
"""

from __future__ import annotations

import dataclasses
import hmac
from dataclasses import dataclass, field, replace
from typing import Literal

from fedrad.errors import DataError
from site_client.deidentify.pseudonyms import PADDING, Pseudonyms, pseudonyms
from site_client.identities import BLANK, MAPPED, OWN, PLACEHOLDER, is_placeholder
from site_client.mapping import Mapping, read_mapping
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
    """One patient as fedrad names it.

    Attributes:
        pseudonym: Empty where nobody can say who it is.
        slot: 0 to 999; -1 without a pseudonym.
        listed_as: Pseudonym of the bare PatientID, as lists name it; empty if there is none.
        identity: ``own`` (its PatientID), ``mapped`` (the hospital's word), ``blank`` or
            ``placeholder``.
    """

    pseudonym: str
    slot: int
    listed_as: str
    identity: str


@dataclass(frozen=True, slots=True)
class Register:
    """Turns what a file says about its patient into a ``Patient``."""

    secret: bytes = field(repr=False)
    names: Pseudonyms
    mapping: Mapping = field(default_factory=Mapping, repr=False)
    placeholders: frozenset[str] = frozenset()

    def patient(
        self, patient_id: str, issuer: str = "", *, study: str = "", accession: str = ""
    ) -> Patient:
        """Return the patient of one file, from its header's values."""
        name, by, study, accession = (
            text.strip(PADDING) for text in (patient_id, issuer, study, accession)
        )
        listed_as = self.names.of("listed", name) if name else ""
        master = self.mapping.master(name, by, study=study, accession=accession)
        if master is not None:
            return replace(self.mapped(master), listed_as=listed_as)
        if not name or is_placeholder(name, self.placeholders):
            return Patient("", -1, listed_as, PLACEHOLDER if name else BLANK)
        return self._called(patient_key(name, by), listed_as, OWN)

    def mapped(self, master: str) -> Patient:
        """Return the patient whom the mapping file calls ``master``."""
        return self._called(f"\x1f\x1f{master}", "", MAPPED)

    def _called(self, key: str, listed_as: str, identity: str) -> Patient:
        pseudonym = self.names.of("patient", key)
        return Patient(pseudonym, slot(self.secret, key), listed_as, identity)


def read_register(lists: PatientLists, split_key: bytes) -> Register:
    """Read the hospital's mapping file, if it names one; errors are those of ``read_mapping``."""
    mapping = read_mapping(lists.mapping)
    return Register(split_key, pseudonyms(split_key), mapping, frozenset(lists.placeholders))


def register_version(register: Register) -> str:
    """Return a text that changes whenever a file could come out as another patient."""
    parts = [*(text for pair in register.mapping.entries() for text in pair)]
    parts += ["", *sorted(register.placeholders)]
    return register.names.of("register", "\x1e".join(parts))


def assignment(lists: PatientLists, shares: Shares, split_key: bytes) -> str:
    """Return a text that changes whenever a patient could be dealt to another split.

    A keyed digest over the secret itself, the shares and what the mapping file says; the
    order of its rows does not count.
    """
    register = read_register(PatientLists(mapping=lists.mapping), split_key)
    dealt = [register_version(register), *map(repr, dataclasses.astuple(shares))]
    return register.names.of("assignment", " ".join(dealt))
