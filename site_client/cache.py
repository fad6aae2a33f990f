"""Prepared arrays on the site's disk, each under a digest of all that made it.

An array is never changed, only made again under another name: a file is right or absent.
What could not be made leaves its reason under the same name, so that it is not tried at
every start. Deleting the folder costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrad.durable import canonical_json
from site_client.archive.instances import UnusableFileError

FOLDER = "cache"
_ARRAY, _REASON = ".npy", ".reason"


def cached_array(home: Path, key: Any, make: Callable[[], NDArray[Any]]) -> Path:
    """Return the file that holds the array of ``key``, making it if it is absent.

    Args:
        home: The site's folder.
        key: JSON values that decide the array: digests of files, the recipe, versions.
        make: Computes the array.

    Raises:
        UnusableFileError: ``make`` raised it, now or at an earlier call.
    """
    name = hashlib.sha256(canonical_json(key)).hexdigest()
    path = home / FOLDER / name[:2] / f"{name}{_ARRAY}"
    if path.exists():
        return path
    reason = path.with_suffix(_REASON)
    if reason.exists():
        raise UnusableFileError(reason.read_text(encoding="ascii"))
    try:
        array = make()
    except UnusableFileError as error:
        _write(reason, error.reason.encode("ascii"))
        raise
    _write_array(path, array)
    return path


def _write_array(path: Path, array: NDArray[Any]) -> None:
    descriptor, temporary = _temporary(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, array, allow_pickle=False)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = _temporary(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(temporary).replace(path)


def _temporary(path: Path) -> tuple[int, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.mkstemp(dir=path.parent, prefix=".part.")
