"""A part of a network that was fitted at the site, unaccounted, breaks the clip bound."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from tiny_study import TinyStudy
from torch import nn

from fedrad.errors import PrivacyError
from fedrad.models.networks import build
from fedrad.parameters import joint_norm, whole
from fedrad.task import Task, parse_task
from site_client import audit
from site_client.training.gradients import clipped_sum
from site_client.training.local_parameters import digests, only_accounted, refuse_unaccounted
from site_client.training.losses import cross_entropy
from site_client.training.source import PatientImages

CLIP = 1.0


class Normaliser(nn.Module):
    """Scale the inputs by numbers of this site's own."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([mean]))
        self.register_buffer("deviation", torch.tensor([deviation]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean, deviation = (buffer for _, buffer in self.named_buffers())
        return (images - mean) / deviation


def patients(rng: np.random.Generator) -> list[PatientImages]:
    """Twenty-four alike, and one whose image is as bright as a metal implant."""
    drawn = [rng.normal(1.0, 0.2, (1, 1, 4, 4)).astype(np.float32) for _ in range(24)]
    drawn.append(np.full((1, 1, 4, 4), 60.0, np.float32))
    return [PatientImages(f"p{i:02d}", image, i % 2) for i, image in enumerate(drawn)]


def network(normaliser: Normaliser) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(normaliser, nn.Flatten(), nn.Linear(16, 2))


def fitted_to(records: list[PatientImages]) -> Normaliser:
    values = np.concatenate([record.images for record in records])
    return Normaliser(float(values.mean()), float(values.std()))


def moved_by_the_last(records: list[PatientImages], *normalisers: Normaliser) -> float:
    """How far the clipped sum moves when the last patient joins."""
    cohorts = (records, records[:-1])
    sums = [
        clipped_sum(network(normaliser), cohort, cross_entropy, max_norm=CLIP).total
        for normaliser, cohort in zip(normalisers, cohorts, strict=True)
    ]
    return joint_norm({name: (sums[0][name] - sums[1][name]).numpy() for name in sums[0]})


def test_a_normaliser_fitted_to_the_patients_lets_one_of_them_move_the_sum_past_the_bound() -> None:
    """Sensitivity 1 is what the noise is for; the fitted one moves the sum four times as far."""
    records = patients(np.random.default_rng(0))
    public = Normaliser(1.0, 0.2)
    assert moved_by_the_last(records, public, public) <= CLIP * (1 + 1e-5)
    fitted = moved_by_the_last(records, fitted_to(records), fitted_to(records[:-1]))
    assert fitted > 4 * CLIP


def test_a_normaliser_of_the_sites_own_is_refused_by_name() -> None:
    module = network(fitted_to(patients(np.random.default_rng(0))))
    with pytest.raises(PrivacyError, match=r"'0\.mean' is this site's own.*after the last round"):
        refuse_unaccounted(module, ["2.weight", "2.bias"], constants={})


def test_a_local_affine_is_refused_unless_it_is_trained_in_the_private_step() -> None:
    module = nn.Sequential(nn.GroupNorm(1, 1), nn.Flatten(), nn.Linear(16, 2))
    shared = ["2.weight", "2.bias"]
    with pytest.raises(PrivacyError, match=r"'0\.weight' is this site's own"):
        refuse_unaccounted(module, shared, constants={})
    own = dict.fromkeys(("0.weight", "0.bias"), "private step")
    refuse_unaccounted(module, shared, constants={}, declared=own)  # type: ignore[arg-type]
    module[0].requires_grad_(False)
    with pytest.raises(PrivacyError, match="declared as 'private step'"):
        refuse_unaccounted(module, shared, constants={}, declared=own)  # type: ignore[arg-type]


def test_numbers_from_released_values_may_be_used_and_must_stay_put() -> None:
    module, shared = network(Normaliser(1.0, 0.5)), ["2.weight", "2.bias"]
    released = {"0.mean": "released", "0.deviation": "released"}
    refuse_unaccounted(module, shared, constants={}, declared=released)  # type: ignore[arg-type]
    refuse_unaccounted(module, shared, constants=digests(network(Normaliser(1.0, 0.5))))
    with pytest.raises(PrivacyError, match=r"'0\.deviation' is this site's own"):
        refuse_unaccounted(module, shared, constants=digests(network(Normaliser(1.0, 0.4))))


@pytest.fixture
def task(task_with: Any) -> Task:
    made: Task = task_with()
    return made


def test_the_network_of_a_task_as_it_came_is_accepted(task: Task) -> None:
    module = build(task, seed=7)
    with only_accounted(module, whole(module), task=task):
        next(module.parameters()).data += 1.0


def test_a_network_of_the_task_whose_constants_were_fitted_is_refused(task: Task) -> None:
    module = build(task, seed=7)
    name, buffer = next(iter(module.named_buffers()))
    buffer += 0.5
    with (
        pytest.raises(PrivacyError, match=f"{name!r} is this site's own"),
        only_accounted(module, whole(module), task=task),
    ):
        pytest.fail("nothing may be trained")


def test_statistics_that_run_along_are_found_after_the_round(task: Task) -> None:
    module = build(task, seed=7)
    name, buffer = next(iter(module.named_buffers()))
    with (
        pytest.raises(PrivacyError, match=f"{name!r} changed while shared parameters trained"),
        only_accounted(module, whole(module), task=task),
    ):
        buffer += 0.5


def test_a_task_is_the_same_from_its_canonical_text(task: Task) -> None:
    from fedrad.task import canonical

    assert parse_task(json.loads(canonical(task))) == task


def test_a_site_whose_network_was_fitted_declines_before_anything_is_charged(
    study: TinyStudy,
) -> None:
    site = study.site()
    assert site.answer(study.ask(), study.model).outcome == "done"
    (module,) = site._modules.values()
    next(iter(module.buffers())).mul_(1.01)
    reply = site.answer(study.ask(round_number=2), study.model)
    assert (reply.outcome, reply.reason_code, reply.update) == ("refused", "declined", {})
    assert "is this site's own" in audit.read(study.home())[-1]["sentence"]
    assert len((study.home() / "ledger.jsonl").read_text().splitlines()) == 2


def test_a_tensor_in_an_attribute_and_a_hook_are_no_way_around() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    names = [name for name, _ in plain.named_parameters()]
    refuse_unaccounted(plain, names, constants={})
    plain[0].site_mean = np.ones(3, np.float32)  # type: ignore[assignment]
    with pytest.raises(PrivacyError, match="'0.site_mean' is this site's own"):
        refuse_unaccounted(plain, names, constants={})
    refuse_unaccounted(plain, names, constants=digests(plain))
    hooked = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    hooked[1].register_forward_pre_hook(lambda _module, given: (given[0] - 3.0,))
    with pytest.raises(PrivacyError, match="'1' has hooks"):
        refuse_unaccounted(hooked, names, constants={})
