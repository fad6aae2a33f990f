"""Text in the picture is found where it is printed, and not where there is none."""

from __future__ import annotations

import resource
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from fedrad.errors import SettingsError
from site_client.archive.faults import UnusableFileError
from site_client.burned_text import PROGRAM, refuse_without_reader, shows_text
from site_client.export import export

needs_reader = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="missing: tesseract (Debian's tesseract-ocr)"
)


def picture(text: str = "", value: int = 4095) -> Any:
    """A phantom's radiograph of 12 bits, with a line burned into its corner."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:400, :400]
    body = 700 * ((rows - 200) ** 2 + (columns - 200) ** 2 < 120**2)
    stored = (rng.normal(1200, 60, (400, 400)) + body).astype(np.uint16)
    letters = Image.new("L", (400, 400))
    ImageDraw.Draw(letters).text((15, 15), text, 255, font=ImageFont.load_default(20))
    stored[np.asarray(letters) > 127] = value
    return stored


@needs_reader
@pytest.mark.parametrize("value", [4095, 0])
def test_a_name_in_the_corner_is_found(value: int) -> None:
    assert shows_text(picture("SMITH^ANNA 12.04.1951", value))


@needs_reader
def test_a_picture_without_text_passes_and_so_does_a_side_marker() -> None:
    assert not shows_text(picture())
    assert not shows_text(picture("L"))
    assert not shows_text(np.zeros((3, 8, 8), np.uint8))


@needs_reader
def test_where_the_site_asks_for_it_such_an_image_is_not_copied(site: Any, site_toml: str) -> None:
    site.settings(site_toml + "[deidentify]\nlook_for_text = true\n")
    for name, text in (("plain.dcm", ""), ("named.dcm", "SMITH^ANNA 12.04.1951")):
        file = site.image("P1", name, Rows=400, Columns=400)
        file.PixelData = picture(text).tobytes()
        site.add(file, name)
    found = export(site.archive, site.home.parent / "copies", site.home)
    assert (found.written, found.refused) == (1, {"burned-in-text": 1})


@needs_reader
@pytest.mark.parametrize("shape", [(1, 30_000), (2, 60_000), (30_000, 3)])
def test_a_picture_of_one_line_is_not_made_gigabytes(shape: tuple[int, int]) -> None:
    """Enlarged by its shorter side, it would have 24 to 48 million pixels in the longer one."""
    stored = np.random.default_rng(0).integers(0, 4096, shape, np.uint16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(UnusableFileError):
        shows_text(stored)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize("program", ["exit 1", "kill -9 $$", "echo; exec sleep 60"])
def test_a_picture_that_could_not_be_looked_at_is_not_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Stands in for a reader that refuses, crashes or hangs."""
    (tmp_path / PROGRAM).write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / PROGRAM).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("site_client.burned_text._TIMEOUT_S", 0.3)
    with pytest.raises(UnusableFileError, match="text-check-failed"):
        shows_text(picture())


def test_a_reader_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SettingsError, match="tesseract-ocr"):
        refuse_without_reader()
