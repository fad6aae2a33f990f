"""The cache as one task sees it: where a unit's arrays are, and the recipe that makes them.

Arrays are named by the bytes of their files, the recipe and the version. Why a unit cannot be
used is kept under the same name and the limits of reading: other limits may admit it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrad.errors import RunError
from fedrad.task import Task
from site_client.archive.faults import UnusableFileError
from site_client.cache import (
    FOLDER,
    array_path,
    cached_bytes,
    keep_array,
    refuse_again,
    remember_refusal,
)
from site_client.cohort import Unit
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.limits import Reading
from site_client.preprocess import prepare_image, prepare_mask, recipe_key

Digests = Mapping[str, str]  # file, relative to the archive -> SHA-256, "" if not known


@dataclass(frozen=True, slots=True)
class Made:
    """Where the arrays of one unit are."""

    image: Path
    mask: Path | None


class Shelf:
    """The arrays of one task in one home."""

    def __init__(
        self, home: Path, task: Task, limits: Reading, names: Pseudonyms, *, most_gib: float
    ) -> None:
        """Prepare; the whole cache may take ``most_gib`` GiB."""
        self._home, self._task, self._names = home, task, names
        self._most_gib, self._bytes = most_gib, -1  # counted when an array is first kept
        self._recipe = recipe_key(task)
        self._caps = dataclasses.asdict(dataclasses.replace(limits, workers=1))

    def find(self, unit: Unit, digests: Digests) -> Made | None:
        """Return the arrays of a unit, or ``None`` if they have yet to be made.

        Raises:
            UnusableFileError: It was refused before.
        """
        if not all(digests.get(file) for file in (*unit.files, *unit.truths)):
            return None
        refuse_again(self._refusal(unit, digests))
        made = self._made(unit, digests)
        there = made.image.exists() and (made.mask is None or made.mask.exists())
        return made if there else None

    def keep(
        self, unit: Unit, digests: Digests, spacing_mm: Sequence[float], arrays: Sequence[Any]
    ) -> Made:
        """Apply the recipe to what was read, and keep what comes out.

        Args:
            unit: Whose files were read.
            digests: Of all its files.
            spacing_mm: As for ``prepare_image``.
            arrays: Grey values and, if the unit has truths, 0 or 1 on the same grid.

        Raises:
            UnusableFileError: The recipe refuses the image.
            RunError: The disk refused, or the cache is as large as it may be.
        """
        made = self._made(unit, digests)
        image: NDArray[np.float32] = prepare_image(arrays[0], spacing_mm, self._task)
        self._keep(made.image, image)
        if made.mask:
            self._keep(made.mask, prepare_mask(arrays[1], spacing_mm, self._task))
        return made

    def refuse(self, unit: Unit, digests: Digests, error: UnusableFileError) -> None:
        """Remember why a unit cannot be used; arguments are those of ``keep``."""
        remember_refusal(self._refusal(unit, digests), error)

    def _keep(self, place: Path, array: NDArray[Any]) -> None:
        if self._bytes < 0:
            self._bytes = cached_bytes(self._home)
        if self._bytes + array.nbytes > self._most_gib * 2**30:
            raise RunError(
                f"the cache {self._home / FOLDER} may take [resources] disk_gib = "
                f"{self._most_gib:g} and has no room for another image; raise it in site.toml, or "
                "delete the folder, it fills again with what is used"
            )
        keep_array(place, array)
        self._bytes += array.nbytes

    def _made(self, unit: Unit, digests: Digests) -> Made:
        image = array_path(self._home, self._image_key(unit, digests), self._names)
        if not unit.truths:
            return Made(image, None)
        return Made(image, array_path(self._home, self._mask_key(unit, digests), self._names))

    def _refusal(self, unit: Unit, digests: Digests) -> Path:
        key = self._mask_key(unit, digests) if unit.truths else self._image_key(unit, digests)
        return array_path(self._home, key | {"caps": self._caps}, self._names)

    def _image_key(self, unit: Unit, digests: Digests) -> dict[str, Any]:
        return {**self._recipe, "files": sorted(digests[file] for file in unit.files)}

    def _mask_key(self, unit: Unit, digests: Digests) -> dict[str, Any]:
        truths = sorted(digests[file] for file in unit.truths)
        key = self._image_key(unit, digests)
        return key | {"truths": truths, "classes": self._task.labels.map}
