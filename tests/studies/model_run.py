"""A run's folder with models in it, written as the coordinator writes one, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tiny_study import tiny_task

from aggregator import checkpoints
from aggregator.model_out.agreement import drawn_images
from aggregator.planning import plan_contract
from aggregator.store import Store
from aggregator.tables import Release, Run, Site
from fedrad.contract import write_contract
from fedrad.models.networks import build
from fedrad.parameters import digest, whole
from fedrad.released import About, seal, write_released
from fedrad.signatures import PrivateKey
from fedrad.task import Task, task_hash, write_task

SITES = ("east", "north", "south")
SEGMENTS = (
    "task.kind=segmentation",
    "labels.source=seg",
    "training.loss=dice_ce",
    "analysis.primary=dice_mean",
)
PIXELS = (*SEGMENTS, "model.name=filter_bank_pixel")


def write_model_run(
    run: Path, task: Task | None = None, *, rounds: int = 2, promoted: Sequence[int] = ()
) -> Path:
    """Write a run whose round ``n`` made the network that seed ``n`` gives; return its folder."""
    task = task or tiny_task()
    contract = plan_contract(task, "tiny-study", dict.fromkeys(SITES, 40))
    write_task(run / "task.toml", task)
    write_contract(run / "contract.json", contract)
    with Store(run / "run.sqlite") as store:
        store.record_run(
            Run(run="1", study="tiny-study", task_hash=task_hash(task), started="2026-11-21",
                seed=1, engine="local", versions_json="{}")
        )  # fmt: skip
        store.record_sites(
            Site(site=site, label=contract.sites[site].label, node_key="", patients_agreed=40,
                 joined="2026-11-21", status="joined")
            for site in SITES
        )  # fmt: skip
        for number in range(1, rounds + 1):
            _write_round(store, run, task, number)
        for number in promoted:
            _promote(store, task, number)
    return run


def write_model_folder(folder: Path, task: Task, key: PrivateKey | None = None) -> Path:
    """Write the network that seed 1 gives as a released model; return its folder."""
    model = whole(trained(task, 1))
    about = About(
        study="tiny-study", task_hash=task_hash(task), round=1, model_digest=digest(model),
        decision="promoted", fedrad="0.1.0",
    )  # fmt: skip
    write_released(folder, task, about, model)
    seal(folder, key)
    return folder


def trained(task: Task, number: int) -> torch.nn.Module:
    """Return the network of a round of ``write_model_run``; half of what it draws is inside."""
    network = build(task, seed=number).eval()
    if task.task.kind == "segmentation":
        with torch.no_grad():
            logits = network(torch.from_numpy(drawn_images(task, 8)))
            *_, last = (tensor for name, tensor in network.named_parameters() if "bias" in name)
            last[-1] -= (logits[:, 1] - logits[:, 0]).median()
    return network


def picture(seed: int = 1, rows: int = 48, columns: int = 40) -> np.ndarray:
    """Stored values of a radiograph with something to see."""
    y, x = np.mgrid[:rows, :columns]
    bumps = 900 * np.exp(-((y - rows / 3) ** 2 + (x - columns / 4) ** 2) / 60)
    bumps += 700 * np.exp(-((y - rows / 2) ** 2 + (x - 3 * columns / 4) ** 2) / 90)
    noise = np.random.default_rng(seed).normal(0, 30, (rows, columns))
    return np.clip(1200 + bumps + noise, 0, 4095).astype(np.uint16)


def voxels(seed: int = 1) -> np.ndarray:
    """Stored values of a CT series, (slices, rows, columns)."""
    rng = np.random.default_rng(seed)
    return rng.integers(-1000, 400, (7, 20, 24)).astype(np.int16)


def _write_round(store: Store, run: Path, task: Task, number: int) -> None:
    model = whole(trained(task, number))
    state = checkpoints.RoundState(
        round=number, committed=number, model_digest=digest(model), accepted={}
    )
    checkpoints.write_round(run, state, model, moments={})
    store.start_round(number)
    for name in ("received", "folded", "committed"):
        store.record_round(number, name)


def _promote(store: Store, task: Task, number: int) -> None:
    row = Release(
        round=number, model_digest=digest(whole(trained(task, number))), decision="promote",
        by="Ada", reasons_json='["no harm shown"]', signature="",
    )  # fmt: skip
    store.record_event("promoted", number, detail={}, also=(row,))
