"""The catalogue: one row for each file of the archive, without pixels.

Rows are kept between runs and read again only when a file's size or time changed. A file
that cannot be used gets a fault, never an error: it goes to ``quarantine.csv`` and the rest
goes on. UIDs, accession numbers and patient IDs are pseudonyms here; the relative path is
the only text from the archive. Which images suit a task belongs to ``gate``.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from fedrad import durable
from site_client import home as site_home
from site_client.archive.facts import read_facts
from site_client.archive.folder import ArchiveFile, list_files
from site_client.archive.instances import UnusableFileError
from site_client.identities import REASON as UNUSABLE
from site_client.identities import unusable
from site_client.patient_lists import known_patients, read_lists
from site_client.patients import Register, read_register, register_version
from site_client.rows import COLUMNS, KEYWORDS, Row, as_row
from site_client.settings import PatientLists, read_site

FILE = "catalogue.parquet"
QUARANTINE = "quarantine.csv"
SEGMENTATION = "SEG"
_VERSION = "3"  # raise when a row's meaning changes: every file is then read again


def update_catalogue(home: Path) -> pd.DataFrame:
    """Bring the catalogue up to date with the archive, and write it if anything changed.

    Args:
        home: The site's folder; ``catalogue.parquet`` and ``quarantine.csv`` are written.

    Returns:
        One row for each file, sorted by path: the columns of ``Row``, ``reason``, which is
        empty where the file may be used and else says why not, and ``detail``.

    Raises:
        ArchiveError: The archive is missing.
        SettingsError: ``site.toml`` cannot be used.
    """
    settings = read_site(home)
    secret = site_home.split_key(home)
    register = read_register(settings.patients, secret)
    version = f"{_VERSION}-{register_version(register)}"
    known = _known_rows(home, version)
    files = list_files(settings.archive.path)
    fresh = [found for found in files if (found.file, found.bytes, found.mtime_ns) not in known]
    table = _table(
        [known.get((found.file, found.bytes, found.mtime_ns)) for found in files],
        [asdict(read_row(settings.archive.path, f, register, version=version)) for f in fresh],
    )
    table = table.assign(**_reasons(table, settings.patients, register))
    if fresh or len(known) != len(files) or not (home / FILE).exists():
        write_catalogue(home, table)
    write_quarantine(home, "", table.loc[table["reason"] != "", ["file", "reason", "detail"]])
    return table


def read_row(folder: Path, found: ArchiveFile, register: Register, *, version: str) -> Row:
    """Read what the catalogue keeps of one file; a file that cannot be used has a fault."""
    try:
        facts = read_facts(folder / found.file, KEYWORDS, (found.bytes, found.mtime_ns))
        return as_row(found, facts, register, version=version)
    except UnusableFileError as error:
        return Row(found.file, found.bytes, found.mtime_ns, version, fault=error.reason)


def write_catalogue(home: Path, table: pd.DataFrame) -> None:
    """Write the rows durably as ``catalogue.parquet``; ``reason`` is worked out anew each time."""
    buffer = io.BytesIO()
    table[list(COLUMNS)].to_parquet(buffer, index=False)
    durable.write_bytes(home / FILE, buffer.getvalue())


def write_quarantine(home: Path, task: str, refused: pd.DataFrame) -> None:
    """Replace what ``quarantine.csv`` says for one task; the hospital's own eyes only.

    Args:
        home: The site's folder.
        task: The task's name; empty for files that no task can use.
        refused: Columns ``file`` (relative path), ``reason`` and, where known, ``detail``.
    """
    path = home / QUARANTINE
    columns = ["file", "reason", "task", "detail"]
    new = refused.assign(task=task).reindex(columns=columns).fillna("")
    old = pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else new.iloc[:0]
    kept = old[old["task"] != task].reindex(columns=columns).fillna("")
    text = pd.concat([kept, new]).to_csv(index=False)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        durable.write_bytes(path, text.encode("utf-8"))


def _known_rows(home: Path, version: str) -> dict[tuple[str, int, int], dict[str, Any]]:
    path = home / FILE
    if not path.exists():
        return {}
    table = pd.read_parquet(path)
    if tuple(table.columns) != COLUMNS:
        return {}
    rows = table[table["version"] == version].to_dict("records")
    return {(row["file"], row["bytes"], row["mtime_ns"]): row for row in rows}  # type: ignore[misc]


def _table(known: Iterable[dict[str, Any] | None], fresh: list[dict[str, Any]]) -> pd.DataFrame:
    rows = [row for row in known if row is not None] + fresh
    rows.sort(key=lambda row: str(row["file"]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _reasons(
    table: pd.DataFrame, lists: PatientLists, register: Register
) -> dict[str, pd.Series[str]]:
    said = unusable(table, lists.max_studies)
    listed = read_lists(lists, known_patients(table), register).reasons(table["patient"])
    reason = table["fault"].astype(object)
    reason = reason.mask((reason == "") & (said != ""), UNUSABLE)
    reason = reason.mask(reason == "", listed)
    copies = table.loc[table["fault"] == "", ["patient", "instance"]].duplicated()
    again = copies.reindex(table.index, fill_value=False)
    reason = reason.mask((reason == "") & again, "duplicate-instance")
    return {"reason": reason, "detail": said.where(reason == UNUSABLE, "")}
