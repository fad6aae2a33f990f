"""Prepared arrays on the site's disk, each under a keyed digest of all that made it.

An array is never changed, only made again under another name: a file is right or absent.
What could not be made leaves its reason under the same name, so that it is not tried at
every start. Deleting the folder costs time and nothing else.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrad.durable import canonical_json
from fedrad.errors import RunError
from site_client.archive.instances import UnusableFileError
from site_client.deidentify.pseudonyms import Pseudonyms

FOLDER = "cache"
_ARRAY, _REASON = ".npy", ".reason"


def cached_array(
    home: Path, key: Any, make: Callable[[], NDArray[Any]], *, names: Pseudonyms
) -> Path:
    """Return the file that holds the array of ``key``, making it if it is absent.

    Args:
        home: The site's folder.
        key: JSON values that decide the array: digests of files, the recipe, versions.
        make: Computes the array.
        names: The site's pseudonyms: without its secret, nobody who holds a copy of an
            image can tell from a file's name that the site has it too.

    Raises:
        UnusableFileError: ``make`` raised it, now or at an earlier call.
        RunError: The disk refused (full, read-only); nothing half-written stays.
    """
    name = names.of("cache", canonical_json(key).decode("utf-8"))
    path = home / FOLDER / name[:2] / f"{name}{_ARRAY}"
    if path.exists():
        return path
    reason = path.with_suffix(_REASON)
    if reason.exists():
        raise UnusableFileError(*reason.read_text(encoding="ascii").split("\n", 1))
    try:
        array = make()
    except UnusableFileError as error:
        _write(reason, f"{error.reason}\n{error.detail}".encode("ascii"))
        raise
    _write(path, _npy(array))
    return path


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


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
