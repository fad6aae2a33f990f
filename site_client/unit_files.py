"""Read the files that become one array, in a worker process: grey values and what was drawn.

Gives back float32 and 0 or 1 on the image's own grid; the recipe is applied by whoever asked,
because it needs torch and a worker has none. Says the digest of every file it used, so that
an array is named by the bytes that it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrad.data_contract import Labels
from fedrad.durable import file_digest
from site_client.archive.faults import UnusableFileError
from site_client.archive.ordinary import refuse_too_many_bytes

Read = Callable[[], tuple[tuple[float, ...], list[NDArray[Any]]]]  # spacing in mm, arrays
Place = tuple[str, int, int, str]  # path below the archive, size, time of change, SHA-256 if known


def read_image_unit(
    folder: str, files: list[Place], truths: list[Place], labels: dict[str, Any]
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read one image and, if there are ``truths``, its mask.

    Args:
        folder: The archive.
        files: One file.
        truths: Files of what was drawn on it; may be empty.
        labels: The task's ``[labels]``.

    Returns:
        ``digests`` of files and truths, and ``spacing_mm`` (empty if unknown) or ``refused``:
        reason and detail. Arrays: float32 (rows, columns), and uint8 of that shape.
    """
    from site_client.images import read_image

    def read() -> tuple[tuple[float, ...], list[NDArray[Any]]]:
        image = read_image(Path(folder, files[0][0]))
        if not truths:
            return image.spacing_mm, [image.pixels]
        from site_client.masks import read_masks

        drawn = read_masks(_paths(folder, truths), [image.uid], Labels(**labels).map)[0]
        return image.spacing_mm, [image.pixels, _fitting(drawn, image.pixels.shape)]

    return _told(folder, [*files, *truths], read)


def read_series_unit(
    folder: str, files: list[Place], truths: list[Place], labels: dict[str, Any]
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read one series and what was drawn on it, as ``read_image_unit``: slices come first."""
    from site_client.volumes import read_volume

    def read() -> tuple[tuple[float, ...], list[NDArray[Any]]]:
        volume = read_volume(_paths(folder, files))
        if not truths:
            return volume.spacing_mm, [volume.voxels]
        from site_client.truth import read_truth

        drawn = read_truth(_paths(folder, truths), volume, Labels(**labels))
        return volume.spacing_mm, [volume.voxels, _fitting(drawn, volume.voxels.shape)]

    return _told(folder, [*files, *truths], read)


def _told(
    folder: str, places: Sequence[Place], read: Read
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    with _unchanged(folder, places):
        digests = {file: known or file_digest(Path(folder, file)) for file, _, _, known in places}
        try:
            spacing_mm, arrays = read()
        except UnusableFileError as error:
            return {"digests": digests, "refused": [error.reason, error.detail]}, []
    return {"digests": digests, "spacing_mm": list(spacing_mm)}, arrays


@contextmanager
def _unchanged(folder: str, places: Sequence[Place]) -> Iterator[None]:
    _refuse_changed(folder, places)
    yield
    _refuse_changed(folder, places)


def _refuse_changed(folder: str, places: Sequence[Place]) -> None:
    for file, size, mtime_ns, _ in places:
        try:
            status = Path(folder, file).stat(follow_symlinks=False)
        except OSError:
            raise UnusableFileError("changing") from None
        if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
            raise UnusableFileError("changing")
        refuse_too_many_bytes(size)


def _paths(folder: str, places: Sequence[Place]) -> list[Path]:
    return [Path(folder, file) for file, *_ in places]


def _fitting(mask: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if mask.shape != shape:
        raise UnusableFileError("mask-other-size")
    return mask
