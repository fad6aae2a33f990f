"""What became of each file of an export, so that the next call goes on: JSON lines in the home.

For the hospital's own eyes: lines name paths of the source. The last line about a file
counts; a line that a crash cut off is left out. What is written belongs to ``export``.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from site_client.archive.folder import ArchiveFile
from site_client.deidentify.pseudonyms import Pseudonyms

FOLDER = Path("state") / "exports"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    file: str  # relative to the source
    bytes: int
    mtime_ns: int
    profile: str
    place: str  # the copy, relative to the target; empty if there is none
    reason: str  # why there is none

    def fits(self, file: ArchiveFile, profile: str) -> bool:
        """Whether the file and the profile are still those of then."""
        return (self.bytes, self.mtime_ns, self.profile) == (file.bytes, file.mtime_ns, profile)


@dataclass(slots=True)
class Record:
    """The outcomes so far."""

    path: Path
    known: dict[str, Outcome]
    places: dict[str, str] = field(default_factory=dict)  # copy -> the file it is of
    file: IO[str] | None = None

    def note(self, outcome: Outcome) -> None:
        """Add one outcome; it is on disk when the process ends, or before."""
        self.known[outcome.file] = outcome
        if outcome.place:
            self.places[outcome.place] = outcome.file
        if self.file is not None:
            self.file.write(json.dumps(asdict(outcome)) + "\n")
            self.file.flush()


@contextmanager
def open_record(home: Path, source: Path, target: Path, names: Pseudonyms) -> Iterator[Record]:
    """Read what is known of an export from ``source`` to ``target``, and go on with it."""
    name = names.of("export", f"{source.resolve()}\x1f{target.resolve()}")
    path = home / FOLDER / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    record = Record(path, {})
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two calls at once would write the same copies
        if path.stat().st_size:
            file.write("\n")  # ends a line that a crash cut off
        for outcome in _read(path):
            record.note(outcome)
        record.file = file
        yield record


def _read(path: Path) -> Iterator[Outcome]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield Outcome(**json.loads(line))
            except (ValueError, TypeError):
                continue
