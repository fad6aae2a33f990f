"""The weighted mean of updates that lie in files, one small piece in memory at a time.

Files are read in the order of the sites' names, so that the set of replies alone fixes the
bits, whatever the order of arrival. For every piece of every tensor all files are read one
after the other into one buffer that stays in the processor's cache; the sum is kept in
float64 and rounded once. Memory is the result plus the buffers, whatever the number of
files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fedrad.errors import DamagedStateError, RunError
from fedrad.parameters import Parameters

_PIECE = 1 << 18  # values: 1 MB of float32, 2 MB each of float64 sum and product
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}


@dataclass(frozen=True)
class _Place:
    """Where one tensor lies in a safetensors file."""

    offset: int  # bytes from the start of the file
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def weighted_mean(files: Mapping[str, Path], weights: Mapping[str, float]) -> Parameters:
    """Return the sum over sites of weight times update.

    Args:
        files: Site name to the safetensors file of its update; all with the same tensors.
        weights: Site name to its share; the shares of ``files`` sum to 1.

    Returns:
        The mean, with the names, shapes and dtypes of the updates.

    Raises:
        DamagedStateError: A file is missing, cut short or not safetensors of floats.
        RunError: The files hold different tensors, or the shares do not sum to 1.
    """
    sites = sorted(files)
    if abs(sum(weights[site] for site in sites) - 1) > 1e-9:
        raise RunError("the shares of an aggregate must sum to 1")
    with ExitStack() as stack:
        opened = [_open(files[site], stack) for site in sites]
        places = [_places(files[site], file) for site, file in zip(sites, opened, strict=True)]
        _refuse_different(places, sites)
        shares = [weights[site] for site in sites]
        return {name: _fold(name, opened, places, shares) for name in places[0]}


def _open(path: Path, stack: ExitStack) -> BinaryIO:
    try:
        return stack.enter_context(path.open("rb", buffering=0))
    except OSError as error:
        raise DamagedStateError(f"{path} cannot be read: {error.strerror}") from None


def _fold(
    name: str, files: list[BinaryIO], places: list[dict[str, _Place]], shares: list[float]
) -> npt.NDArray[Any]:
    place = places[0][name]
    mean = np.empty(place.shape, place.dtype)
    flat = mean.reshape(-1)
    piece = np.empty(min(_PIECE, max(flat.size, 1)), place.dtype)
    total = np.empty(piece.size, np.float64)
    scratch = np.empty(piece.size, np.float64)
    for start, count in _pieces(flat.size):
        values, product, added = piece[:count], scratch[:count], total[:count]
        added.fill(0)
        for file, where, share in zip(files, places, shares, strict=True):
            _read(file, where[name].offset + start * place.dtype.itemsize, values)
            np.copyto(product, values)  # a cast on its own is faster than one in multiply
            product *= share
            added += product
        flat[start : start + count] = added
    return mean


def _pieces(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, _PIECE):
        yield start, min(_PIECE, size - start)


def _read(file: BinaryIO, offset: int, into: npt.NDArray[Any]) -> None:
    view = into.view(np.uint8).data
    if os.preadv(file.fileno(), [view], offset) != view.nbytes:
        raise DamagedStateError(f"{file.name} ends before its tensors do")


def _places(path: Path, file: BinaryIO) -> dict[str, _Place]:
    """Read the header: 8 bytes of length, then JSON with byte ranges [1].

    References:
        [1] https://github.com/huggingface/safetensors, section "Format".
    """
    try:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError
        header: dict[str, Any] = json.loads(file.read(length))
        order = header.pop("__metadata__", {}).get("order", "").split("\x1f")
        names = order if set(order) == set(header) else sorted(header)
        return {name: _place(header[name], 8 + length) for name in names}
    except (ValueError, KeyError, TypeError):
        raise DamagedStateError(f"{path} is not safetensors of floating-point tensors") from None


def _place(entry: Mapping[str, Any], base: int) -> _Place:
    return _Place(
        offset=base + int(entry["data_offsets"][0]),
        shape=tuple(entry["shape"]),
        dtype=_DTYPES[entry["dtype"]],
    )


def _refuse_different(places: list[dict[str, _Place]], sites: list[str]) -> None:
    first = [(name, place.shape, place.dtype) for name, place in places[0].items()]
    for site, other in zip(sites, places, strict=True):
        if [(name, place.shape, place.dtype) for name, place in other.items()] != first:
            raise RunError(f"the update of site {site!r} holds other tensors than the first one")
