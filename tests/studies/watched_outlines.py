"""A tiny study of outlines with windows: one hospital whose patients have masks of their lungs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from tiny_study import SEED, TinyStudy, tiny_scenario
from watched_study import MONTHS, SHARES

from aggregator.planning import plan_contract
from fedrad.task import Task, parse_task
from simulations import overrides, premises
from simulations.hospital import HospitalSpec, write_hospital
from simulations.periods import Monitored
from simulations.places import site_folder
from simulations.scenario import Limits

BASE = """
schema = 1
[task]
name = "tiny-lungs"
kind = "segmentation"
classes = ["background", "lung"]
positive = "lung"
[labels]
source = "seg"
map = { lung = 1 }
[rest]
data = { modality = "DX", dimensions = 2 }
recipe = { size = [32, 32], intensity = { kind = "range", constants = "dx-unit-1" } }
model = { name = "unet", parameters = { channels = [4, 8, 8] } }
training = { steps = 2, expected_batch_patients = 8, loss = "dice_ce" }
federation = { rounds = 2, deadline_s = 60 }
privacy = { enabled = true, epsilon = 8.0, noise_multiplier = 1.5, delta = 1e-3 }
evaluation = { metrics = ["dice_mean"], edges = [0.0, 0.2, 0.5, 0.6, 0.8, 1.0], every_rounds = 2 }
analysis = { primary = "dice_mean" }
monitoring = { begins = "2024-01-01", days = 31, windows = 6 }
"""


def outlines_task(*settings: str) -> Task:
    """Return the task, changed by ``key=value`` settings."""
    table = tomllib.loads(BASE)
    table |= table.pop("rest")
    overrides.apply(table, {}, settings, known=[])
    return parse_task(table)


def watched_outlines(
    run: Path, *settings: str, kind: Literal["radiograph", "ct"] = "radiograph"
) -> TinyStudy:
    """Write one hospital of 40 patients and three months of 12, and sign the study there.

    Of CT it has volumes of eight slices with lesions, of radiographs masks of lungs.
    """
    task = outlines_task(*settings)
    spec = HospitalSpec(
        name="east", patients=40, size=64, year=2023, periods=MONTHS, truth="masks",
        structure="lung" if kind == "radiograph" else "lesion", kind=kind, slices=8,
    )  # fmt: skip
    limits = {"east": Limits(epsilon_limit=50.0, min_patients=1)}
    scenario = tiny_scenario(hospitals=(spec,), splits=SHARES, limits=limits)
    monitored = Monitored(premises.split_key_of("east", SEED), SHARES)
    write_hospital(site_folder(run, "east"), spec, seed=SEED, monitored=monitored)
    premises.open_home(run, "east", scenario, task, seed=SEED)
    contract = plan_contract(task, "tiny-study", {"east": 20})
    premises.sign(run, task, contract)
    return TinyStudy(run, task, contract)
