"""A network as a program of its own: the graph that ``torch.export`` traces, no fedrad in it.

The number of images is free, their size is the recipe's. The file is torch's ``.pt2``: tensors
and JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aggregator.model_out.agreement import Predict, drawn_images
from fedrad import durable
from fedrad.errors import ModelError
from fedrad.task import Task

if TYPE_CHECKING:
    from torch.export import ExportedProgram

INPUT, OUTPUT, FREE = "image", "logits", "images"  # names in the graph


class _Named(nn.Module):
    """The network under the graph's own name for its input."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.network(image)
        return logits


def graph_of(network: nn.Module, task: Task) -> ExportedProgram:
    """Return the program of a network in evaluation mode.

    Raises:
        ModelError: Torch cannot trace it; says why.
    """
    example = torch.from_numpy(drawn_images(task, 2))
    free = {INPUT: {0: torch.export.Dim(FREE, min=1)}}
    try:
        return torch.export.export(_Named(network.eval()), (example,), dynamic_shapes=free)
    except Exception as error:  # noqa: BLE001  # torch raises what it likes while it traces
        why = str(error).splitlines()[:1]
        raise ModelError(
            f"{task.model.name} cannot be traced ({type(error).__name__}: {why}); "
            "model.safetensors with task.toml holds all of it"
        ) from None


def write_graph(path: Path, graph: ExportedProgram) -> None:
    """Write a program as ``.pt2``, durably."""

    def write(new: Path) -> None:
        with new.open("wb") as file:
            torch.export.save(graph, file)

    durable.replace(path, write)


def read_graph(path: Path) -> Predict:
    """Return what a written program predicts with."""
    with path.open("rb") as file:
        module: Any = torch.export.load(file).module()

    def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        with torch.no_grad():
            found: npt.NDArray[np.floating] = module(torch.from_numpy(images)).numpy()
        return found

    return predict
