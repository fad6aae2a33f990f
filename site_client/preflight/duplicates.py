"""The same picture under two names: one image in two patients, or twice in one.

Two UIDs may hold one content: an exam that was sent twice, or one person with two PatientIDs,
who would then be trained on and scored on. Prepared images are compared, so that it does not
matter how the files were compressed: a piece of each first, whole ones only where it is equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fedrad.durable import file_digest
from site_client.dataset import PatientDataset

_PIECE = 1 << 12  # bytes from the middle


@dataclass(frozen=True, slots=True)
class Twins:
    """Images with one content."""

    images: int
    patients: tuple[str, ...]  # pseudonyms, sorted
    splits: tuple[str, ...]  # sorted


@dataclass(frozen=True, slots=True)
class _Image:
    path: Path
    patient: str
    split: str


def find_twins(datasets: Iterable[PatientDataset]) -> tuple[Twins, ...]:
    """Return the groups of images that are equal to the bit once prepared.

    Args:
        datasets: Loaded splits of one task.

    Returns:
        Those of most patients first.
    """
    images = [
        _Image(path, patient, dataset.split)
        for dataset in datasets
        for patient, paths in dataset.images.items()
        for path in paths
    ]
    found = [
        _twins(same)
        for alike in _grouped(images, lambda image: _piece(image.path))
        for same in _grouped(alike, lambda image: file_digest(image.path))
    ]
    return tuple(sorted(found, key=lambda twins: (-len(twins.patients), twins.patients)))


def _grouped(images: Iterable[_Image], key: Callable[[_Image], object]) -> list[list[_Image]]:
    """Return the groups of two or more that have one key."""
    groups: dict[object, list[_Image]] = defaultdict(list)
    for image in images:
        groups[key(image)].append(image)
    return [group for group in groups.values() if len(group) > 1]


def _piece(path: Path) -> tuple[int, bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _PIECE) // 2)
        return size, file.read(_PIECE)


def _twins(images: list[_Image]) -> Twins:
    return Twins(
        len(images),
        tuple(sorted({image.patient for image in images})),
        tuple(sorted({image.split for image in images})),
    )
