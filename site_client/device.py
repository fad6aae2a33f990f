"""Which processor trains: ``[resources] device``, never another one than it says."""

from __future__ import annotations

import torch

from fedrad.errors import SettingsError


def device_of(name: str) -> torch.device:
    """Return the processor that a setting names.

    Raises:
        SettingsError: It names a GPU: this machine does not have it, or nothing here uses it.
    """
    if name == "cpu":
        return torch.device("cpu")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(name)
    if (device.index or 0) >= found:
        line = (
            f"device {name!r} is not there: torch {torch.__version__} sees {found} GPUs; "
            "mend the driver, or write device = 'cpu' if the site is to train slowly"
        )
        raise SettingsError("resources", (line,))
    line = f"device {name!r} is there, but this version trains on the CPU: write device = 'cpu'"
    raise SettingsError("resources", (line,))
