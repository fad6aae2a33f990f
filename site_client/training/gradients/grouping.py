"""Say which rows of a batch belong to one patient.

A group is what one bound holds for: the images of a patient, or all augmented copies of
them. Rows of a group stand together, and groups of equal size stand together, so that most
sums over a group are sums over one axis of a reshaped batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring groups with equally many rows."""

    rows: slice
    groups: int
    each: int  # rows of one group

    def split(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the block's part of ``batch`` (N, …) as (groups, each, …)."""
        return batch[self.rows].reshape(self.groups, self.each, *batch.shape[1:])


@dataclass(frozen=True, slots=True)
class Grouping:
    """The number of rows of every group, in the order of the batch."""

    counts: tuple[int, ...]

    @property
    def blocks(self) -> Iterator[Block]:
        """Yield the runs of groups that have equally many rows."""
        start = 0
        for each, run in itertools.groupby(self.counts):
            groups = sum(1 for _ in run)
            yield Block(slice(start, start + groups * each), groups, each)
            start += groups * each

    @property
    def largest(self) -> int:
        """Rows of the largest group."""
        return max(self.counts)

    @property
    def single(self) -> bool:
        """Whether every group has one row."""
        return self.largest == 1

    def sums(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the sum of ``rows`` (N, …) over each group, (G, …)."""
        if self.single:
            return rows
        return self.joined(lambda block: block.split(rows).sum(1))

    def joined(self, part: Callable[[Block], torch.Tensor]) -> torch.Tensor:
        """Return what ``part`` gives for every block, (groups, …) each, as one (G, …)."""
        parts = [part(block) for block in self.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def to_rows(self, values: torch.Tensor) -> torch.Tensor:
        """Return the value of its group (G,) for every row, (N,)."""
        counts = torch.tensor(self.counts).to(values.device)
        return values.repeat_interleave(counts, output_size=sum(self.counts))
