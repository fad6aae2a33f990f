"""Which images and which truth a task asks for: its tables ``[data]`` and ``[labels]``.

Every field is enforced by a site (``site_client.gate``, ``site_client.labels`` and what reads
drawn truth) or refused here. How they fit the rest of a task is checked in ``task``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from fedrad.modalities import IMAGE_STORAGE
from fedrad.settings import refuse_problems

PLANES = ("axial", "coronal", "sagittal")  # of slices
WAYS = "LRAPHF"  # where a radiograph's rows and columns point (PS3.3 C.7.6.1.1.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataContract:
    """``[data]``: which images a site may use."""

    modality: str  # DICOM (0008,0060)
    sop_classes: tuple[str, ...] = ()  # UIDs; empty: those of fedrad.modalities
    dimensions: Literal[2, 3]
    min_rows: int = 32
    min_columns: int = 32
    spacing_mm: tuple[float, ...] = ()  # resample to this; empty: keep, then resize
    views: tuple[str, ...] = ()  # ViewPosition values; empty: any
    orientations: tuple[str, ...] = ()  # PLANES of slices, or LF, ... of radiographs; empty: any
    max_images_per_patient: int = 4

    def __post_init__(self) -> None:
        refuse_problems("data", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.sop_classes and self.modality not in IMAGE_STORAGE:
            known = ", ".join(IMAGE_STORAGE)
            yield f"sop_classes must be named, except for {known}; modality is {self.modality!r}"
        if min(self.min_rows, self.min_columns) < 1:
            sizes = (self.min_rows, self.min_columns)
            yield f"min_rows and min_columns must be 1 or more, got {sizes[0]} and {sizes[1]}"
        if self.max_images_per_patient < 1:
            yield f"max_images_per_patient must be 1 or more, got {self.max_images_per_patient}"
        if self.spacing_mm and len(self.spacing_mm) != self.dimensions:
            yield f"spacing_mm needs {self.dimensions} values, got {list(self.spacing_mm)}"
        if wrong := [way for way in self.orientations if not self._is_way(way)]:
            yield f"orientations must be {', '.join(PLANES)}, or two letters as LF, got {wrong}"
        if any(not spacing > 0 for spacing in self.spacing_mm):
            yield f"spacing_mm must be greater than 0, got {list(self.spacing_mm)}"

    @staticmethod
    def _is_way(text: str) -> bool:
        return text in PLANES or (len(text) == 2 and set(text) <= set(WAYS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """``[labels]``: where the truth comes from and how it is read."""

    source: Literal["csv", "seg", "rtstruct", "nifti"]
    key: Literal["StudyInstanceUID", "AccessionNumber", "SeriesInstanceUID"] = "StudyInstanceUID"
    map: dict[str, int] = field(default_factory=dict)  # text in the file -> class index
    rule: Literal["one", "majority", "any"] = "one"  # several labels of one patient

    def __post_init__(self) -> None:
        refuse_problems("labels", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if any(not text.strip() for text in self.map):
            yield "map must not give a blank label a class: blank is unknown, never negative"
