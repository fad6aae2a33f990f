"""Run a released model on one DICOM study and write what it says into a folder.

Nothing leaves the folder: no connection is opened, to a PACS or to anybody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fedrad import durable
from fedrad.clock import Clock, SystemClock, stamp
from fedrad.errors import DataError, SettingsError
from fedrad.progress import Say, counted, silent
from fedrad.released import Released
from site_client.archive.faults import UnusableFileError
from site_client.archive.readers import Answer, Readers
from site_client.limits import Reading
from site_client.predict import page
from site_client.predict.clean import cleaned
from site_client.predict.restore import restored
from site_client.predict.result import ImageResult, Result, write_result
from site_client.predict.saliency import saliency
from site_client.predict.segment import write_segmentation
from site_client.predict.study import Study, Unit, find_study
from site_client.preprocess import prepare_image

if TYPE_CHECKING:
    from torch import nn

DRAWN = 1  # class index of what a segmentation draws
_MODULES = ("site_client.predict.reading", "site_client.images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What was written where."""

    result: Result
    folder: Path
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One unit as read: headers, values as training sees them, where voxels lay."""

    unit: Unit
    headers: list[Dataset]
    values: NDArray[np.float32]
    spacing_mm: tuple[float, ...]
    places: NDArray[np.int32] | None
    frames: tuple[int, ...]

    def slices(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask slice by slice as the headers are, (slices, rows, columns)."""
        if self.places is None:
            return mask[None]
        rows, columns = int(self.headers[0].Rows), int(self.headers[0].Columns)
        flat = np.zeros(mask.size, np.bool_)
        flat[self.places.ravel()] = mask.ravel()
        found = flat.reshape(-1, rows, columns)
        if not self.frames:
            return found
        ordered = np.zeros_like(found)
        ordered[np.array(self.frames) - 1] = found
        return ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a prediction needs besides a study and a model."""

    reading: Reading = field(default_factory=Reading)  # limits of the processes that open files
    clock: Clock = field(default_factory=SystemClock)  # for the time in the result
    say: Say = silent  # told how far the work is


def predict(folder: Path, model: Released, out: Path, means: Means) -> Predicted:
    """Run a model on a study's folder.

    Args:
        folder: DICOM files of one study; read only.
        model: Read and checked.
        out: A new or empty folder.
        means: Limits, clock and listener.

    Raises:
        ArchiveError: ``folder`` is missing.
        DataError: It holds several studies, or no image that could be used.
        SettingsError: ``out`` is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise SettingsError(str(out), ("it is not empty; name a new folder for each prediction",))
    study, network = find_study(folder, model.task), model.network()
    refused = list(study.refused)
    images: list[ImageResult] = []
    pictures: list[page.Shown] = []
    files: list[Path] = []
    seen = _read(study, means.reading, refused)
    for one in counted(seen, means.say, what="predicting", total=len(study.units)):
        number = len(images) + 1
        found, heat = _answer(one, network, model, out=out, number=number)
        images.append(found)
        pictures.append(page.shown(one.values, heat))
        files += [out / found.object] if found.object else []
    if not images:
        raise DataError(f"no image could be used: {', '.join(sorted({w for _, w in refused}))}")
    result = Result(
        study=str(one.headers[0].StudyInstanceUID),
        model=model,
        images=tuple(images),
        refused=tuple(sorted(refused)),
        time=stamp(means.clock),
    )
    durable.write_bytes(out / page.FILE, page.render(result, pictures).encode("utf-8"))
    files += [write_result(out, result), out / page.FILE]
    return Predicted(result=result, folder=out, files=tuple(files))


def _read(study: Study, reading: Reading, refused: list[tuple[str, str]]) -> Iterator[_Seen]:
    with Readers(reading, _MODULES) as readers:
        outcomes = readers.each(unit.request for unit in study.units)
        for unit, outcome in zip(study.units, outcomes, strict=True):
            if isinstance(outcome, UnusableFileError):
                refused += [(file, outcome.reason) for file in unit.files]
            else:
                yield _seen(unit, outcome)


def _seen(unit: Unit, answer: Answer) -> _Seen:
    told: dict[str, Any] = answer.result
    return _Seen(
        unit,
        [Dataset.from_json(header) for header in told["headers"]],
        answer.arrays[0],
        tuple(told["spacing_mm"]),
        answer.arrays[1] if len(answer.arrays) > 1 else None,
        tuple(told.get("frames", ())),
    )


def _answer(
    seen: _Seen, network: nn.Module, model: Released, *, out: Path, number: int
) -> tuple[ImageResult, NDArray[np.float32]]:
    """Return what the model says of one unit, and the map to show over it."""
    task = model.task
    prepared = prepare_image(seen.values, seen.spacing_mm, task)
    with torch.no_grad():
        shares = network(torch.from_numpy(prepared)[None]).softmax(1)[0].numpy()
    if task.task.kind == "classification":
        heat = saliency(network, prepared, task)
        back = restored(heat, seen.values.shape, seen.spacing_mm, task)
        return _result(seen, probability=float(shares[task.positive_index])), back
    share = restored(shares[DRAWN], seen.values.shape, seen.spacing_mm, task)
    mask = cleaned(share > 0.5, task.output)
    name = f"segmentation-{number:03d}.dcm"
    write_segmentation(out / name, seen.headers, seen.slices(mask), model=model, number=number)
    found = _result(
        seen, object=name, pixels=int(mask.sum()), volume_ml=_volume_ml(mask, seen.spacing_mm)
    )
    return found, mask.astype(np.float32)


def _result(seen: _Seen, **found: Any) -> ImageResult:
    uids: Sequence[str] = [str(header.SOPInstanceUID) for header in seen.headers]
    series = str(seen.headers[0].get("SeriesInstanceUID") or "")
    return ImageResult(files=seen.unit.files, series=series, instances=tuple(uids), **found)


def _volume_ml(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> float | None:
    if mask.ndim != 3:
        return None
    return float(mask.sum() * np.prod(spacing_mm) / 1000)
