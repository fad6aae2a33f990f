"""``[reading]`` of ``site.toml``: what one file may cost before it is set aside.

The defaults admit what a hospital's archive holds on purpose and stop what was made to hurt.
How they are kept belongs to ``archive``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedrad.settings import refuse_problems

MOST_PIXELS = 1 << 28  # of one file, frames and samples included: 512 slices of 724 x 724
_PIXELS_A_SHARE = 20_000_000  # what ``seconds_per_20_megapixels`` is for


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one file may cost, and how many are read at once."""

    workers: int = 2  # processes; no more than this machine's cores help
    seconds: float = 2.0  # processor time of one file, and ...
    seconds_per_20_megapixels: float = 1.0  # ... for each 20 million pixels that it claims
    memory_gib: float = 1.0  # of one file, besides the program itself
    file_mib: float = 1024.0
    inflated_mib: float = 256.0  # of a deflated file, once it is inflated
    pixels: int = MOST_PIXELS  # rows x columns x samples x frames
    frames: int = 16_384
    depth: int = 16  # sequences inside sequences

    def __post_init__(self) -> None:
        refuse_problems("reading", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                yield f"{name} must be greater than 0, got {getattr(self, name)}"
        if self.pixels > MOST_PIXELS:
            yield f"pixels must be at most {MOST_PIXELS}, got {self.pixels}"

    def pixel_seconds(self, pixels: int) -> float:
        """Return the processor time that ``pixels`` claimed pixels add to ``seconds``."""
        return self.seconds_per_20_megapixels * min(pixels, self.pixels) / _PIXELS_A_SHARE
