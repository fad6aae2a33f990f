"""Where starting weights come from: the JSON that lies beside a safetensors file.

Weights remember what they were trained on, so a study takes none whose source, data and
licence nobody wrote down. The provenance becomes part of the task, hence of its hash; the
tensors themselves belong to ``starting_weights``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrad import durable
from fedrad.errors import SettingsError
from fedrad.settings import as_table, build, refuse_problems

SUFFIX, BESIDE = ".safetensors", ".json"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_REQUIRED = ("source", "data", "licence")
_HINT = "with source, data, licence and digest (the SHA-256 of the file)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of one file of weights: ``[model.provenance]`` of a task."""

    source: str  # who or what made them: a program with its version, or a publication
    data: str  # what they were trained on
    licence: str  # under which they may be used
    digest: str  # SHA-256 of the safetensors file, 64 hexadecimal digits
    privacy: str = ""  # how the people in the data are protected, or why nobody needs it
    training: str = ""  # how they were trained
    validation: str = ""  # how good they were, on what

    def __post_init__(self) -> None:
        refuse_problems("provenance", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for name in _REQUIRED:
            if not getattr(self, name).strip():
                yield f"{name} is empty; weights of unknown {name} are not used"
        if not _DIGEST.fullmatch(self.digest):
            yield f"digest must be the SHA-256 of the file in hexadecimal, got {self.digest!r}"


def provenance_path(weights: Path) -> Path:
    """Return where the provenance of a file of weights lies: beside it, ending ``.json``."""
    return weights.with_suffix(BESIDE)


def read_provenance(weights: Path) -> Provenance:
    """Read the provenance of ``weights`` and check that it describes this very file.

    Raises:
        SettingsError: The file or its provenance is missing, lacks something, or names
            another digest.
    """
    if not weights.is_file():
        raise SettingsError(str(weights), ("the starting weights are not there",))
    found = _read(provenance_path(weights), weights.name)
    digest = durable.file_digest(weights)
    if digest != found.digest:
        raise SettingsError(
            str(weights),
            (f"its SHA-256 is {digest}, its provenance describes {found.digest}: another file",),
        )
    return found


def write_provenance(weights: Path, provenance: Provenance) -> Path:
    """Write the provenance beside ``weights``, durably, and return its path."""
    table = {name: text for name, text in as_table(provenance).items() if text}
    path = provenance_path(weights)
    text = json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False)
    durable.write_bytes(path, f"{text}\n".encode())
    return path


def _read(path: Path, name: str) -> Provenance:
    try:
        table: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = f"starting weights without provenance are refused: write {path.name} beside"
        raise SettingsError(str(path), (f"{problem} {name} {_HINT}",)) from None
    except (OSError, ValueError) as error:
        raise SettingsError(str(path), (f"not readable JSON: {error}",)) from None
    if not isinstance(table, dict):
        raise SettingsError(str(path), (f"must be one JSON object {_HINT}",))
    try:
        return build(Provenance, table)
    except SettingsError as error:
        raise SettingsError(str(path), error.problems) from None
