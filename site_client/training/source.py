"""What training and prediction read: patients one at a time, and stored stem features.

``PatientSource`` is the interface that a site's dataset fulfils. ``FeatureSource`` wraps one
for a network with a fixed stem, so that the stem runs once per image and process.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedrad.errors import ModelError
from fedrad.models.filter_bank import Stemmed
from fedrad.task import Task

Array = npt.NDArray[Any]

CPU = torch.device("cpu")


class Record(Protocol):
    """One patient: K images and the truth about them."""

    @property
    def key(self) -> str:
        """A stable pseudonym; patients are summed in its order."""

    @property
    def images(self) -> Array:
        """Network input, (K, C, [D,] H, W) float32."""

    @property
    def label(self) -> int | None:
        """The class index of the patient, for classification."""

    @property
    def masks(self) -> Array | None:
        """1 where the positive class is, (K, 1, [D,] H, W) uint8, for segmentation."""


class PatientSource(Protocol):
    """The patients of one split at one site, in a fixed order."""

    def __len__(self) -> int:
        """Return the number of patients."""

    def record(self, index: int, /) -> Record:
        """Return patient ``index``, counted from 0."""


@dataclass(frozen=True, slots=True)
class PatientImages:
    """A plain ``Record``: what a stem or an augmentation made of a patient's images."""

    key: str
    images: Array
    label: int | None = None
    masks: Array | None = None


@dataclass(frozen=True, slots=True)
class StemFeatures(PatientImages):
    """A patient whose images are already through ``stem``."""

    stem: nn.Module = field(kw_only=True)


class FeatureSource:
    """A source whose images are already through a fixed stem; kept in memory, float32.

    The stem has no trained parameter, so the features hold for every round of a study. Keep
    one object per split and process. A patient takes K * C * H * W * 4 bytes. Patients that
    come as ``StemFeatures`` are passed on as they are.
    """

    def __init__(self, source: PatientSource, stem: nn.Module) -> None:
        self._source = source
        self._stem = stem
        self._stored: dict[int, StemFeatures] = {}
        self._checked: nn.Module | None = None

    def __len__(self) -> int:
        return len(self._source)

    def record(self, index: int, /) -> StemFeatures:
        """Return patient ``index`` with stem features as images; computed on first use.

        Raises:
            ModelError: The patient's features come from another stem than this one.
        """
        if index not in self._stored:
            self._stored[index] = self._features(self._source.record(index))
        return self._stored[index]

    def _features(self, record: Record) -> StemFeatures:
        if isinstance(record, StemFeatures):
            self._refuse_other(record.stem)
            return record
        with torch.no_grad():
            images = torch.from_numpy(record.images).to(place_of(self._stem))
            features = self._stem(images).cpu().numpy()
        return StemFeatures(record.key, features, record.label, record.masks, stem=self._stem)

    def _refuse_other(self, stem: nn.Module) -> None:
        if stem is self._checked or _same_stem(stem, self._stem):
            self._checked = stem
            return
        raise ModelError("the stored features come from another stem; compute them anew")


def kept_features(module: nn.Module, source: PatientSource, task: Task) -> PatientSource:
    """Return a source to keep between rounds: with stored stem features where that is exact.

    It is not where the network has no fixed stem, or the recipe changes images at random.
    """
    if isinstance(module, Stemmed) and not task.recipe.augment:
        return FeatureSource(source, module.stem)
    return source


def through_stem(module: nn.Module, source: PatientSource) -> tuple[nn.Module, PatientSource]:
    """Return what is left to train or apply, and the source for it.

    For a network with a fixed stem this is its head (the same tensors) and the features of
    ``source``, which may already be features; any other network and source stay as they are.

    Raises:
        ModelError: Features are given to a network without a fixed stem.
    """
    if isinstance(module, Stemmed):
        return module.head, FeatureSource(source, module.stem)
    if len(source) and isinstance(source.record(0), StemFeatures):
        raise ModelError(f"{type(module).__name__} has no fixed stem; give it images")
    return module, source


def _same_stem(left: nn.Module, right: nn.Module) -> bool:
    if left is right:
        return True
    ours, theirs = left.state_dict(), right.state_dict()
    alike = repr(left) == repr(right) and ours.keys() == theirs.keys()
    return alike and all(torch.equal(ours[name], theirs[name]) for name in ours)


def place_of(module: nn.Module) -> torch.device:
    """Return the processor that a network's tensors lie on; without any, the CPU."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors), CPU)


def stack_truth(records: list[Record], place: torch.device = CPU) -> torch.Tensor:
    """Return the truth of every image of ``records`` in turn, int64, on ``place``.

    (N,) class indices when the records have no masks, else (N, [D,] H, W).

    Raises:
        ModelError: A record has neither label nor masks.
    """
    if all(record.masks is not None for record in records):
        masks = np.concatenate([record.masks for record in records if record.masks is not None])
        return torch.from_numpy(masks[:, 0].astype(np.int64)).to(place)
    if any(record.label is None for record in records):
        raise ModelError("a patient has neither label nor masks; training needs one of them")
    labels = [np.full(len(record.images), record.label, dtype=np.int64) for record in records]
    return torch.from_numpy(np.concatenate(labels)).to(place)


def stack_images(records: list[Record], place: torch.device = CPU) -> torch.Tensor:
    """Return the images of ``records`` in turn, (N, C, [D,] H, W) float32, on ``place``."""
    images = np.concatenate([record.images for record in records])
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(place)
