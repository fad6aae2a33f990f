"""Which runs a dashboard shows: those of a coordinator's home, or folders of simulated ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aggregator.decisions import Place
from aggregator.home import AUDIT
from aggregator.run_folder import DATABASE
from aggregator.studies import run_folder, study_names
from fedrad.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Places:
    """Where runs are looked for, anew at every request."""

    home: Path | None = None
    folders: tuple[Path, ...] = ()

    def runs(self) -> dict[str, Place]:
        """Return the runs that recorded something, the one written last first.

        A name that two folders share gets a number.
        """
        found: dict[str, Place] = {}
        for place in sorted(self._all(), key=_written, reverse=True):
            name, number = place.folder.name, 2
            while name in found:
                name, number = f"{place.folder.name} {number}", number + 1
            found[name] = place
        return found

    def _all(self) -> list[Place]:
        if self.home is None:
            return [Place(folder=one, audit=one / "messages.jsonl") for one in self.folders]
        home, names = self.home, study_names(self.home)
        every = [Place(folder=run_folder(home, name), audit=home / AUDIT) for name in names]
        return [place for place in every if (place.folder / DATABASE).is_file()]


def places(home: Path | None, folders: Sequence[Path]) -> Places:
    """Return where to look.

    Raises:
        SettingsError: Both or neither are given, or a folder holds no run.
    """
    if (home is None) == (not folders):
        line = "name either a coordinator's home or, of simulations, their folders"
        raise SettingsError("--home and --run", (line,))
    for folder in folders:
        if not (folder / DATABASE).is_file():
            raise SettingsError(str(folder), (f"no {DATABASE} in it: no run was written here",))
    return Places(
        home=home.absolute() if home else None,
        folders=tuple(folder.absolute() for folder in folders),
    )


def stamp(folder: Path) -> tuple[tuple[int, int], ...]:
    """Return what differs after a run's records were written."""
    return tuple(
        (at.st_mtime_ns, at.st_size)
        for path in (folder / DATABASE, folder / f"{DATABASE}-wal", folder / "contract.json")
        if (at := _stat(path)) is not None and at.st_size  # reading makes an empty -wal
    )


def _written(place: Place) -> int:
    return max(time for time, _ in stamp(place.folder))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
