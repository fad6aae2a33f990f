"""Which updates a round folds: what its rows recorded, as far as the files agree.

An update of the round itself, or one of an earlier round that came late and is carried. A site
counts once, and its update of the round itself goes first. Rows never change, so the answer
is the same today and after a restart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from aggregator import checkpoints
from aggregator.store import Store
from fedrad import parameters as tensors
from fedrad.errors import DamagedStateError

LATE = "late"  # phase of the row of a reply that came after its own round was closed


def fresh(store: Store, number: int) -> dict[str, str]:
    """Return the updates of a round that it accepted: site to digest."""
    return _done(store, number, "train")


def carried(store: Store, number: int) -> dict[str, str]:
    """Return the updates of earlier rounds that a round folds: site to digest."""
    own = fresh(store, number)
    late = _done(store, number, LATE)
    return {site: digest for site, digest in late.items() if site not in own}


def readable(
    run: Path, number: int, wanted: dict[str, str], *, late: Collection[str] = ()
) -> dict[str, str]:
    """Return those of ``wanted`` whose files are still what they were."""
    files = paths(run, number, wanted, late=late)
    return {site: digest for site, digest in wanted.items() if _on_disk(files[site]) == digest}


def paths(
    run: Path, number: int, sites: Iterable[str], *, late: Collection[str] = ()
) -> dict[str, Path]:
    """Return where a round keeps each site's update; ``late`` are those of earlier rounds."""
    return {
        site: (checkpoints.late_path if site in late else checkpoints.reply_path)(run, number, site)
        for site in sites
    }


def _done(store: Store, number: int, phase: str) -> dict[str, str]:
    rows = store.rows("replies", round=number, phase=phase, outcome="done")
    return {row["site"]: row["update_digest"] for row in rows}


def _on_disk(path: Path) -> str:
    try:
        return tensors.digest(tensors.read_safetensors(path))
    except DamagedStateError:
        return ""
