"""The bytes of one window's release: under 2 kB of JSON, read as if a stranger wrote them.

Values are whole multiples of the public grid of released sums, which keeps them short and
exact. Charging belongs to the site's ledger, and whom to believe to whoever reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

import numpy as np

from fedrad.durable import canonical_json
from fedrad.errors import SettingsError
from fedrad.privacy.accounting import LEAST_MULTIPLIER
from fedrad.privacy.mechanisms import GRID
from fedrad.protocol.messages import Block
from fedrad.settings import as_table, build, refuse_problems
from fedrad.shift.blocks import Layout, sensitivities, sizes
from fedrad.shift.moments import CONSTANTS, KNOWN
from fedrad.shift.tags import VOCABULARY
from fedrad.shift.windows import Released
from fedrad.site_report import (
    BESIDE,
    WINDOW,
    WINDOW_IMAGES,
    WINDOW_LABELS,
    WINDOW_OUTLINES,
    deviation,
    enlarged,
)

SCHEMA = 1
MOST_BYTES = 2048
MOST = 1e7  # of any released value, noise included
MOST_NOISE = 1e4
KINDS: Mapping[str, Mapping[str, float]] = {
    "whole": WINDOW,
    "images": WINDOW_IMAGES,
    "labels": WINDOW_LABELS,
    "outlines": WINDOW_OUTLINES,
}
_HASH = re.compile(r"[0-9a-f]{64}")
_SITE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """What one site tells of one window; ``values`` are multiples of the grid by block."""

    schema: int = SCHEMA
    site: str
    task_hash: str
    model_digest: str
    kind: Literal["whole", "images", "labels", "outlines"]
    first: str  # days of the window, YYYY-MM-DD
    last: str
    constants: str = CONSTANTS
    vocabulary: str = VOCABULARY
    noise: float  # noise multiplier of all blocks together
    values: dict[str, tuple[int, ...]]
    ledger_line: str  # hash of the line that charges it

    def __post_init__(self) -> None:
        refuse_problems("window", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from self._unknown()
        if not LEAST_MULTIPLIER <= self.noise <= MOST_NOISE:
            yield f"noise must lie between {LEAST_MULTIPLIER} and {MOST_NOISE:g}, got {self.noise}"
        if not _in_order(self.first, self.last):
            yield f"first and last must be days in order, got {self.first!r} and {self.last!r}"
        kind = KINDS[self.kind]
        more = {name for name, (beside, _) in BESIDE.items() if beside in kind}
        if set(self.values) - more != set(KINDS[self.kind]):
            yield f"values must be those of {', '.join(KINDS[self.kind])}"
        if any(abs(value) * GRID > MOST for block in self.values.values() for value in block):
            yield f"values must lie within {MOST:g} of 0"

    def _unknown(self) -> Iterator[str]:
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}; this fedrad reads no other"
        if self.constants not in KNOWN or self.vocabulary != VOCABULARY:
            yield f"constants must be {' or '.join(KNOWN)} and vocabulary {VOCABULARY}"
        if not _SITE.fullmatch(self.site):
            yield "site must be letters, digits, - and _, up to 64"
        digests = (self.task_hash, self.model_digest, self.ledger_line)
        if not all(_HASH.fullmatch(digest) for digest in digests):
            yield "task_hash, model_digest and ledger_line must be 64 hexadecimal digits"


def report_of(blocks: tuple[Block, ...]) -> dict[str, tuple[int, ...]]:
    """Return noised blocks as multiples of the grid, by name."""
    return {
        block.name: tuple(int(value) for value in np.rint(block.values / GRID)) for block in blocks
    }


def as_bytes(report: WindowReport) -> bytes:
    """Return the release as it is sent."""
    return canonical_json(as_table(report))


def parse_report(content: bytes) -> WindowReport:
    """Read a release from bytes that anybody may have written.

    Raises:
        SettingsError: Every problem that was found.
    """
    if len(content) > MOST_BYTES:
        raise SettingsError("the window", (f"it is longer than {MOST_BYTES} bytes",))
    try:
        table = json.loads(content, parse_constant=_no_constant)
        if isinstance(table, dict):
            return build(WindowReport, table)
    except (ValueError, RecursionError, OverflowError):
        pass
    raise SettingsError("the window", ("it is no JSON object with numbers",))


def released(report: WindowReport, layout: Layout) -> Released:
    """Return the window's blocks with the noise that their kind and multiplier say.

    Raises:
        SettingsError: Other constants than the task's, or a block has another length than its
            layout says: other edges, tags or another modality.
    """
    if report.constants != layout.scales:
        said = f"constants must be the task's, {layout.scales}, got {report.constants}"
        raise SettingsError(f"the window of {report.site}", (said,))
    lengths = sizes(layout)
    wrong = [name for name, values in report.values.items() if len(values) != lengths[name]]
    if wrong:
        said = f"{', '.join(wrong)} must have {[lengths[name] for name in wrong]} values"
        raise SettingsError(f"the window of {report.site}", (said,))
    shares = _shares(report)
    ordered = (_block(name, report, share, layout) for name, share in shares.items())
    return Released((report.first,), tuple(ordered))


def _shares(report: WindowReport) -> Mapping[str, float]:
    kind = KINDS[report.kind]
    more = {name: share for name, (_, share) in BESIDE.items() if name in report.values}
    return enlarged(kind, more) if more else kind


def _block(name: str, report: WindowReport, share: float, layout: Layout) -> Block:
    values = np.asarray(report.values[name], dtype=np.float64) * GRID
    exact = Block(name=name, values=values, sigma=0.0, sensitivity=sensitivities(layout)[name])
    return replace(exact, sigma=deviation(exact, sigma=report.noise, share=share))


def _in_order(first: str, last: str) -> bool:
    try:
        return date.fromisoformat(first) <= date.fromisoformat(last)
    except ValueError:
        return False


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
