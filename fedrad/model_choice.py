"""The ``[model]`` table of a task: the network, what it starts from and what of it moves.

Which networks there are belongs to ``models``; the tensors to ``starting_weights``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from fedrad.provenance import SUFFIX, Provenance
from fedrad.settings import refuse_problems

Trained = Literal["all", "norm+last", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """``[model]``: the network by name, its parameters, what it starts from and what moves."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    initial: str = ""  # safetensors, relative to the task file; empty: from the study's seed
    trained: Trained = "all"  # the rest keeps its starting weights: no update, no noise
    provenance: Provenance | None = None  # of ``initial``; read from beside it when absent

    def __post_init__(self) -> None:
        refuse_problems("model", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        path = PurePosixPath(self.initial)
        if path.is_absolute() or ".." in path.parts:
            yield f"initial must be relative to the task file, without .., got {self.initial!r}"
        if self.initial and path.suffix != SUFFIX:
            yield f"initial must be a {SUFFIX} file, got {self.initial!r}"
        if self.initial and self.provenance is None:
            yield f"initial {self.initial!r}: starting weights without provenance are refused"
        if self.provenance is not None and not self.initial:
            yield "provenance describes starting weights; name their file in initial"
        if self.trained != "all" and not self.initial:
            yield (
                f"trained {self.trained!r} would freeze weights that nobody trained; "
                "name starting weights in initial, or train all"
            )

    def start(self) -> str:
        """Return one sentence by which a person can judge what the model starts from."""
        known = self.provenance
        if known is None:
            return "the model starts from random weights of the study's seed"
        parts = {"data": known.data, "licence": known.licence, "privacy": known.privacy}
        told = "; ".join(f"{name}: {text}" for name, text in parts.items() if text)
        return (
            f"the model starts from {self.initial} (SHA-256 {known.digest}), made by "
            f"{known.source}; {told}; trained here: {self.trained}"
        )
