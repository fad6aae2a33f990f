"""Keep what a PACS sent: ``store/XX/SERIES/INSTANCE.dcm``, every name a keyed digest.

A file is kept if its header says that it belongs to the series that was asked for; its bytes
are those that arrived. Data are synced before names appear, so a crash leaves whole files
or none. The catalogue reads the store like any other folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fedrad import durable
from site_client.archive.facts import Facts
from site_client.archive.faults import UnusableFileError
from site_client.archive.folder import ArchiveFile
from site_client.archive.inbox import Inbox
from site_client.archive.pacs import Series
from site_client.archive.readers import Readers
from site_client.archive.scan import iter_facts
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.limits import Reading

INSTANCE, SERIES, STUDY = "instance", "SeriesInstanceUID", "StudyInstanceUID"  # as the catalogue
NOT_ASKED_FOR = "not-asked-for"
_SUFFIX = ".dcm"
_TAGS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_SYNCS = 8  # at a time: a journal writes them together


@dataclass(slots=True)
class Settled:
    """What became of one inbox."""

    kept: int = 0
    bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by reason
    reasons: dict[Path, str] = field(default_factory=dict)  # of each refused file of the inbox


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of everything that was retrieved."""

    root: Path
    names: Pseudonyms
    reading: Reading  # what reading one header may cost

    def held(self, series: str) -> set[str]:
        """Return the pseudonyms of a series' instances; ``series`` is a pseudonym too."""
        try:
            with os.scandir(self.folder(series)) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return set()
        return {name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)}

    def folder(self, series: str) -> Path:
        """Return where the instances of one series lie."""
        return self.root / series[:2] / series

    def settle(self, series: Series, inbox: Inbox) -> Settled:
        """Move what belongs to ``series`` out of the inbox, durably; delete the rest.

        Raises:
            OSError: The disk refused; every file that was moved before is whole.
            RunError: No process can be started to read files in.
        """
        settled = Settled()
        keep: dict[Path, str] = {}
        for path, told in self._told(inbox):
            try:
                keep[path] = self._name(series, told)
            except UnusableFileError as error:
                settled.refused[error.reason] += 1
                settled.reasons[path] = error.reason
                path.unlink()
        inbox.files.clear()
        settled.kept = len(keep)
        settled.bytes = sum(path.stat().st_size for path in keep)
        self._move(self.names.of(SERIES, series.uid), keep)
        return settled

    def _told(self, inbox: Inbox) -> Iterator[tuple[Path, Facts | UnusableFileError]]:
        """Yield what each file says of itself, read by processes of their own."""
        status = [(path, path.stat()) for path in inbox.files]
        listed = [ArchiveFile(path.name, s.st_size, s.st_mtime_ns) for path, s in status]
        with Readers(self.reading) as readers:
            for file, told in iter_facts(readers, inbox.folder, listed, _TAGS):
                yield inbox.folder / file.file, told

    def _name(self, series: Series, told: Facts | UnusableFileError) -> str:
        if isinstance(told, UnusableFileError):
            raise told
        found = [told.values.get(tag, "") for tag in _TAGS]
        if not found[0] or found[1:] != [series.study, series.uid]:
            raise UnusableFileError(NOT_ASKED_FOR)
        return self.names.of(INSTANCE, found[0])

    def _move(self, series: str, files: Mapping[Path, str]) -> None:
        if not files:
            return
        with ThreadPoolExecutor(_SYNCS) as syncs:
            list(syncs.map(durable.sync_file, files))
        folder = self.folder(series)
        if not folder.exists():
            folder.mkdir(parents=True)
            durable.sync_folder(folder.parent)
            durable.sync_folder(self.root)
        for path, name in files.items():
            path.replace(folder / f"{name}{_SUFFIX}")
        durable.sync_folder(folder)
