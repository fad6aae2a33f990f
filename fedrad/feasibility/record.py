"""The file that a feasibility record is: under 2 kB of JSON, read as if a stranger wrote it.

Who may write one, and what it costs, is the site's business. The digest finds damage, not a
forger: whoever sends a file can say anything in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrad.durable import canonical_json
from fedrad.errors import DamagedStateError, SettingsError
from fedrad.feasibility.cells import SENSITIVITY, VOCABULARY, layout
from fedrad.privacy.accounting import LEAST_MULTIPLIER
from fedrad.privacy.mechanisms import GRID
from fedrad.protocol.messages import Block
from fedrad.settings import as_table, build, refuse_problems
from fedrad.site_report import FEASIBILITY, deviation
from fedrad.task import Task, task_hash

SCHEMA = 1
MOST_BYTES = 2048
MOST_PATIENTS = 1e7  # of any one site, noise included
MOST_NOISE = 1e4
_MOST_CELLS = 64  # of a block
_MOST_RECORDS = 1000  # of one site for one task
_HASH = re.compile(r"[0-9a-f]{64}")
_SITE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one site tells of its patients for one task; the blocks are those of ``layout``."""

    schema: int = SCHEMA
    record: str = "feasibility"
    site: str
    task_hash: str
    vocabulary: str = VOCABULARY
    number: int  # 1 for the site's first record of this task
    noise: float  # noise multiplier of the three blocks together
    patients: tuple[float, ...]
    vendors: tuple[float, ...]
    views: tuple[float, ...]
    ledger_line: str  # hash of the line that charges it
    fedrad_version: str

    def __post_init__(self) -> None:
        refuse_problems("record", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from self._unknown()
        if not 1 <= self.number <= _MOST_RECORDS:
            yield f"number must lie between 1 and {_MOST_RECORDS}, got {self.number}"
        if not LEAST_MULTIPLIER <= self.noise <= MOST_NOISE:
            yield f"noise must lie between {LEAST_MULTIPLIER} and {MOST_NOISE:g}, got {self.noise}"
        for name in FEASIBILITY:
            yield from _unfit(name, getattr(self, name))

    def _unknown(self) -> Iterator[str]:
        if self.schema != SCHEMA or self.record != "feasibility":
            yield f"it must be a feasibility record of schema {SCHEMA}"
        if self.vocabulary != VOCABULARY:
            yield f"vocabulary must be {VOCABULARY}"
        if not _SITE.fullmatch(self.site):
            yield "site must be letters, digits, - and _, up to 64"
        if not (_HASH.fullmatch(self.task_hash) and _HASH.fullmatch(self.ledger_line)):
            yield "task_hash and ledger_line must be 64 hexadecimal digits"
        if not _VERSION.fullmatch(self.fedrad_version):
            yield "fedrad_version must be a version"

    def blocks(self, task: Task) -> tuple[Block, ...]:
        """Return the noised counts; ``sigma`` is the deviation of the noise on each.

        Raises:
            SettingsError: The record is not one of this task.
        """
        if self.task_hash != task_hash(task):
            said = f"it is a record of the task {self.task_hash[:12]}, not of {task.task.name}"
            raise SettingsError(f"the record of {self.site}", (said,))
        cells = layout(task)
        if any(len(getattr(self, name)) != len(cells[name]) for name in cells):
            raise SettingsError(f"the record of {self.site}", ("it has other cells",))
        return tuple(self._block(name) for name in cells)

    def _block(self, name: str) -> Block:
        exact = Block(
            name=name,
            values=np.asarray(getattr(self, name), dtype=np.float64),
            sigma=0.0,
            sensitivity=SENSITIVITY,
        )
        sigma = deviation(exact, sigma=self.noise, share=FEASIBILITY[name])
        return Block(name=name, values=exact.values, sigma=sigma, sensitivity=SENSITIVITY)


def as_bytes(record: Record) -> bytes:
    """Return the file's content."""
    table = as_table(record)
    return canonical_json(table | {"digest": _digest(table)}) + b"\n"


def read_record(path: Path) -> Record:
    """Read what ``as_bytes`` made.

    Raises:
        DamagedStateError: It cannot be read, is too large or is no such record; says why.
    """
    try:
        with path.open("rb") as file:
            return parse_record(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise DamagedStateError(f"{path} cannot be read: {error.strerror}") from None
    except SettingsError as error:
        raise DamagedStateError(
            f"{path} is no whole feasibility record ({'; '.join(error.problems)}); ask the site "
            "to send it again"
        ) from None


def parse_record(content: bytes) -> Record:
    """Read a record from bytes that anybody may have written.

    Raises:
        SettingsError: Every problem that was found.
    """
    if len(content) > MOST_BYTES:
        raise _refused(f"it is longer than {MOST_BYTES} bytes")
    try:
        table = json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _refused("it is no JSON object") from None
    if not isinstance(table, dict):
        raise _refused("it is no JSON object")
    digest = table.pop("digest", None)
    try:
        record = build(Record, table)
    except OverflowError:
        raise _refused("a number is too large") from None
    if digest != _digest(as_table(record)):
        raise _refused("its digest is not that of its content: it was cut off or changed")
    return record


def _unfit(name: str, values: tuple[float, ...]) -> Iterator[str]:
    if not 1 <= len(values) <= _MOST_CELLS:
        yield f"{name} must have 1 to {_MOST_CELLS} values, got {len(values)}"
    elif any(not abs(value) <= MOST_PATIENTS for value in values):
        yield f"{name} must lie within {MOST_PATIENTS:g} of 0"
    elif any(value % GRID for value in values):
        yield f"{name} must be multiples of {GRID:g}, as everything that is released"


def _digest(table: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(table)).hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key stands twice")
    return table


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _refused(why: str) -> SettingsError:
    return SettingsError("the record", (why,))
