"""What earlier fetches finished: ``state/fetched.jsonl``, one synced line a series or study.

Nothing but pseudonyms, counts and reason codes. A line that a crash tore is dropped: what it
would have said is asked for again. Whether the files are still there is ``store``'s to say.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedrad import durable
from fedrad.errors import DamagedStateError

FILE = Path("state") / "fetched.jsonl"


@dataclass(slots=True)
class Progress:
    """Finished series and studies by pseudonym; thread-safe."""

    path: Path
    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    studies: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refused(self, series: str) -> dict[str, str]:
        """Return the instances of a series that must not be asked for again, with reasons."""
        found: dict[str, str] = self.series.get(series, {}).get("refused", {})
        return dict(found)

    def is_finished(self, series: str, *, promised: int, held: int) -> bool:
        """Say whether a series needs no question.

        Args:
            series: Its pseudonym.
            promised: How many instances the PACS says it has; 0 if it does not say.
            held: How many lie in the store.
        """
        line = self.series.get(series)
        if line is None or line["promised"] != promised:
            return False
        return bool(held >= line["held"])

    def note_series(
        self, series: str, *, promised: int, held: int, refused: Mapping[str, str]
    ) -> None:
        """Write down that everything of a series that can be had is here."""
        line = {"series": series, "promised": promised, "held": held, "refused": dict(refused)}
        self._append(line)

    def note_study(self, study: str, *, promised: int, query: str, series: list[str]) -> None:
        """Write down that every asked series of a study is finished."""
        self._append({"study": study, "promised": promised, "query": query, "series": series})

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            with self.path.open("ab") as file:
                file.write(durable.canonical_json(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        if "series" in line and "study" not in line:
            self.series[line["series"]] = line
        else:
            self.studies[line["study"]] = line


def read_progress(home: Path) -> Progress:
    """Read what is finished; a torn last line is cut off.

    Raises:
        DamagedStateError: Another line is damaged.
    """
    path = home / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        durable.write_bytes(path, b"")
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        durable.write_bytes(path, whole)
    progress = Progress(path)
    try:
        for line in whole.splitlines():
            progress._take(_checked(json.loads(line)))
    except (ValueError, KeyError, TypeError):
        raise DamagedStateError(
            f"{path} is damaged; remove it: images are kept, and only lists are asked for again"
        ) from None
    return progress


def _checked(line: Any) -> dict[str, Any]:
    if "study" in line:
        return {name: line[name] for name in ("study", "promised", "query", "series")}
    return {name: line[name] for name in ("series", "promised", "held", "refused")}
