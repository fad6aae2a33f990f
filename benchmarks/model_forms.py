"""Does a model say the same as MONAI bundle and ONNX, on published radiographs?

    python benchmarks/model_forms.py FOLDER [--images 100] [--networks filter_bank_cnn ...]

FOLDER holds images below ``images/``. Networks have fresh weights of seed 1; compared are the
logits of the same prepared images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from aggregator.model_out import bundle, onnx_file
from aggregator.model_out.agreement import agree
from aggregator.model_out.graph import graph_of, read_graph, write_graph
from fedrad.models.networks import NETWORKS, build
from fedrad.task import Task, parse_task
from site_client.preprocess import prepare_image

SIZES = {"filter_bank_cnn": 64, "filter_bank_pixel": 64, "resnet18": 64, "unet": 128}
SIZES |= {"densenet121": 64}


def main() -> None:
    """Print one line for each network and form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--networks", nargs="*", default=list(SIZES), choices=list(SIZES))
    wanted = parser.parse_args()
    files = sorted(path for path in (wanted.folder / "images").rglob("*") if path.is_file())
    chosen = files[:: max(1, len(files) // wanted.images)][: wanted.images]
    grey = [np.asarray(Image.open(path).convert("L"), np.float32) / 255 for path in chosen]
    print(f"{len(grey)} of {len(files)} images, python {sys.version.split()[0]}")
    print("| network | pixels | form | largest difference of a logit | seconds |")
    print("|---|---:|---|---:|---:|")
    for name in wanted.networks:
        _compare(name, grey)


def _compare(name: str, grey: list[np.ndarray]) -> None:
    task = _task(name)
    images = np.stack([prepare_image(one, (), task) for one in grey])
    network = build(task, seed=1).eval()
    begun = time.monotonic()
    graph = graph_of(network, task)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.pt2")
        write_graph(path, graph)
        _say(name, agree("MONAI bundle", network, read_graph(path), images).largest, begun,
             "MONAI bundle")  # fmt: skip
        path, begun = Path(folder, onnx_file.FILE), time.monotonic()
        onnx_file.write_onnx(path, graph, {"use": bundle.RESEARCH})
        _say(name, agree("ONNX", network, onnx_file.read_onnx(path), images).largest, begun,
             "ONNX")  # fmt: skip


def _say(name: str, largest: float, begun: float, form: str) -> None:
    seconds = time.monotonic() - begun
    print(f"| {name} | {SIZES[name]} | {form} | {largest:.1e} | {seconds:.0f} |", flush=True)


def _task(name: str) -> Task:
    segments = NETWORKS[name].kind == "segmentation"
    return parse_task({
        "schema": 1,
        "task": {"name": "forms", "kind": NETWORKS[name].kind, "classes": ["no", "yes"],
                 "positive": "yes"},
        "data": {"modality": "DX", "dimensions": 2},
        "labels": {"source": "seg" if segments else "csv", "key": "AccessionNumber",
                   "map": {"no": 0, "yes": 1}},
        "recipe": {"size": [SIZES[name]] * 2,
                   "intensity": {"kind": "range", "constants": "dx-unit-1"}},
        "model": {"name": name},
        "training": {"steps": 1, "expected_batch_patients": 4,
                     "loss": "dice" if segments else "cross_entropy"},
        "federation": {"rounds": 1},
        "privacy": {"enabled": False},
        "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0]},
        "analysis": {"primary": "auroc"},
    })  # fmt: skip


if __name__ == "__main__":
    main()
