"""What was set aside and why, for people: ``fedrad-site quarantine``.

Counts by reason with what each means and what can be done, beside what is odd about the
lists of patients. Files are named in ``quarantine.csv`` alone, because file names often hold
accession numbers; nothing of this leaves the site.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from site_client.catalogue import QUARANTINE, update_catalogue
from site_client.identities import Unusable, count_unusable
from site_client.patient_lists import list_findings
from site_client.reasons import explain
from site_client.settings import read_site


@dataclass(frozen=True, slots=True)
class SetAside:
    """Files of one reason."""

    reason: str
    files: int
    means: str
    do: str
    tasks: tuple[str, ...]  # for which they were looked at; empty: for any
    details: dict[str, int]  # what shows it -> files


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Everything that the site set aside."""

    path: str
    reasons: tuple[SetAside, ...]  # the most frequent first
    unusable: Unusable
    findings: tuple[str, ...]  # about lists of patients: line numbers, no patient


def read_quarantine(home: Path) -> Quarantine:
    """Bring the catalogue up to date and sum up what is set aside.

    Raises:
        ArchiveError: The archive or a list is missing.
        SettingsError: ``site.toml`` cannot be used.
    """
    settings = read_site(home)
    table = update_catalogue(home)
    rows = pd.read_csv(home / QUARANTINE, dtype=str, keep_default_na=False)
    return Quarantine(
        path=str(home / QUARANTINE),
        reasons=sum_up(rows.assign(detail=rows.get("detail", ""))),
        unusable=count_unusable(table, settings.patients.max_studies),
        findings=list_findings(home, settings.patients, table),
    )


def sum_up(rows: pd.DataFrame) -> tuple[SetAside, ...]:
    """Sum up rows of ``quarantine.csv`` by reason, the most frequent first.

    Args:
        rows: Columns file, reason, task, detail.
    """
    found = [_summed(str(reason), of) for reason, of in rows.groupby("reason")]
    return tuple(sorted(found, key=lambda one: (-one.files, one.reason)))


def as_table(found: Quarantine) -> dict[str, Any]:
    """Return the summary as one JSON object."""
    return asdict(found)


def as_text(found: Quarantine) -> str:
    """Return what ``fedrad-site quarantine`` prints."""
    return "\n".join(_lines(found))


def _summed(reason: str, rows: pd.DataFrame) -> SetAside:
    said = explain(reason)
    once = rows.drop_duplicates("file")
    details = once.loc[once["detail"] != "", "detail"].value_counts()
    tasks = tuple(sorted({str(task) for task in rows["task"]} - {""}))
    numbers = {str(detail): int(count) for detail, count in details.items()}
    return SetAside(reason, len(once), said.means, said.do, tasks, numbers)


def _lines(found: Quarantine) -> Iterator[str]:
    if not found.reasons:
        yield "nothing was set aside"
    for one in found.reasons:
        of = f" (for {', '.join(one.tasks)})" if one.tasks else ""
        yield f"{one.files} {one.reason}{of}: {one.means}"
        for detail, files in list(one.details.items())[:3]:
            yield f"    {files} x {detail}"
        yield f"    {one.do}"
    if found.unusable.studies:
        ready = "not ready for private tasks" if found.unusable.too_many else "few enough"
        yield f"{found.unusable}: {ready}"
    yield from found.findings
    if found.reasons:
        yield f"the files are named in {found.path}"
