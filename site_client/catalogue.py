"""The catalogue: one row for each file of the archive, without pixels.

Rows are kept between runs and read again only when a file's size or time changed. A file
that cannot be used gets a fault, never an error: it goes to ``quarantine.csv`` and the rest
goes on. UIDs, accession numbers and patient IDs are pseudonyms here; the relative path is
the only text from the archive. Which images suit a task belongs to ``gate``.
"""

from __future__ import annotations

import io
import logging
import secrets
from pathlib import Path

import pandas as pd

from fedrad import durable
from fedrad.progress import Say, silent
from site_client import home as site_home
from site_client.identities import REASON as UNUSABLE
from site_client.identities import unusable
from site_client.limits import Reading
from site_client.patient_lists import known_patients, read_lists
from site_client.patients import Register, read_register
from site_client.rows import COLUMNS
from site_client.scan import Scan, copy_reasons
from site_client.settings import PatientLists, read_site

FILE = "catalogue.parquet"
QUARANTINE = "quarantine.csv"

_LOG = logging.getLogger(__name__)


def update_catalogue(home: Path, *, say: Say = silent) -> pd.DataFrame:
    """Bring the catalogue up to date with the archive, and write it if anything changed.

    Args:
        home: The site's folder; ``catalogue.parquet`` and ``quarantine.csv`` are written.
        say: Told how far long work is.

    Returns:
        One row for each file, sorted by path: the columns of ``Row``, ``reason``, which is
        empty where the file may be used and else says why not, and ``detail``.

    Raises:
        ArchiveError: The archive is missing.
        SettingsError: ``site.toml`` cannot be used.
    """
    settings = read_site(home)
    register = read_register(settings.patients, site_home.split_key(home))
    scan = Scan(settings.archive.path, settings.reading, register)
    before = _kept_rows(home)
    table = scan.compared(
        scan.update(before, save=lambda rows: write_catalogue(home, rows), say=say)
    )
    if not table.equals(before):
        write_catalogue(home, table)
    table = table.assign(**_reasons(table, settings.patients, register))
    write_quarantine(home, "", table.loc[table["reason"] != "", ["file", "reason", "detail"]])
    return table


def look_at(folder: Path, *, say: Say = silent) -> pd.DataFrame:
    """Return the catalogue of any folder, without settings or home; nothing is written.

    Pseudonyms are those of this one look. Columns are those of ``update_catalogue``.

    Raises:
        ArchiveError: The folder is missing.
    """
    lists = PatientLists()
    register = read_register(lists, secrets.token_bytes(site_home.KEY_BYTES))
    scan = Scan(folder, Reading(), register)
    table = scan.compared(scan.update(_no_rows(), save=lambda _: None, say=say))
    return table.assign(**_reasons(table, lists, register))


def write_catalogue(home: Path, table: pd.DataFrame) -> None:
    """Write the rows durably as ``catalogue.parquet``; ``reason`` is worked out anew each time."""
    buffer = io.BytesIO()
    table[list(COLUMNS)].to_parquet(buffer, index=False, write_page_checksum=True)
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


def _kept_rows(home: Path) -> pd.DataFrame:
    """Read what was kept; a file that is missing, torn or another version's is no row."""
    path = home / FILE
    if not path.exists():
        return _no_rows()
    try:
        table = pd.read_parquet(path, page_checksum_verification=True)
    except (OSError, ValueError):
        _LOG.warning("the catalogue is damaged: every file is read again")
        return _no_rows()
    return table if tuple(table.columns) == COLUMNS else _no_rows()


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS))


def _reasons(
    table: pd.DataFrame, lists: PatientLists, register: Register
) -> dict[str, pd.Series[str]]:
    said = unusable(table, lists.max_studies)
    listed = read_lists(lists, known_patients(table), register).reasons(table["patient"])
    reason = table["fault"].astype(object)
    reason = reason.mask((reason == "") & (said != ""), UNUSABLE)
    reason = reason.mask(reason == "", listed)
    reason = reason.mask(reason == "", copy_reasons(table))
    return {"reason": reason, "detail": said.where(reason == UNUSABLE, "")}
