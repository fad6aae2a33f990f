"""What training and prediction read: patients one at a time, and stored stem features.

``PatientSource`` is the interface that a site's dataset fulfils. ``FeatureSource`` wraps one
for a network with a fixed stem, so that the stem runs once per image and process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedrad.errors import ModelError
from fedrad.models.filter_bank import Stemmed

Array = npt.NDArray[Any]


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


class FeatureSource:
    """A source whose images are already through a fixed stem; kept in memory, float32.

    The stem has no trained parameter, so the features hold for every round of a study. Keep
    one object per split and process. A patient takes K * C * H * W * 4 bytes.
    """

    def __init__(self, source: PatientSource, stem: nn.Module) -> None:
        self._source = source
        self._stored: dict[int, PatientImages] = {}
        self.stem = stem

    def __len__(self) -> int:
        return len(self._source)

    def record(self, index: int, /) -> PatientImages:
        """Return patient ``index`` with stem features as images; computed on first use."""
        if index not in self._stored:
            record = self._source.record(index)
            with torch.no_grad():
                features = self.stem(torch.from_numpy(record.images)).numpy()
            self._stored[index] = PatientImages(record.key, features, record.label, record.masks)
        return self._stored[index]


def through_stem(module: nn.Module, source: PatientSource) -> tuple[nn.Module, PatientSource]:
    """Return what is left to train, and the source to train it on.

    Args:
        module: The whole network.
        source: Images, or the ``FeatureSource`` that the caller keeps between rounds.

    Returns:
        For a network with a fixed stem its head (the same tensors) and features; for any
        other the module and the source unchanged.

    Raises:
        ModelError: The features come from another stem than this network's.
    """
    if not isinstance(module, Stemmed):
        if isinstance(source, FeatureSource):
            raise ModelError(f"{type(module).__name__} has no fixed stem, but is given features")
        return module, source
    if not isinstance(source, FeatureSource):
        return module.head, FeatureSource(source, module.stem)
    if not _same_stem(module.stem, source.stem):
        raise ModelError("the stored features come from another stem; make a new FeatureSource")
    return module.head, source


def _same_stem(left: nn.Module, right: nn.Module) -> bool:
    if left is right:
        return True
    ours, theirs = left.state_dict(), right.state_dict()
    same_text = repr(left) == repr(right) and ours.keys() == theirs.keys()
    return same_text and all(torch.equal(ours[name], theirs[name]) for name in ours)


def stack_truth(records: list[Record]) -> torch.Tensor:
    """Return the truth of every image of ``records`` in turn, int64.

    (N,) class indices when the records have no masks, else (N, [D,] H, W).

    Raises:
        ModelError: A record has neither label nor masks.
    """
    if all(record.masks is not None for record in records):
        masks = np.concatenate([record.masks for record in records if record.masks is not None])
        return torch.from_numpy(masks[:, 0].astype(np.int64))
    if any(record.label is None for record in records):
        raise ModelError("a patient has neither label nor masks; training needs one of them")
    labels = [np.full(len(record.images), record.label, dtype=np.int64) for record in records]
    return torch.from_numpy(np.concatenate(labels))


def stack_images(records: list[Record]) -> torch.Tensor:
    """Return the images of ``records`` in turn, (N, C, [D,] H, W) float32."""
    images = np.concatenate([record.images for record in records])
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
