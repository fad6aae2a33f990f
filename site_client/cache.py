"""Prepared arrays on the site's disk, each under a keyed digest of all that made it.

An array is never changed, only made again under another name: a file is right or absent.
What could not be made leaves its reason under the same name, so that it is not tried at
every start. Deleting the folder costs time and nothing else.
"""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrad.durable import canonical_json
from fedrad.errors import RunError
from site_client.archive.faults import UnusableFileError
from site_client.deidentify.pseudonyms import Pseudonyms

FOLDER = "cache"
_ARRAY, _REASON = ".npy", ".reason"


def array_path(home: Path, key: Any, names: Pseudonyms) -> Path:
    """Return where the array of ``key`` is or would be.

    Args:
        home: The site's folder.
        key: JSON values that decide the array: digests of files, the recipe, versions.
        names: The site's pseudonyms: without its secret, nobody who holds a copy of an
            image can tell from a file's name that the site has it too.
    """
    name = names.of("cache", canonical_json(key).decode("utf-8"))
    return home / FOLDER / name[:2] / f"{name}{_ARRAY}"


def cached_bytes(home: Path) -> int:
    """Return what the cache holds, in bytes."""
    found = 0
    for path in (home / FOLDER).glob("*/*"):
        with suppress(FileNotFoundError):  # another program of this site deletes too
            found += path.stat().st_size
    return found


def keep_array(place: Path, array: NDArray[Any]) -> None:
    """Put an array where ``array_path`` says.

    Raises:
        RunError: The disk refused (full, read-only); nothing half-written stays.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    _write(place, buffer.getvalue())


def remember_refusal(place: Path, error: UnusableFileError) -> None:
    """Leave the reason why the array of ``array_path`` cannot be made; errors as above."""
    _write(place.with_suffix(_REASON), f"{error.reason}\n{error.detail}".encode("ascii"))


def refuse_again(place: Path) -> None:
    """Raise what ``remember_refusal`` left, if it left anything.

    Raises:
        UnusableFileError: The array could not be made at an earlier call.
    """
    reason = place.with_suffix(_REASON)
    if reason.exists():
        raise UnusableFileError(*reason.read_text(encoding="ascii").split("\n", 1))


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(
            f"the cache {path.parent.parent} cannot be written: {error.strerror}; free disk "
            "space or delete the folder, it fills again"
        ) from None
