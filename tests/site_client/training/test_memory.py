"""Freed memory is kept while a round trains, and given back after it."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

import pytest
import torch

from site_client.training.memory import freed_memory_kept

MIB = 2**20
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="does nothing elsewhere")


def page_faults() -> int:
    """Count the pages that the system clears for four tensors of 64 MiB, one after another."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(16 * MIB).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_tensor_that_was_freed_costs_fewer_pages_again() -> None:
    afresh = page_faults()
    with freed_memory_kept():
        page_faults()
        assert page_faults() < afresh / 2


def test_what_was_kept_is_given_back_at_the_end_and_after_an_error() -> None:
    before = resident()
    with pytest.raises(RuntimeError), freed_memory_kept():  # noqa: PT012 - both are the point
        page_faults()
        assert resident() > before + 50 * MIB
        raise RuntimeError
    assert resident() < before + 20 * MIB
