"""A model as ONNX: ``model.onnx``, one input ``image``, one output ``logits``.

Needs the extra ``onnx``: ``onnx`` and ``onnxscript`` to write it, ``onnxruntime`` to compare it
with the original. Nothing else of fedrad needs them.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aggregator.model_out.agreement import Predict
from aggregator.model_out.graph import FREE, INPUT, OUTPUT
from fedrad import durable
from fedrad.errors import SettingsError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

FILE = "model.onnx"
OPSET = 20
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def refuse_without_extra() -> None:
    """Refuse before any work what cannot be done here.

    Raises:
        SettingsError: A library of the extra is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        line = f"{', '.join(missing)} is not installed: pip install 'fedrad[onnx]'"
        raise SettingsError("--onnx", (line,))


def write_onnx(path: Path, graph: ExportedProgram, metadata: dict[str, str]) -> None:
    """Write a program as ONNX, durably, with ``metadata`` as its properties."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph, dynamo=True, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
            verbose=False,
        )  # fmt: skip
    model: Any = program.model_proto  # type: ignore[union-attr]  # dynamo always returns one
    _name_free_dimension(model)
    for name, text in sorted(metadata.items()):
        model.metadata_props.add(key=name, value=text)
    durable.write_bytes(path, model.SerializeToString())


def read_onnx(path: Path) -> Predict:
    """Return what a written file predicts with, in ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def predict(images: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        found: npt.NDArray[np.floating] = session.run([OUTPUT], {INPUT: images})[0]
        return found

    return predict


def _name_free_dimension(model: Any) -> None:
    """Call the number of images by its name instead of the tracer's."""
    symbol = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for one in value.type.tensor_type.shape.dim:
            if one.dim_param == symbol:
                one.dim_param = FREE
