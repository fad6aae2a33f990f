"""A sealed cohort: who is in which split of a study, with which images and which truth, for good.

``fedrad-site freeze`` writes it, every round reads it. One row a file in
``state/frozen/TASK/cohort.parquet``, the digests and what patients are known by beside it in
``seal.json``, which is written last and makes it valid. Identifiers are pseudonyms; the cache
holds the images in their frozen form.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fedrad import durable
from fedrad.errors import DamagedStateError

FOLDER = Path("state", "frozen")
SEAL, COHORT = "seal.json", "cohort.parquet"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file of the cohort, as it was."""

    split: str
    patient: str
    label: int  # class index; -1 without class labels
    unit: str  # what became one array with its other files
    place: int  # of the unit among the patient's
    truth: bool  # whether something was drawn in it on the unit's images
    file: str  # relative to the archive
    digest: str  # SHA-256 of its bytes
    bytes: int
    mtime_ns: int
    image: str  # the unit's arrays, relative to the cache
    mask: str


@dataclass(frozen=True, slots=True)
class Digests:
    """What the seal was put on: SHA-256, or keyed digests of 32 digits."""

    cohort: str  # the sealed files
    catalogue: str  # everything the archive held
    labels: str  # patient -> class
    split_key: str  # keyed: secret, shares and mapping


@dataclass(frozen=True, slots=True)
class Seal:
    """One study's cohort."""

    task_hash: str
    task: str
    time: str
    digests: Digests
    names: dict[str, tuple[str, ...]]  # patient -> pseudonyms of IDs, studies, accessions
    files: tuple[SealedFile, ...]

    def patients(self, split: str) -> tuple[str, ...]:
        """Return the patients of a split, sorted."""
        return tuple(sorted({found.patient for found in self.files if found.split == split}))

    def units(self, split: str) -> dict[str, list[list[SealedFile]]]:
        """Return the files of each unit of each patient of a split, units in order of use."""
        found: dict[str, dict[int, list[SealedFile]]] = {}
        for one in self.files:
            if one.split == split:
                found.setdefault(one.patient, {}).setdefault(one.place, []).append(one)
        return {
            patient: [places[place] for place in sorted(places)]
            for patient, places in sorted(found.items())
        }

    def labels(self, split: str) -> dict[str, int]:
        """Return the class of each patient of a split; empty without class labels."""
        rows = (found for found in self.files if found.split == split and found.label >= 0)
        return {found.patient: found.label for found in rows}


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value's one text."""
    return hashlib.sha256(durable.canonical_json(value)).hexdigest()


def digest_of_files(files: Sequence[SealedFile]) -> str:
    """Return the digest of a cohort: not of when files were last written, nor of the cache."""
    rows = [
        [f.split, f.patient, f.label, f.unit, f.place, f.truth, f.file, f.digest] for f in files
    ]
    return digest_of(sorted(rows))


def write_seal(home: Path, seal: Seal) -> None:
    """Write a seal durably; who calls it has made sure that there is no other."""
    folder = home / FOLDER / seal.task_hash
    buffer = io.BytesIO()
    pd.DataFrame([asdict(found) for found in seal.files]).to_parquet(buffer, index=False)
    durable.write_bytes(folder / COHORT, buffer.getvalue())
    table = {
        "schema": SCHEMA,
        "task_hash": seal.task_hash,
        "task": seal.task,
        "time": seal.time,
        "digests": asdict(seal.digests),
        "names": seal.names,
    }
    durable.write_json(folder / SEAL, table)


def read_seal(home: Path, task_hash: str) -> Seal | None:
    """Read the seal of a task, or ``None`` if its cohort was never sealed.

    Raises:
        DamagedStateError: Its files are incomplete, changed or of another schema.
    """
    folder = home / FOLDER / task_hash
    if not (folder / SEAL).exists():
        return None
    try:
        table = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        rows = pd.read_parquet(folder / COHORT).to_dict("records")
        files = tuple(SealedFile(**{str(key): value for key, value in row.items()}) for row in rows)
        seal = Seal(
            task_hash=str(table["task_hash"]),
            task=str(table["task"]),
            time=str(table["time"]),
            digests=Digests(**table["digests"]),
            names={patient: tuple(known) for patient, known in table["names"].items()},
            files=files,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DamagedStateError(_damaged(folder)) from None
    found = (table["schema"], seal.task_hash, digest_of_files(files))
    if found != (SCHEMA, task_hash, seal.digests.cohort):
        raise DamagedStateError(_damaged(folder))
    return seal


def sealed_tasks(home: Path) -> frozenset[str]:
    """Return the hashes of the tasks whose cohorts are sealed."""
    return frozenset(path.parent.name for path in (home / FOLDER).glob(f"*/{SEAL}"))


def _damaged(folder: Path) -> str:
    return f"the seal {folder} is damaged or was changed; restore the folder from a backup"
