"""The processor that site.toml names trains, or nothing does."""

from __future__ import annotations

import pytest
import torch

from fedrad.errors import SettingsError
from site_client.device import device_of


def test_the_cpu_is_always_there() -> None:
    assert device_of("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_missing_is_an_error_and_never_the_cpu(name: str) -> None:
    with pytest.raises(SettingsError, match="is not there: torch .* sees 0 GPUs"):
        device_of(name)
