"""Write down every message that leaves a simulated hospital, and look for identifiers in it.

Each message, with its whole content, is counted against the identifiers that were planted
in that hospital's archive, and recorded as one line of ``wire/SITE.jsonl``. With ``keep`` the
bytes themselves stay beside it, so that the count can be repeated on the finished run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrad.errors import DamagedStateError, RunError
from simulations.archives import PLANTED
from simulations.places import site_folder
from simulations.planted import occurrences, read_planted

FOLDER = "wire"


@dataclass(frozen=True, slots=True)
class WireCount:
    """What left one hospital."""

    site: str
    messages: int
    bytes: int
    planted: int  # different identifiers planted in its archive
    found: int  # occurrences of any of them in the bytes


class Wiretap:
    """Counts planted identifiers in one hospital's outgoing messages."""

    def __init__(self, run: Path, site: str, *, keep: bool) -> None:
        self._folder, self._site, self._keep = run / FOLDER, site, keep
        self._values = planted_values(run, site)

    def record(self, name: str, content: bytes) -> None:
        """Record one outgoing message called ``name``, such as ``0003-train``."""
        self._folder.mkdir(exist_ok=True)
        if self._keep:
            folder = self._folder / self._site
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.bin").write_bytes(content)
        line = {
            "message": name,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "found": occurrences(content, self._values),
        }
        with (self._folder / f"{self._site}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def planted_values(run: Path, site: str) -> tuple[str, ...]:
    """Return the identifiers that were planted in one site's archive."""
    rows = read_planted(site_folder(run, site) / PLANTED)
    return tuple(sorted({row.value for row in rows}))


def count(run: Path) -> tuple[WireCount, ...]:
    """Sum the recorded lines of every hospital of a run, in site-name order."""
    return tuple(_count_site(run, path) for path in sorted((run / FOLDER).glob("*.jsonl")))


def recount(run: Path) -> tuple[WireCount, ...]:
    """Read the kept bytes again and count the identifiers anew, in site-name order.

    Raises:
        RunError: No message was recorded there, or the bytes were not kept.
        DamagedStateError: Kept bytes are missing, or are not those that were recorded.
    """
    paths = sorted((run / FOLDER).glob("*.jsonl"))
    if not paths:
        raise RunError(f"{run} is no simulated run in which a message left a hospital")
    return tuple(_recount_site(run, path) for path in paths)


def _recount_site(run: Path, path: Path) -> WireCount:
    folder, values = path.with_suffix(""), planted_values(run, path.stem)
    if not folder.is_dir():
        raise RunError(f"the bytes of {path.stem} were not kept; run with --set keep_wire=true")
    contents = [_kept_bytes(folder, line) for line in _lines(path)]
    hits = sum(occurrences(content, values) for content in contents)
    return WireCount(path.stem, len(contents), sum(map(len, contents)), len(values), hits)


def _kept_bytes(folder: Path, line: dict[str, Any]) -> bytes:
    path = folder / f"{line['message']}.bin"
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != line["sha256"]:
        raise DamagedStateError(f"{path} is missing or differs from what was recorded; run again")
    return content


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _count_site(run: Path, path: Path) -> WireCount:
    lines = _lines(path)
    return WireCount(
        site=path.stem,
        messages=len(lines),
        bytes=sum(line["bytes"] for line in lines),
        planted=len(planted_values(run, path.stem)),
        found=sum(line["found"] for line in lines),
    )
