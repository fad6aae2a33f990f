"""Whether a site's released sums are those that were agreed, and can be sums of patients.

Nothing that a site says of its own noise is believed: sensitivity and noise of each block follow
from task, contract and public shares (``site_report``). All blocks of a release are of the same
patients, so they bound one another: a patient is in one cell of a table, and moves a block by no
more than its sensitivity. What passes may still be a lie, about no more patients than it says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedrad.errors import ProtocolError
from fedrad.protocol.checks import block_sizes, check_sums
from fedrad.protocol.messages import Block
from fedrad.site_report import CLASSIFICATION, SEGMENTATION, deviation
from fedrad.task import Task

SURE = 7.0  # deviations of the noise, beyond which nothing is noise
NUMBERS = frozenset({"n", "seen", "labelled", "labels", "cases"})  # of patients; one a release
SPREAD = frozenset(
    {"operating", "table", "scores", "dice_histogram", "tags", "population", "strata"}
)
"""Blocks over whose cells each patient is spread, as often as the square of their sensitivity."""
SIGNED = frozenset({"moments", "extras", "contents", "dice_change"})  # may lie below 0
_SAME = 1e-6  # relative: two numbers that differ by less are one
_EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Agreed:
    """What is public about one block of a release."""

    length: int
    sensitivity: float  # L2, of one patient
    share: float  # of the release


def check_released(
    blocks: tuple[Block, ...], agreed: Mapping[str, Agreed], *, sigma: float
) -> None:
    """Refuse sums that are not those agreed, or that no patients can have.

    Counts below 0, of more patients than the release says it has, or (of blocks over which every
    patient is spread) of fewer, are refused where they lie ``SURE`` deviations of their noise
    beyond what is possible. A release has fewer than 300 such comparisons, each of which noise
    alone crosses with a chance of 1.3e-12: it refuses fewer than one honest release in 1e9.

    Args:
        blocks: What one site sent.
        agreed: Every block of the release.
        sigma: The release's noise multiplier in the contract; 0: exact sums.

    Raises:
        ProtocolError: Names the block and what is wrong with it.
    """
    check_sums(blocks, {name: one.length for name, one in agreed.items()})
    for block in blocks:
        _check_noise(block, agreed[block.name], sigma)
    number = next(block for block in blocks if block.name in NUMBERS)
    for block in blocks:
        if block.name in SIGNED:
            _check_size(block, number)
        else:
            _check_cells(block, number)


def check_audit(blocks: tuple[Block, ...], task: Task, *, audit_sigma: float) -> None:
    """Refuse the sums of an evaluation that are not the task's and contract's.

    Every block of the task must be there; ``exact`` may be missing.

    Args:
        blocks: What one site sent.
        task: Says which blocks there are and how long each is.
        audit_sigma: The site's noise multiplier in the contract; 0: exact sums.

    Raises:
        ProtocolError: As for ``check_released``.
    """
    sizes = block_sizes(task)
    check_sums(blocks, sizes)
    shares = SEGMENTATION if task.task.kind == "segmentation" else CLASSIFICATION
    agreed = {name: Agreed(sizes[name], 1.0, share) for name, share in shares.items()}
    noised = tuple(block for block in blocks if block.name != _EXACT)
    check_released(noised, agreed, sigma=audit_sigma)


def _check_noise(block: Block, agreed: Agreed, sigma: float) -> None:
    noise = deviation(block, sigma=sigma, share=agreed.share)
    for what, said, wanted in (
        ("sensitivity", block.sensitivity, agreed.sensitivity),
        ("noise", block.sigma, noise),
    ):
        if not math.isclose(said, wanted, rel_tol=_SAME):
            raise ProtocolError(
                f"block {block.name!r} has the {what} {said:.4g}, agreed are {wanted:.4g}"
            )


def _check_cells(block: Block, number: Block) -> None:
    """Refuse counts below 0, and cells that do not add up to the patients they are of."""
    if block.values.min() < -SURE * block.sigma:
        raise ProtocolError(f"block {block.name!r} counts {block.values.min():.4g} patients")
    if block is number:
        return
    cells = block.values.reshape(len(number.values), -1)
    whole = block.name in SPREAD
    times = block.sensitivity**2 if whole else block.sensitivity
    wanted = times * number.values
    room = _room(block.sigma * math.sqrt(cells.shape[1]), times * number.sigma, wanted.max())
    over = cells.sum(axis=1) - wanted
    if over.max() > room or (whole and over.min() < -room):
        raise ProtocolError(
            f"block {block.name!r} adds up to {block.values.sum():.4g}, but {number.name!r} says "
            f"{number.values.sum():.4g} patients"
        )


def _check_size(block: Block, number: Block) -> None:
    """Refuse a sum that is larger than so many patients can make it."""
    most = block.sensitivity * float(number.values.sum())
    room = _room(block.sigma, block.sensitivity * number.sigma, most)
    if abs(block.values).max(initial=0.0) > most + room:
        said = f"{number.values.sum():.4g} patients"
        raise ProtocolError(f"block {block.name!r} holds a value that {said} cannot have")


def _room(noise: float, noise_of_number: float, size: float) -> float:
    return SURE * math.hypot(noise, noise_of_number) + _SAME * (1 + abs(size))
