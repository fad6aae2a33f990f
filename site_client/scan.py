"""Bring the rows of a catalogue up to date with a folder: only what changed is read.

A row stays while its file's path, size and time of change do, and everything else that its
meaning depends on. What was read so far is saved from time to time and when the work is
interrupted, so that the next call goes on there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fedrad.progress import Say, counted, silent
from site_client.archive.facts import Facts
from site_client.archive.faults import UnusableFileError
from site_client.archive.folder import ArchiveFile, Listing, list_archive
from site_client.archive.readers import Readers
from site_client.archive.scan import iter_contents, iter_digests, iter_facts
from site_client.limits import Reading
from site_client.patients import Register, register_version
from site_client.rows import COLUMNS, KEYWORDS, Row, as_row

_VERSION = "5"  # raise when a row's meaning changes: every file is then read again
_SAVE_EVERY = 50_000  # files
_PASSING = ("changing", "not-readable")  # faults that may be gone at the next look
_PLACE = ["file", "bytes", "mtime_ns"]
_NONE = "-"  # a content that cannot be had: not asked for again
_INSTANCE = ["patient", "instance"]  # never across patients: one must not push out another's


_Read = Callable[[Readers, Path, Sequence[ArchiveFile]], Iterable[tuple[ArchiveFile, str]]]


class Scan:
    """One folder, the limits of reading it, and who is who in it."""

    def __init__(self, folder: Path, limits: Reading, register: Register) -> None:
        self._folder, self._limits, self._register = folder, limits, register
        caps = sorted(dataclasses.asdict(dataclasses.replace(limits, workers=1)).items())
        self._version = (
            f"{_VERSION}-{register_version(register)}-{register.names.of('caps', repr(caps))}"
        )

    def update(
        self, before: pd.DataFrame, save: Callable[[pd.DataFrame], None], *, say: Say = silent
    ) -> pd.DataFrame:
        """Return one row for each file of the folder, sorted by path.

        Args:
            before: Rows of an earlier call; those that still hold are not read again.
            save: Called with all rows known so far, in the middle of long work.
            say: Told how far long work is.

        Raises:
            ArchiveError: The folder is missing.
            RunError: No process can be started to read files in.
        """
        listing = list_archive(self._folder)
        kept, fresh = self._sort_out(before, listing.files)
        rows: list[Row] = []
        try:
            with Readers(self._limits) as readers:
                told = self._told(readers, fresh, lambda: save(_sorted(kept, rows)))
                for file, facts in counted(told, say, what="reading files", total=len(fresh)):
                    rows.append(self._row(file, facts))  # saved meanwhile
        except BaseException:
            save(_sorted(kept, rows))
            raise
        return _sorted(kept, rows + self._refused(listing))

    def _told(
        self, readers: Readers, fresh: Sequence[ArchiveFile], save: Callable[[], None]
    ) -> Iterator[tuple[ArchiveFile, Facts | UnusableFileError]]:
        for at in range(0, len(fresh), _SAVE_EVERY):
            if at:
                save()
            batch = fresh[at : at + _SAVE_EVERY]
            yield from iter_facts(readers, self._folder, batch, KEYWORDS)

    def compared(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with a digest for each file that shares its instance with another.

        Where those differ, ``content`` says whether the files do once they are decoded.

        Args:
            table: Rows as ``update`` returns them; digests that are known are not taken again.

        Raises:
            RunError: No process can be started to read files in.
        """
        table = self._filled(table, "digest", _shared(table), iter_digests)
        whole = table["digest"] != ""
        return self._filled(table, "content", _differing(table) & whole, iter_contents)

    def _filled(
        self, table: pd.DataFrame, column: str, wanted: pd.Series[bool], read: _Read
    ) -> pd.DataFrame:
        """Return the rows with ``column`` read where it is wanted and empty."""
        missing = table[wanted & (table[column] == "")]
        if missing.empty:
            return table
        files = [ArchiveFile(*place) for place in missing[_PLACE].itertuples(index=False)]
        with Readers(self._limits) as readers:
            found = {file.file: one for file, one in read(readers, self._folder, files)}
        if column == "content":
            found = {file: one or _NONE for file, one in found.items()}
        fresh = missing["file"].map(found)
        known = fresh.reindex(table.index)
        return table.assign(**{column: table[column].mask(known.notna(), known)})

    def _sort_out(
        self, before: pd.DataFrame, files: Sequence[ArchiveFile]
    ) -> tuple[pd.DataFrame, list[ArchiveFile]]:
        listed = pd.DataFrame([dataclasses.astuple(file) for file in files], columns=_PLACE)
        valid = before[(before["version"] == self._version) & ~before["fault"].isin(_PASSING)]
        if listed.empty or valid.empty:
            return before.iloc[:0], list(files)
        known = pd.MultiIndex.from_frame(valid[_PLACE])
        wanted = pd.MultiIndex.from_frame(listed)
        fresh = ~wanted.isin(known)
        return valid[known.isin(wanted)], [
            file for file, new in zip(files, fresh, strict=True) if new
        ]

    def _row(self, file: ArchiveFile, facts: Facts | UnusableFileError) -> Row:
        if isinstance(facts, UnusableFileError):
            return Row(file.file, file.bytes, file.mtime_ns, self._version, fault=facts.reason)
        return as_row(file, facts, self._register, version=self._version)

    def _refused(self, listing: Listing) -> list[Row]:
        return [Row(name, 0, 0, self._version, fault=reason) for name, reason in listing.refused]


def copy_reasons(table: pd.DataFrame) -> pd.Series[str]:
    """Say of each row whether another file of the same patient holds the same instance.

    Args:
        table: Rows of ``Scan.compared``.

    Returns:
        ``duplicate-instance`` for a file that says what an earlier one says, byte by byte or
        once both are decoded; ``instance-conflict`` for every file of an instance whose files
        differ; else empty.
    """
    shared, unlike = _shared(table), _differing(table)
    later = table[shared].duplicated(_INSTANCE)
    reason = pd.Series("", index=table.index, dtype=object)
    reason[later[later].index] = "duplicate-instance"
    decoded = table[unlike].assign(none=~table.loc[unlike, "content"].str.len().gt(1))
    of_one = decoded.groupby(_INSTANCE, sort=False)
    differ = (of_one["content"].transform("nunique") > 1) | of_one["none"].transform("any")
    reason[differ[differ.astype(bool)].index] = "instance-conflict"
    return reason


def _differing(table: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows are of an instance whose files differ, or could not be compared."""
    of_one = table[_shared(table)].groupby(_INSTANCE, sort=False)["digest"]
    found = (of_one.transform("nunique") > 1) | (of_one.transform("min") == "")
    return found.astype(bool).reindex(table.index, fill_value=False)


def _shared(table: pd.DataFrame) -> pd.Series[bool]:
    """Tell which usable rows share patient and instance with another."""
    usable = table.loc[table["fault"] == "", _INSTANCE]
    return usable.duplicated(keep=False).reindex(table.index, fill_value=False).astype(bool)


def _sorted(kept: pd.DataFrame, rows: Iterable[Row]) -> pd.DataFrame:
    fresh = pd.DataFrame([_values(row) for row in rows], columns=list(COLUMNS))
    tables = [table for table in (kept, fresh) if len(table)] or [fresh]
    return pd.concat(tables).sort_values("file", ignore_index=True)


def _values(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in COLUMNS)
