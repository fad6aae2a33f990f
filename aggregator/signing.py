"""The coordinator's signing key, for what leaves a run."""

from __future__ import annotations

from pathlib import Path

from aggregator.authority import SIGNING_KEY
from aggregator.home import key_path
from fedrad.signatures import PrivateKey, read_key


def key_of(home: Path | None) -> PrivateKey | None:
    """Return the signing key of a coordinator's home; ``None`` without one: a simulation.

    Raises:
        DamagedStateError: The key is missing or cannot be used.
    """
    return None if home is None else read_key(key_path(home, SIGNING_KEY))
