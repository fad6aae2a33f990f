"""Which code is installed here: one digest over fedrad's own Python files.

A hospital approves software by this digest (``[approval] software``), and both ends name theirs
when a site joins. It covers what fedrad's packages hold and nothing of what they import: the
versions of libraries are ``constraints.txt``'s, an image's are its own digest's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("aggregator", "fedrad", "simulations", "site_client")
IMAGE = "FEDRAD_IMAGE_DIGEST"  # set by the unit that starts a container; absent outside one


def app_digest() -> str:
    """Return the SHA-256 of the installed packages' Python files, 64 hexadecimal digits.

    Each file adds its path from the folder that holds the package, with ``/``, and its
    content, each with its length in front; files are sorted by path. A package that is not
    installed adds nothing, so a coordinator without ``site_client`` has another digest.
    """
    found = hashlib.sha256()
    for name, path in sorted(_files()):
        for part in (name.encode("utf-8"), path.read_bytes()):
            found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def image_digest() -> str:
    """Return the container image's digest as its unit states it; empty outside a container."""
    return os.environ.get(IMAGE, "").removeprefix("sha256:")


def _files() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
            for path in folder.rglob("*.py"):
                yield f"{package}/{path.relative_to(folder).as_posix()}", path
