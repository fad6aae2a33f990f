"""The accepted updates of a round as they lie in files, read one small piece at a time.

All files are opened together and hold the same tensors. Pieces come in the order of the
model's parameters and, within one, of the sites' names: the set of updates fixes whatever
is computed from them. What is computed belongs to the neighbours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fedrad.errors import DamagedStateError, RunError

PIECE = 1 << 18  # values of a piece: 1 MB of float32
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}


@dataclass(frozen=True)
class Place:
    """Where one tensor lies in a safetensors file."""

    offset: int  # bytes from the start of the file
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Piece:
    """A run of values of one tensor."""

    name: str
    start: int
    count: int


class Updates(AbstractContextManager["Updates"]):
    """Open files with the same tensors, one a site, in the order of the names."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Open them.

        Args:
            files: Site name to the safetensors file of its update.

        Raises:
            DamagedStateError: A file is missing, cut short or not safetensors of floats.
            RunError: The files hold different tensors.
        """
        self.sites = tuple(sorted(files))
        with ExitStack() as stack:
            self._files = [_open(files[site], stack) for site in self.sites]
            self._places = [
                _places(files[site], file)
                for site, file in zip(self.sites, self._files, strict=True)
            ]
            self._refuse_different()
            self._stack = stack.pop_all()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close the files."""
        self._stack.close()

    @property
    def tensors(self) -> dict[str, Place]:
        """Every tensor's shape and dtype, in the order of the model."""
        return self._places[0]

    def pieces(self, name: str) -> Iterator[Piece]:
        """Yield the pieces of one tensor."""
        size = int(np.prod(self.tensors[name].shape, dtype=np.int64))
        for start in range(0, size, PIECE):
            yield Piece(name, start, min(PIECE, size - start))

    def read(self, site: int, piece: Piece, into: npt.NDArray[Any]) -> None:
        """Read one site's values of a piece.

        Args:
            site: Its place among ``sites``.
            piece: Which values.
            into: One axis of ``piece.count`` values of the tensor's dtype.

        Raises:
            DamagedStateError: The file ends before.
        """
        place, file = self._places[site][piece.name], self._files[site]
        view = into.view(np.uint8).data
        offset = place.offset + piece.start * place.dtype.itemsize
        if os.preadv(file.fileno(), [view], offset) != view.nbytes:
            raise DamagedStateError(f"{file.name} ends before its tensors do")

    def stacked(self, piece: Piece) -> npt.NDArray[np.float64]:
        """Return all sites' values of a piece: (sites, count), float64."""
        values = np.empty(piece.count, self.tensors[piece.name].dtype)
        rows = np.empty((len(self.sites), piece.count), np.float64)
        for site, row in enumerate(rows):
            self.read(site, piece, values)
            row[:] = values
        return rows

    def _refuse_different(self) -> None:
        first = [(name, place.shape, place.dtype) for name, place in self.tensors.items()]
        for site, other in zip(self.sites, self._places, strict=True):
            if [(name, place.shape, place.dtype) for name, place in other.items()] != first:
                raise RunError(
                    f"the update of site {site!r} holds other tensors than the first one"
                )


def _open(path: Path, stack: ExitStack) -> BinaryIO:
    try:
        return stack.enter_context(path.open("rb", buffering=0))
    except OSError as error:
        raise DamagedStateError(f"{path} cannot be read: {error.strerror}") from None


def _places(path: Path, file: BinaryIO) -> dict[str, Place]:
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


def _place(entry: Mapping[str, Any], base: int) -> Place:
    return Place(
        offset=base + int(entry["data_offsets"][0]),
        shape=tuple(entry["shape"]),
        dtype=_DTYPES[entry["dtype"]],
    )
