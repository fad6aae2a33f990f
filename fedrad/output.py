"""The ``[output]`` table of a task: what becomes of a prediction before a person sees it.

A task without the table keeps its hash, and its predictions stay as the network made them. Who
applies it is ``site_client.predict``; training and metrics never see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedrad.settings import refuse_problems

MOST_COMPONENTS = 1000
_LONGEST = (16, 16, 64)  # characters of a code value, a coding scheme (SH), a meaning (LO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """``[output]``: clean-up of masks, and the codes that a segment carries."""

    components: int = 0  # the largest so many connected components stay; 0: all
    fill_holes: bool = False  # after that; a hole is background that no border reaches
    category: tuple[str, ...] = ()  # code value, coding scheme, meaning; empty: a region
    type: tuple[str, ...] = ()  # the same; empty: the task's own word for its positive class

    def __post_init__(self) -> None:
        refuse_problems("output", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not 0 <= self.components <= MOST_COMPONENTS:
            yield f"components must lie between 0 and {MOST_COMPONENTS}, got {self.components}"
        for name, code in (("category", self.category), ("type", self.type)):
            if code and not _is_code(code):
                yield (
                    f"{name} must be a code value, a coding scheme and a meaning, such as "
                    f"['39607008', 'SCT', 'Lung'], got {list(code)}"
                )


def _is_code(code: tuple[str, ...]) -> bool:
    if len(code) != len(_LONGEST):
        return False
    pairs = zip(code, _LONGEST, strict=True)
    return all(0 < len(text) <= most and text.isprintable() and "\\" not in text
               for text, most in pairs)  # fmt: skip
