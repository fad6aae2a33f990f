"""``[deidentify]`` of ``site.toml``: how copies for people are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentify:
    """What is looked for before a copy is written."""

    look_for_text: bool = False  # in the picture itself, with Tesseract; seconds a picture
