"""Who objected and who consented: ``exclude`` and ``include`` of ``[patients]``.

Both are tables with the column PatientID (optional: IssuerOfPatientID, or ``patient`` as in
the mapping file) or plain lists of PatientIDs. A list names a person: all IDs of a mapped
patient go with the one that is listed. Where a number fits more than one patient, an
objection counts for each of them and a consent for none. Lines are named, never patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from site_client.home import split_key
from site_client.mapping import ACCESSION, ID, ISSUER, PATIENT, STUDY
from site_client.patients import Register, read_register
from site_client.settings import PatientLists
from site_client.tables import TableRow, read_table, rounded_by_spreadsheet, with_zeros

EXCLUDED, NOT_INCLUDED = "patient-excluded", "patient-not-included"
_MOST_LINES = 20  # of a list that one sentence names

Known = Mapping[str, frozenset[str]]  # pseudonym of a bare PatientID -> patients
_Fits = tuple[frozenset[str], frozenset[str]]  # patients as written; with lost zeros put back


@dataclass(frozen=True, slots=True)
class Listed:
    """Whom a list names among the patients that are known, and what is odd about it."""

    patients: frozenset[str]
    entries: int
    findings: tuple[str, ...]  # for the site's own screen: line numbers, no patient


@dataclass(frozen=True, slots=True)
class Lists:
    """Both lists as they are now; ``included`` is ``None`` where everybody may take part."""

    excluded: Listed
    included: Listed | None
    findings: tuple[str, ...] = field(default=())

    def reasons(self, patients: pd.Series[str]) -> pd.Series[str]:
        """Return of each patient why they take no part; empty where they do."""
        reason = pd.Series("", index=patients.index, dtype=object)
        if self.included is not None:
            reason = reason.mask(~patients.isin(self.included.patients), NOT_INCLUDED)
        return reason.mask(patients.isin(self.excluded.patients), EXCLUDED)

    def out(self, patients: Iterable[str]) -> frozenset[str]:
        """Return those of ``patients`` who take no part."""
        everybody = pd.Series(sorted(patients), dtype=object)
        return frozenset(everybody[self.reasons(everybody) != ""])


def read_lists(lists: PatientLists, known: Known, register: Register) -> Lists:
    """Read both lists anew.

    Args:
        lists: Where they are.
        known: Everybody the site knows of, see ``known_patients``.
        register: Who is who.

    Raises:
        ArchiveError: A list that ``site.toml`` names is missing: nobody is let in or left out
            by guessing.
    """
    excluded = Listed(frozenset(), 0, ())
    if lists.exclude:
        excluded = _listed(lists.exclude, known, register, _objecting)
    included = None
    if lists.include:
        included = _listed(lists.include, known, register, _consenting)
    findings = (
        *excluded.findings,
        *(included.findings if included else ()),
        *_idle_mapping(lists.mapping, register, known),
    )
    return Lists(excluded, included, findings)


def list_findings(home: Path, lists: PatientLists, table: pd.DataFrame) -> tuple[str, ...]:
    """Return what is odd about the lists and the mapping: line numbers, no patient."""
    register = read_register(lists, split_key(home))
    return read_lists(lists, known_patients(table), register).findings


def known_patients(table: pd.DataFrame) -> Known:
    """Return who is known by which PatientID: columns ``listed_as`` and ``patient``."""
    found: dict[str, set[str]] = defaultdict(set)
    pairs = table.loc[table["patient"] != "", ["listed_as", "patient"]].drop_duplicates()
    for name, patient in pairs.itertuples(index=False):
        found[name].add(patient)
    return {name: frozenset(patients) for name, patients in found.items()}


def fits(patient_id: str, known: Known, register: Register) -> frozenset[str]:
    """Return the patients that a person may mean by one number: an ID or a master number."""
    master = register.mapped(patient_id).pseudonym
    everybody = frozenset[str]().union(*known.values())
    return known.get(register.names.of("listed", patient_id), frozenset()) | ({master} & everybody)


def _listed(
    path: Path,
    known: Known,
    register: Register,
    choose: Callable[[_Fits], tuple[frozenset[str], str]],
) -> Listed:
    rows = read_table(path, (ID, ISSUER, PATIENT)).rows
    zeros_lost = not any(row.get(ID).startswith("0") and len(row.get(ID)) > 1 for row in rows)
    everybody = frozenset[str]().union(*known.values())
    patients: set[str] = set()
    odd: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        found, what = choose(_fitting(row, known, register, zeros_lost=zeros_lost, among=everybody))
        patients |= found
        what = _lost(row) if not found and _lost(row) else what
        if what:
            odd[what].append(row.line)
    return Listed(frozenset(patients), len(rows), tuple(_sentences(path, odd)))


def _fitting(
    row: TableRow, known: Known, register: Register, *, zeros_lost: bool, among: frozenset[str]
) -> _Fits:
    if row.get(PATIENT):
        return frozenset({register.mapped(row.get(PATIENT)).pseudonym}) & among, frozenset()
    name, issuer = row.get(ID), row.get(ISSUER)
    spelled = [name, *(with_zeros(name) if zeros_lost else ())]
    found = [_by_id(one, issuer, known, register) for one in spelled]
    return found[0], frozenset[str]().union(*found[1:])


def _by_id(name: str, issuer: str, known: Known, register: Register) -> frozenset[str]:
    by_number = known.get(register.names.of("listed", name), frozenset())
    exact = {register.patient(name, issuer).pseudonym} & by_number if issuer else by_number
    return frozenset(exact) or by_number


def _objecting(fitting: _Fits) -> tuple[frozenset[str], str]:
    exact, padded = fitting
    if not exact | padded:
        return frozenset(), "no file of the archive has this PatientID"
    if len(exact | padded) > 1:
        return exact | padded, "the PatientID fits several patients, all are left out"
    return exact | padded, "" if exact else "leading zeros were lost; the patient is left out"


def _consenting(fitting: _Fits) -> tuple[frozenset[str], str]:
    exact, padded = fitting
    if not exact | padded:
        return frozenset(), "no file of the archive has this PatientID"
    if len(exact | padded) > 1:
        return frozenset(), (
            "the PatientID fits several patients, so none is let in: add IssuerOfPatientID, or "
            "save the numbers with their leading zeros"
        )
    return exact | padded, "" if exact else "leading zeros were lost; the patient is let in"


def _lost(row: TableRow) -> str:
    if rounded_by_spreadsheet(row.get(ID)):
        return "a spreadsheet rounded the number and its digits are lost: save it as text"
    return "" if row.get(ID) or row.get(PATIENT) else "the PatientID is empty"


def _idle_mapping(path: Path | None, register: Register, known: Known) -> Iterator[str]:
    """Name the rows of the mapping whose PatientID no file has; studies cannot be looked up."""
    if path is not None:
        idle = [
            line
            for (column, value, _), line in register.mapping.lines.items()
            if column not in (STUDY, ACCESSION) and register.names.of("listed", value) not in known
        ]
        yield from _sentences(path, {"no file of the archive has this PatientID": idle})


def _sentences(path: Path, odd: Mapping[str, list[int]]) -> Iterator[str]:
    for what, lines in odd.items():
        if lines:
            more = f" and {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else ""
            named = ", ".join(map(str, lines[:_MOST_LINES]))
            yield f"{path.name} line{'s' * (len(lines) > 1)} {named}{more}: {what}"
