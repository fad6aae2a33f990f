"""Scanners: what they do to values, and settings they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from fedrad.errors import SettingsError
from simulations.scanners import SCANNERS, Scanner, expose, expose_ct

QUIET = {"noise": 0.0, "blur_px": 0.0}


def test_a_plain_scanner_quantises_and_nothing_else() -> None:
    image = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    stored = expose(image, Scanner(**QUIET), np.random.default_rng(0))
    assert stored.dtype == np.uint16
    assert np.abs(stored / 4095 - image).max() <= 0.5 / 4095 + 1e-6


def test_monochrome1_stores_the_same_image_turned_over() -> None:
    image = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    plain, turned = (
        expose(image, Scanner(photometric=kind, **QUIET), np.random.default_rng(0))
        for kind in ("MONOCHROME2", "MONOCHROME1")
    )
    assert np.abs(plain.astype(int) + turned.astype(int) - 4095).max() <= 1


def test_gain_gamma_and_blur_change_values_as_they_say() -> None:
    image = np.full((16, 16), 0.5, np.float32)
    bent = expose(image, Scanner(gain=0.8, gamma=2.0, **QUIET), np.random.default_rng(0))
    assert bent[0, 0] == round(0.8 * 0.25 * 4095)
    noise = np.random.default_rng(1).random((64, 64), dtype=np.float32)
    sharp, soft = (
        expose(noise, Scanner(noise=0.0, blur_px=b), np.random.default_rng(0)) for b in (0.0, 1.5)
    )
    assert soft.std() < sharp.std() / 3


def test_ct_values_come_back_through_slope_and_intercept() -> None:
    volume = np.random.default_rng(0).uniform(-1000, 1500, (4, 8, 8)).astype(np.float32)
    scanner = Scanner(rescale_slope=2.0, rescale_intercept=-100.0, bits_stored=15, **QUIET)
    stored = expose_ct(volume, scanner, np.random.default_rng(0))
    assert stored.dtype == np.int16
    assert np.abs(stored * 2.0 - 100 - volume).max() <= 1.0 + 1e-3


@pytest.mark.parametrize("name", SCANNERS)
def test_stored_values_fit_the_stored_bits(name: str) -> None:
    scanner = SCANNERS[name]
    image = np.full((8, 8), 2.0, np.float32)
    assert expose(image, scanner, np.random.default_rng(0)).max() < 1 << scanner.bits_stored
    edge = 1 << (scanner.bits_stored - 1)
    stored = expose_ct(image[None] * 9999, scanner, np.random.default_rng(0))
    assert -edge <= stored.min() <= stored.max() < edge


def test_an_impossible_scanner_is_refused_with_every_reason() -> None:
    with pytest.raises(SettingsError, match=r"(?s)gain must.*noise must.*bits_stored must"):
        Scanner(gain=0.0, noise=-1.0, bits_stored=17)
