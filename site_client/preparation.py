"""Fill the cache for the patients of one split, and remember what could not be used.

A unit's files are opened only if its array is not in the cache. A unit that cannot be used
goes to quarantine and the patient's next one takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedrad.durable import file_digest
from fedrad.task import Task
from site_client.archive.instances import UnusableFileError
from site_client.cache import cached_array
from site_client.catalogue import write_catalogue, write_quarantine
from site_client.cohort import Cohort, Unit
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.images import Image, read_image
from site_client.masks import read_masks
from site_client.preprocess import prepare_image, prepare_mask, recipe_key
from site_client.volumes import SeriesVolume, read_volume, turn


@dataclass(frozen=True, slots=True)
class PatientFiles:
    """Where the arrays of one patient are."""

    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    units: tuple[str, ...] = ()  # names of the units that they are of, in the same order


class Preparation:
    """Fills the cache for the patients of a split and remembers what could not be used."""

    def __init__(
        self, home: Path, archive: Path, task: Task, catalogue: pd.DataFrame, *, names: Pseudonyms
    ) -> None:
        self._home, self._archive, self._task, self._names = home, archive, task, names
        self._catalogue = catalogue
        self._digests: dict[str, str] = dict(
            zip(catalogue["file"], catalogue["digest"], strict=True)
        )
        self._recipe = recipe_key(task)
        self._refused: list[tuple[str, str, str]] = []
        self._fresh_digests = False

    def patients(self, cohort: Cohort) -> dict[str, PatientFiles]:
        """Return the files of each patient that has at least one usable unit."""
        found = {patient: self._patient(units) for patient, units in cohort.units.items()}
        return {patient: files for patient, files in found.items() if files.images}

    def finish(self, scope: str) -> None:
        """Write what was learned: refused files, and digests for the next time."""
        refused = pd.DataFrame(self._refused, columns=["file", "reason", "detail"])
        write_quarantine(self._home, scope, refused)
        if self._fresh_digests:
            digests = self._catalogue["file"].map(self._digests)
            write_catalogue(self._home, self._catalogue.assign(digest=digests))

    def _patient(self, units: tuple[Unit, ...]) -> PatientFiles:
        images: list[Path] = []
        truths: list[Path] = []
        used: list[str] = []
        for unit in units:
            if len(images) == self._task.data.max_images_per_patient:
                break
            try:
                image, truth = self._unit(unit)
            except UnusableFileError as error:
                self._refused += [(file, error.reason, error.detail) for file in unit.files]
                continue
            images.append(image)
            truths += [truth] if truth else []
            used.append(unit.name)
        return PatientFiles(tuple(images), tuple(truths), tuple(used))

    def _unit(self, unit: Unit) -> tuple[Path, Path | None]:
        kind = _Unit3D if self._task.data.dimensions == 3 else _Unit2D
        source = kind(self._paths(unit.files), self._paths(unit.truths), self._task)
        key = {**self._recipe, "files": self._digests_of(unit.files)}
        image = cached_array(self._home, key, source.image, names=self._names)
        if not unit.truths:
            return image, None
        key |= {"truths": self._digests_of(unit.truths), "classes": self._task.labels.map}
        return image, cached_array(self._home, key, source.mask, names=self._names)

    def _paths(self, files: tuple[str, ...]) -> list[Path]:
        return [self._archive / file for file in files]

    def _digests_of(self, files: tuple[str, ...]) -> list[str]:
        return sorted(self._digest(file) for file in files)

    def _digest(self, file: str) -> str:
        if not self._digests[file]:
            try:
                self._digests[file] = file_digest(self._archive / file)
            except OSError:
                raise UnusableFileError("unreadable") from None
            self._fresh_digests = True
        return self._digests[file]


class _Unit2D:
    """One image and, on its grid, what was drawn on it; the file is read once."""

    def __init__(self, files: list[Path], truths: list[Path], task: Task) -> None:
        self._files, self._truths, self._task = files, truths, task

    def image(self) -> NDArray[np.float32]:
        return prepare_image(self._image.pixels, self._image.spacing_mm, self._task)

    def mask(self) -> NDArray[np.uint8]:
        drawn = read_masks(self._truths, [self._image.uid], self._task.labels.map)[0]
        if drawn.shape != self._image.pixels.shape:
            raise UnusableFileError("mask-other-size")
        return prepare_mask(drawn, self._image.spacing_mm, self._task)

    @cached_property
    def _image(self) -> Image:
        return read_image(self._files[0])


class _Unit3D:
    """One series and what was drawn on it; the files are read once."""

    def __init__(self, files: list[Path], truths: list[Path], task: Task) -> None:
        self._files, self._truths, self._task = files, truths, task

    def image(self) -> NDArray[np.float32]:
        return prepare_image(self._volume.voxels, self._volume.spacing_mm, self._task)

    def mask(self) -> NDArray[np.uint8]:
        drawn = read_masks(self._truths, self._volume.uids, self._task.labels.map)
        if drawn.shape != self._volume.frame.spatial_shape:
            raise UnusableFileError("mask-other-size")
        return prepare_mask(turn(drawn, self._volume), self._volume.spacing_mm, self._task)

    @cached_property
    def _volume(self) -> SeriesVolume:
        return read_volume(self._files)
