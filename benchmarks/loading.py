"""How much of a U-Net epoch at 128 px is reading data, once the first epoch has filled the cache.

Writes a phantom hospital with lung-like masks, loads its training split as a round would, and
times reading and stacking every patient against an epoch of training, interleaved.
Run: ``python benchmarks/loading.py``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from fedrad import seeds
from fedrad.task import Task
from simulations.hospital import HospitalSpec, write_hospital
from simulations.places import home_of, site_folder
from simulations.premises import open_home
from simulations.scenario import Baselines, Scenario, read_scenario
from site_client.dataset import PatientDataset, load_split
from site_client.training.loop import StepPlan, train_round
from site_client.training.source import stack_images, stack_truth

SITE, BATCH = "Site", 8


def main() -> None:
    """Print one row a repeat and the median share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=3)
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        task, dataset = _dataset(Path(folder), wishes.patients)
        _read_all(dataset)  # the first epoch
        shares = [_share(dataset, task, number) for number in range(wishes.repeats)]
    print(f"median share of loading: {100 * statistics.median(shares):.2f} %")


def _dataset(run: Path, patients: int) -> tuple[Task, PatientDataset]:
    _, task = read_scenario("lungs", ('data.modality="DX"', "labels.map={lesion=1}"))
    spec = HospitalSpec(name=SITE, patients=patients, truth="masks", size=128)
    write_hospital(site_folder(run, SITE), spec, seed=1)
    scenario = Scenario(title="", baselines=Baselines(rates=(0.1, 0.2, 0.3)), hospitals=(spec,))
    open_home(run, SITE, scenario, task, seed=1)
    return task, load_split(home_of(run, SITE), task, "train")


def _share(dataset: PatientDataset, task: Task, number: int) -> float:
    loading_s = _read_all(dataset)
    epoch_s = _train_epoch(dataset, task, number)
    share = loading_s / epoch_s
    print(
        f"{len(dataset)} patients: reading {loading_s * 1e3:.1f} ms, "
        f"epoch {epoch_s:.2f} s, share {100 * share:.2f} %"
    )
    return share


def _read_all(dataset: PatientDataset) -> float:
    start_s = time.perf_counter()
    for first in range(0, len(dataset), BATCH):
        last = min(first + BATCH, len(dataset))
        records = [dataset.record(i) for i in range(first, last)]
        stack_images(list(records)), stack_truth(list(records))
    return time.perf_counter() - start_s


def _train_epoch(dataset: PatientDataset, task: Task, number: int) -> float:
    from fedrad.models.networks import build

    module = build(task, seed=1)
    expected = task.training.expected_batch_patients
    plan = StepPlan(
        q=min(1.0, expected / len(dataset)),
        sigma=0.0,
        steps=max(1, round(len(dataset) / expected)),
        expected_batch_patients=expected,
        max_grad_norm=1.0,
        batches=seeds.stream(1, SITE, number, "batches"),
    )
    start_s = time.perf_counter()
    train_round(module, dataset, task, plan=plan)
    return time.perf_counter() - start_s


if __name__ == "__main__":
    main()
