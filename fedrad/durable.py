"""Write files so that a crash leaves the old content or the new, never a mixture.

Temporary file in the same folder, fsync, rename, fsync of the folder. Manifests are
SHA-256 of each file's bytes. What the files hold belongs to the callers.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from fedrad.errors import DamagedStateError

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` with ``content`` durably; its folder is made if absent.

    Raises:
        OSError: The disk refused (full, read-only); the old file is untouched.
    """
    replace(path, lambda new: _write(new, content))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Replace ``path`` durably with the file that ``write`` fills, which exists and is empty.

    For content that is too large to be in memory twice; otherwise as ``write_bytes``.

    Raises:
        OSError: The disk refused (full, read-only); the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    try:
        write(Path(name))
        sync_file(Path(name))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as canonical JSON (sorted keys), durably."""
    write_bytes(path, canonical_json(value) + b"\n")


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of ``value``: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Make what was written to a file durable, whoever wrote it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Record the digests of ``names`` inside ``folder``, as its last written file."""
    write_json(folder / MANIFEST, {name: file_digest(folder / name) for name in sorted(names)})


def verify_manifest(folder: Path, only: Collection[str] | None = None) -> tuple[str, ...]:
    """Check the files that the folder's manifest names; return all the names.

    Args:
        folder: Where the manifest is.
        only: Check no others than these, as far as the manifest has them; absent: check all.

    Raises:
        DamagedStateError: The manifest or a file is missing or differs.
    """
    try:
        wanted = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DamagedStateError(f"{folder / MANIFEST} is missing or unreadable") from None
    for name in wanted if only is None else wanted.keys() & only:
        path = folder / name
        if not path.is_file() or file_digest(path) != wanted[name]:
            raise DamagedStateError(f"{path} is missing or differs from its manifest")
    return tuple(wanted)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
