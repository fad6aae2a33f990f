"""A site's own view of a study before it says yes: ``fedrad-site plan``.

Patients are counted in the site's archive and shown as a contract would: agreed numbers,
never exact ones. The private step is measured on this machine with made-up patients; no
image and no ledger line is touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fedrad.contract import agreed_patients
from fedrad.models.networks import build
from fedrad.planning import forecast, noise, wording
from fedrad.planning.effort import Probe, measured, on_threads
from fedrad.planning.forecast import Cohort, Forecast, Measured, Wishes
from fedrad.planning.outcomes import read_outcomes
from fedrad.planning.traffic import traffic
from fedrad.privacy.mechanisms import noise_source
from fedrad.task import Task, read_task
from site_client import home as site_home
from site_client.allowance import Allowance, as_lines, read_allowance
from site_client.augmentation import augmenter
from site_client.catalogue import update_catalogue
from site_client.cohort import assemble
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.patients import Split
from site_client.settings import SiteSettings, read_site
from site_client.training.loop import StepPlan, train_round
from site_client.training.source import PatientImages, Record, kept_features


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """What the study would cost and reach here, and what this site would allow of it."""

    forecast: Forecast
    allowance: Allowance

    @property
    def refused(self) -> bool:
        """Whether the answer is no: by the measured table, or by this site's limits."""
        return self.forecast.hopeless or not self.allowance.enough


def plan_site(
    home: Path, task_path: Path, *, others: Sequence[int] = (), wishes: Wishes
) -> SitePlan:
    """Return a site's plan for a task file.

    Args:
        home: The site's folder; its catalogue is brought up to date, nothing else changes.
        task_path: The task, approved or not.
        others: Agreed training patients of the other sites; empty: all like this one.
        wishes: What is asked beyond the task.

    Raises:
        RunError: The site has no training patient for the task.
        DataError, LabelError: The archive has nothing for the task.
        SettingsError: The task, ``site.toml`` or ``others`` cannot be used.
        PrivacyError: No noise would keep the study within its epsilon.
        LedgerError: The ledger does not verify.
    """
    task, settings = read_task(task_path), read_site(home)
    if others:
        forecast.refuse_patients("--others", others, least=task.federation.quorum - 1)
    cohort = count_patients(home, settings, task)
    module = build(task, seed=0)
    agreed = max(1, cohort.agreed)
    batch = min(task.training.expected_batch_patients, float(agreed))
    how = "clipped and noised" if task.privacy.enabled else "plain"
    what = f"{how} local steps on made-up patients, one image each"
    weight = traffic(task, module)
    with on_threads(settings.resources.threads):
        probe = private_probe(task, module, sigma=noise.train_sigma(task, agreed))
        effort = measured(probe, what=what, task=task, expected_batch=batch)
    found = Measured(outcomes=read_outcomes(), traffic=weight, effort=effort)
    return SitePlan(
        forecast=forecast.site_forecast(
            task, (settings.site.name, cohort), found, wishes=wishes, others=others
        ),
        allowance=read_allowance(home, settings, task, agreed=agreed),
    )


def as_table(plan: SitePlan) -> dict[str, Any]:
    """Return the plan as one JSON object; an infinite epsilon is null."""
    allowance = dataclasses.asdict(plan.allowance) | {"enough": plan.allowance.enough}
    return forecast.as_table(plan.forecast) | {"allowance": forecast.finite(allowance)}


def as_text(plan: SitePlan, width: int) -> str:
    """Return what ``fedrad-site plan`` prints on a screen of ``width`` columns."""
    said = wording.folded(as_lines(plan.allowance), width)
    return f"{wording.as_text(plan.forecast, width)}\n\n{said}"


def count_patients(home: Path, settings: SiteSettings, task: Task) -> Cohort:
    """Count the patients that a task could use, without reading a pixel.

    Both numbers are those that a contract would show: rounded down.
    """
    names = pseudonyms(site_home.split_key(home))
    admitted = admit(update_catalogue(home), task)

    def count(split: Split) -> int:
        found = assemble(admitted, task, split=split, settings=settings, names=names)
        return agreed_patients(len(found.units))

    return Cohort(train=count("train"), audit=count("audit"))


class _MadeUp:
    """As many patients as asked for, all with the same made-up images."""

    def __init__(self, one: PatientImages, patients: int) -> None:
        self._one, self._patients = one, patients

    def __len__(self) -> int:
        return self._patients

    def record(self, index: int, /) -> Record:
        """Return one of them."""
        return dataclasses.replace(self._one, key=f"{index:08d}")


def private_probe(task: Task, module: nn.Module, *, sigma: float) -> Probe:
    """Return a probe that takes one local step exactly as a round does.

    A fixed stem runs once a study and is left out, as in a round after the first.

    Args:
        task: Loss, optimiser, clipping and augmentation.
        module: The network; its weights are changed.
        sigma: The noise multiplier; 0: a plain step.
    """
    kept = kept_features(module, _MadeUp(_patient(task), 1), task).record(0)
    one = kept if isinstance(kept, PatientImages) else _patient(task)

    def step(patients: int) -> object:
        plan = StepPlan(
            q=1.0,
            sigma=sigma,
            steps=1,
            expected_batch_patients=float(patients),
            max_grad_norm=task.privacy.max_grad_norm,
            batches=np.random.default_rng(0),
            noise=noise_source() if sigma else None,
        )
        augment = augmenter(task.recipe.augment)
        return train_round(module, _MadeUp(one, patients), task, plan=plan, augment=augment)

    return step


def _patient(task: Task) -> PatientImages:
    """Make up one patient with one image of the recipe's size; half of it is inside a mask."""
    rng = np.random.default_rng(0)
    images = rng.random((1, 1, *task.recipe.size), dtype=np.float32)
    if task.task.kind != "segmentation":
        return PatientImages("", images, label=task.positive_index)
    masks = np.zeros(images.shape, np.uint8)
    masks[..., : task.recipe.size[-1] // 2] = 1
    return PatientImages("", images, masks=masks)
