"""The images of one DICOM study that a task's model may see.

The same gate as in training. A folder that holds two studies is refused: a result belongs to
one patient and one examination.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fedrad.errors import DataError
from fedrad.task import Task
from site_client.archive.readers import Request
from site_client.catalogue import look_at
from site_client.gate import admit
from site_client.predict.reading import IMAGE, SERIES, File

_MEMORY_SHARES = 4  # a series may take so many times the memory of a file


@dataclass(frozen=True, slots=True)
class Unit:
    """What becomes one network input: an image, or the files of a series."""

    files: tuple[str, ...]  # relative to the folder, sorted
    request: Request


@dataclass(frozen=True, slots=True)
class Study:
    """One study's folder, sorted by the gate."""

    folder: Path
    units: tuple[Unit, ...]
    refused: tuple[tuple[str, str], ...]  # file, reason


def find_study(folder: Path, task: Task) -> Study:
    """Return what a model of ``task`` may see of a folder's one study.

    Raises:
        ArchiveError: The folder is missing.
        DataError: It holds several studies, or no image that the task allows.
    """
    folder = folder.absolute()  # reading processes stand elsewhere
    table = look_at(folder)
    admitted = admit(table, task)
    images = admitted.images
    studies = images["study"].nunique()
    if studies > 1:
        raise DataError(f"{folder} holds images of {studies} studies; name a folder with one")
    without = [*_rows(table[table["reason"] != ""]), *_rows(admitted.refused)]
    if images.empty:
        raise DataError(f"no image in {folder} suits the task: {_counts(without)}")
    return Study(folder, tuple(_units(folder, images, task)), tuple(without))


def _units(folder: Path, images: pd.DataFrame, task: Task) -> Iterator[Unit]:
    volumes = task.data.dimensions == 3
    for _, rows in images.groupby("series" if volumes else "file", sort=True):
        listed = rows.sort_values("file")[["file", "bytes", "mtime_ns"]]
        places: list[File] = [
            (str(folder / file), int(size), int(time_ns))
            for file, size, time_ns in listed.itertuples(index=False)
        ]
        request = Request(
            SERIES if volumes else IMAGE,
            {"files": places},
            files=len(places),
            shares=_MEMORY_SHARES if volumes else 1,
        )
        yield Unit(tuple(listed["file"]), request)


def _rows(table: pd.DataFrame) -> list[tuple[str, str]]:
    return [
        (str(file), str(why)) for file, why in table[["file", "reason"]].itertuples(index=False)
    ]


def _counts(refused: list[tuple[str, str]]) -> str:
    counts = pd.Series([why for _, why in refused]).value_counts()
    return ", ".join(f"{number} {why}" for why, number in counts.items()) or "it is empty"
