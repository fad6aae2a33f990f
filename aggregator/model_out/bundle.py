"""A model as a MONAI bundle: a folder that ``python -m monai.bundle run`` loads and runs.

The network is the traced program, so that the bundle needs torch and MONAI and no fedrad; the
recipe is made of MONAI's transforms and one script. It reads grey values as ``.npy`` (in [0, 1],
or Hounsfield units for CT) and no DICOM: what stored values mean is the site's part of fedrad.
"""

from __future__ import annotations

from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aggregator.model_out.graph import write_graph
from fedrad import durable
from fedrad.constants import read_constants
from fedrad.released import About
from fedrad.task import Task

if TYPE_CHECKING:
    from torch.export import ExportedProgram

FOLDER, GRAPH = "monai", "models/model.pt2"
RESEARCH = "RESEARCH - NOT FOR CLINICAL USE"
_SCRIPT = "monai_recipe.py.txt"


def write_bundle(folder: Path, task: Task, about: About, graph: ExportedProgram) -> None:
    """Write a bundle; its files are replaced one by one."""
    write_graph(folder / GRAPH, graph)
    script = resources.files("aggregator") / "templates" / _SCRIPT
    durable.write_bytes(folder / "scripts" / "recipe.py", script.read_bytes())
    durable.write_bytes(folder / "scripts" / "__init__.py", b"")
    durable.write_json(folder / "configs" / "inference.json", inference(task))
    durable.write_json(folder / "configs" / "metadata.json", about_bundle(task, about))
    durable.write_bytes(folder / "docs" / "README.md", _readme(task, about).encode("utf-8"))


def inference(task: Task) -> dict[str, Any]:
    """Return ``configs/inference.json``."""
    classes = list(task.task.classes)
    return {
        "imports": ["$import glob", "$import torch", "$from scripts.recipe import predict"],
        "bundle_root": ".",
        "input": "$@bundle_root + '/input'",
        "output": "$@bundle_root + '/output'",
        "image_spacing_mm": [],
        "files": "$sorted(glob.glob(@input + '/*.npy'))",
        "network_def": f"$torch.export.load(@bundle_root + '/{GRAPH}').module()",
        "preprocessing": {"_target_": "Compose", "transforms": _transforms(task)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': file} for file in @files]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SimpleInferer"},
        "run": [f"$predict(@network_def, @dataloader, @inferer, @files, @output, {classes})"],
    }


def about_bundle(task: Task, about: About) -> dict[str, Any]:
    """Return ``configs/metadata.json`` in the fields that MONAI's bundles have."""
    classes = {str(index): name for index, name in enumerate(task.task.classes)}
    whole = task.task.kind == "classification"
    image = {
        "type": "image",
        "format": "hounsfield" if task.data.modality == "CT" else "grey values in [0, 1]",
        "modality": task.data.modality,
        "num_channels": 1,
        "spatial_shape": list(task.recipe.size),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {"0": "image"},
    }
    answer = image | {
        "type": "probabilities" if whole else "segmentation",
        "format": "probabilities" if whole else "segmentation",
        "num_channels": len(classes),
        "spatial_shape": [] if whole else list(task.recipe.size),
        "value_range": [0, 1],
        "channel_def": classes,
    }
    return {
        "version": f"0.0.{about.round}",
        "changelog": {f"0.0.{about.round}": f"round {about.round} of {about.study}"},
        **{f"{name}_version": metadata.version(package) for name, package in _PACKAGES.items()},
        "required_packages_version": {},
        "name": f"{about.study}: {task.task.name}",
        "task": f"{task.task.kind} of {task.task.positive}",
        "description": f"{RESEARCH}. Trained by fedrad without moving an image.",
        "intended_use": f"{RESEARCH}. See model-card.md.",
        "authors": about.study,
        "copyright": "",
        "data_type": "npy",
        "task_hash": about.task_hash,
        "model_digest": about.model_digest,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": answer}},
    }


_PACKAGES = {"monai": "monai", "pytorch": "torch", "numpy": "numpy"}


def _transforms(task: Task) -> list[dict[str, Any]]:
    keys = {"keys": "image"}
    fit = {"size": list(task.recipe.size), "spacing_mm": list(task.data.spacing_mm)}
    return [
        {"_target_": "LoadImaged", "reader": "NumpyReader", "image_only": True, **keys},
        {"_target_": "EnsureChannelFirstd", "channel_dim": "no_channel", **keys},
        {"_target_": "scripts.recipe.FitToGrid", **fit, "image_spacing_mm": "@image_spacing_mm"},
        *(one | keys for one in _intensity(task)),
        {"_target_": "ResizeWithPadOrCropd", "spatial_size": list(task.recipe.size), **keys},
        {"_target_": "ToTensord", "track_meta": False, **keys},
    ]


def _intensity(task: Task) -> list[dict[str, Any]]:
    values = read_constants(task.recipe.intensity.constants)["values"]
    if task.recipe.intensity.kind == "zscore":
        most = float(values["clip"])
        clip = f"$lambda image: image.clamp({-most}, {most})"
        return [{"_target_": "NormalizeIntensityd"}, {"_target_": "Lambdad", "func": clip}]
    if "center" in values:
        center, width = float(values["center"]), float(values["width"])
        low, high = center - width / 2, center + width / 2
    else:
        low, high = float(values["low"]), float(values["high"])
    scale = {"a_min": low, "a_max": high, "b_min": 0.0, "b_max": 1.0, "clip": True}
    return [{"_target_": "ScaleIntensityRanged", **scale}]


def _readme(task: Task, about: About) -> str:
    spacing = "" if not task.data.spacing_mm else " --image_spacing_mm '[1.0, 1.0]'"
    return (
        f"# {about.study}: {task.task.name}\n\n**{RESEARCH}.**\n\n"
        f"Round {about.round}, model {about.model_digest}, task {about.task_hash}.\n"
        f"Images are `.npy` files of float32, one each. From this folder:\n\n"
        f"    python -m monai.bundle run --config_file configs/inference.json "
        f"--meta_file configs/metadata.json --input IMAGES --output PREDICTIONS{spacing}\n\n"
        f"writes the probabilities of {', '.join(task.task.classes)} for each image.\n"
    )
