"""Look for text in the picture itself with Tesseract, where ``site.toml`` asks for it.

A reader of printed letters finds what machines and workstations burn in: names, numbers, dates.
It misses handwriting, faint or turned text, and nobody can promise more; a person who looks is
better. What was read is never returned: whether there is a word is all that leaves here. A picture
that could not be looked at is refused, never let through.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrad.errors import SettingsError
from site_client.archive.faults import UnusableFileError, foreign_bytes

UNCHECKED = "text-check-failed"

PROGRAM = "tesseract"
_WORD = re.compile(r"[^\W_]{3}")  # side markers such as L, R and PA are no names
_SURE_GREY, _SURE_END = 75.0, 40.0  # Tesseract's confidence, 0 to 100
_BORDER = 40  # pixels of white: letters at the edge are missed
_SMALLEST = 800  # pixels of the shorter side; smaller pictures are enlarged ...
_LARGEST = 8000  # ... unless the longer side would pass this
_END = 5  # of 255 grey values
_FEWEST = 20  # pixels: fewer make no word
_MOST_FRAMES = 5  # spread evenly: burned-in text stands in every frame
_TIMEOUT_S = 60.0


def refuse_without_reader() -> None:
    """Raise ``SettingsError`` unless Tesseract is installed."""
    if shutil.which(PROGRAM) is None:
        problem = "look_for_text needs Tesseract: apt-get install tesseract-ocr, or leave it out"
        raise SettingsError("[deidentify]", (problem,))


def shows_text(stored: NDArray[Any]) -> bool:
    """Tell whether a word of three letters or digits can be read in a picture.

    Args:
        stored: (rows, columns) or (frames, rows, columns), any grey values.

    Raises:
        UnusableFileError: ``text-check-failed``: nobody knows what the picture shows.
    """
    with foreign_bytes(UNCHECKED):
        frames = stored[None] if stored.ndim == 2 else stored
        chosen = np.unique(np.linspace(0, len(frames) - 1, _MOST_FRAMES).astype(int))
        return any(_reads(*one) for number in chosen for one in _pictures(frames[number]))


def _pictures(frame: NDArray[Any]) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield pictures with dark letters, and how sure a word in each must be.

    The grey image turned over, and both ends of its range: text is burned in there, where tissue
    seldom is.
    """
    low, high = float(frame.min()), float(frame.max())
    if high <= low:
        return
    grey = ((frame.astype(np.float32) - low) * (255 / (high - low))).astype(np.uint8)
    yield 255 - grey, _SURE_GREY
    for end in (grey >= 255 - _END, grey <= _END):
        if _FEWEST <= end.sum() <= end.size // 10:
            yield np.where(end, 0, 255).astype(np.uint8), _SURE_END


def _reads(picture: NDArray[np.uint8], sure: float) -> bool:
    from PIL import Image, ImageOps

    image = Image.fromarray(picture)
    factor = min(-(-_SMALLEST // min(image.size)), _LARGEST // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor))
    buffer = BytesIO()
    image = ImageOps.expand(image, _BORDER, fill=255)
    image.save(buffer, "PNG")
    run = subprocess.run(  # noqa: S603  a fixed program; the picture comes on its input
        [shutil.which(PROGRAM) or PROGRAM, "stdin", "stdout", "--psm", "11", "tsv"],
        input=buffer.getvalue(),
        capture_output=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if run.returncode:
        raise UnusableFileError(UNCHECKED)
    rows = run.stdout.decode("utf-8", "replace").splitlines()[1:]
    return any(_is_word(row.split("\t"), sure) for row in rows)


def _is_word(cells: list[str], sure: float) -> bool:
    if len(cells) < 12:
        return False
    return _WORD.search(cells[11]) is not None and float(cells[10]) >= sure
