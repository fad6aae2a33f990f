"""Pixels are written as numbers, and nothing beside them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest

from site_client.deidentify.pixels import put_pixels, unsuited

canaries = pytest.importorskip("identifier_canaries")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5)])
def test_pixels_come_back_as_they_were(dtype: Any, shape: tuple[int, ...]) -> None:
    instance = described(dtype, shape)
    stored = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    assert unsuited(instance, stored) == ""
    put_pixels(instance, stored)
    assert np.array_equal(read_back(instance).pixel_array, stored)


def test_a_mask_of_single_bits_stays_one() -> None:
    instance = described(np.uint8, (3, 5, 7))
    instance.BitsAllocated = instance.BitsStored = 1
    instance.HighBit = 0
    stored = np.random.default_rng(0).integers(0, 2, (3, 5, 7)).astype(np.uint8)
    assert unsuited(instance, stored) == ""
    put_pixels(instance, stored)
    assert len(instance.PixelData) == 14
    assert np.array_equal(read_back(instance).pixel_array, stored)


def test_bits_that_are_not_stored_ones_are_found() -> None:
    instance = described(np.uint16, (4, 4))
    instance.BitsStored = 12
    stored = np.zeros((4, 4), np.uint16)
    assert unsuited(instance, stored) == ""
    stored[1, 1] = 1 << 12  # one pixel of an old overlay
    assert unsuited(instance, stored) == "hidden-bits"


def test_signed_words_may_be_negative_within_their_bits() -> None:
    instance = described(np.int16, (4, 4))
    instance.BitsStored = 12
    assert unsuited(instance, np.full((4, 4), -2048, np.int16)) == ""
    assert unsuited(instance, np.full((4, 4), -2049, np.int16)) == "hidden-bits"


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (np.zeros((4, 5), np.uint16), "pixels-unreadable"),
        (np.zeros((4, 4), np.float32), "pixels-unreadable"),
        (np.zeros((2, 4, 4), np.uint16), "pixels-unreadable"),
    ],
)
def test_pixels_that_do_not_fit_the_header_are_refused(stored: Any, reason: str) -> None:
    assert unsuited(described(np.uint16, (4, 4)), stored) == reason


def test_colour_is_refused() -> None:
    instance = described(np.uint8, (4, 4))
    instance.PhotometricInterpretation = "RGB"
    assert unsuited(instance, np.zeros((4, 4), np.uint8)) == "colour"


def described(dtype: Any, shape: tuple[int, ...]) -> Any:
    instance = canaries.plain_ct()
    bits = np.dtype(dtype).itemsize * 8
    instance.Rows, instance.Columns = shape[-2:]
    instance.NumberOfFrames = shape[0] if len(shape) == 3 else 1
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = bits, bits, bits - 1
    instance.PixelRepresentation = int(np.dtype(dtype).kind == "i")
    return instance


def read_back(instance: Any) -> Any:
    buffer = BytesIO()
    instance.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)
