"""How Flower's private names are looked up: all of them here, none of them silently."""

from __future__ import annotations

import importlib
from typing import Any

from fedrad.errors import RunError

FLOWER_VERSION = "1.41"


def private(module: str, name: str) -> Any:
    """Return ``module.name``, a module too, of Flower or of a library that it brings.

    Raises:
        RunError: There is none: another Flower is installed than the one this code belongs to.
    """
    try:
        found = importlib.import_module(module)
        return getattr(found, name, None) or importlib.import_module(f"{module}.{name}")
    except (ImportError, AttributeError):
        raise RunError(
            f"{module}.{name} is missing: this is not Flower {FLOWER_VERSION}; "
            f"install flwr>={FLOWER_VERSION},<1.42"
        ) from None
