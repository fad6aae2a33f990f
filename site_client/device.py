"""Which processor trains: ``[resources] device``, never another one than it says."""

from __future__ import annotations

import torch

from fedrad.errors import SettingsError


def device_of(name: str) -> torch.device:
    """Return the processor that a setting names; a GPU is set to full float32 first.

    Patients' norms and sums are taken by different kernels, and the bound holds only while
    both are exact to float32: TF32 keeps 10 bits of 23 [1].

    Raises:
        SettingsError: It names a GPU that this machine does not have.

    References:
        [1] PyTorch documentation, CUDA semantics, TensorFloat-32 on Ampere and later devices.
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
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    return device
