"""The audit of clipping passes the real engine and finds every defect that is planted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from clipping_audit import NETWORKS, audit_clipping, canary_networks, gradients_of, joint_norm
from torch import nn

from site_client.training.gradients import GradientSum, Tensors, clipped_sum
from site_client.training.gradients.rules import RULES
from site_client.training.losses import Loss
from site_client.training.source import PatientImages, Record, stack_images, stack_truth

Norms = Callable[[Tensors], Tensors]  # a norm for every tensor, by which it is clipped


def one_by_one(norms: Norms) -> Callable[..., GradientSum]:
    """Clip in a loop over patients, each tensor by the norm that ``norms`` gives it."""

    def clipped(
        module: nn.Module, patients: list[Record], loss: Loss, *, max_norm: float
    ) -> GradientSum:
        total = {k: torch.zeros_like(t) for k, t in module.named_parameters() if t.requires_grad}
        for patient in patients:
            found = gradients_of(module, stack_images([patient]), stack_truth([patient]))
            for name, norm in norms(found).items():
                total[name] += found[name] * (max_norm / norm.clamp(min=1e-30)).clamp(max=1)
        return GradientSum(total, 0)

    return clipped


def joint(gradients: Tensors) -> Tensors:
    """What is right: one norm for all."""
    return dict.fromkeys(gradients, torch.tensor(joint_norm(gradients)))


def nothing(gradients: Tensors) -> Tensors:
    return dict.fromkeys(gradients, torch.tensor(0.0))


def of_its_layer(gradients: Tensors) -> Tensors:
    layers = {name.rpartition(".")[0] for name in gradients}
    parts = {a: {k: g for k, g in gradients.items() if k.startswith(a + ".")} for a in layers}
    return {name: torch.tensor(joint_norm(parts[name.rpartition(".")[0]])) for name in gradients}


def of_its_tensor(gradients: Tensors) -> Tensors:
    return {name: torch.tensor(joint_norm({"": g})) for name, g in gradients.items()}


def of_the_weights_only(gradients: Tensors) -> Tensors:
    weights = {k: g for k, g in gradients.items() if not k.endswith("bias")} or {"": torch.zeros(1)}
    return dict.fromkeys(gradients, torch.tensor(joint_norm(weights)))


def largest_of_the_tensors(gradients: Tensors) -> Tensors:
    return dict.fromkeys(gradients, torch.stack(list(of_its_tensor(gradients).values())).max())


def always_the_bound(gradients: Tensors) -> Tensors:
    """Small gradients blown up to the bound: within it, but not what was agreed."""
    return {k: norm.clamp(max=1e-20) for k, norm in joint(gradients).items()}


def each_image_a_patient(
    module: nn.Module, patients: list[Record], loss: Loss, *, max_norm: float
) -> GradientSum:
    images = [
        PatientImages(f"{patient.key}-{place}", image[None], patient.label)
        for patient in patients
        for place, image in enumerate(patient.images)
    ]
    return clipped_sum(module, images, loss, max_norm=max_norm)


def the_sum_of_all(
    module: nn.Module, patients: list[Record], loss: Loss, *, max_norm: float
) -> GradientSum:
    """The batch is bounded, not the patient."""
    exact = one_by_one(nothing)(module, patients, loss, max_norm=1e30).total
    factor = min(1.0, max_norm * len(patients) / joint_norm(exact))
    return GradientSum({name: factor * tensor for name, tensor in exact.items()}, 0)


def half_the_bound_again(
    module: nn.Module, patients: list[Record], loss: Loss, *, max_norm: float
) -> GradientSum:
    return clipped_sum(module, patients, loss, max_norm=1.5 * max_norm)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_engine_bounds_a_patient_at_every_layer_of(network: str) -> None:
    assert list(audit_clipping(clipped_sum, network)) == []


def test_a_loop_that_clips_jointly_has_nothing_wrong() -> None:
    """So what the audit says of the loops below is about their clipping."""
    assert list(audit_clipping(one_by_one(joint), "1D")) == []


def test_the_audit_has_every_kind_of_layer_that_the_engine_has() -> None:
    kinds = {type(layer) for make, _ in NETWORKS.values() for layer in make()}
    assert set(RULES) <= kinds


@pytest.mark.parametrize("network", NETWORKS)
def test_a_canarys_gradient_lies_in_its_layer(network: str) -> None:
    make, size = NETWORKS[network]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        images, truth = torch.randn(2, 1, *size), torch.tensor([0, 1])
    for where, module in canary_networks(make):
        if where.startswith("gradient in") and "all" not in where:
            gradient = gradients_of(module, images, truth)
            layers = {k.rpartition(".")[0] for k in gradient}
            shares = [
                joint_norm({k: g for k, g in gradient.items() if k.startswith(layer + ".")})
                for layer in layers
            ]
            assert max(shares) > 0.99 * joint_norm(gradient), where


@pytest.mark.parametrize(
    ("defect", "sentence"),
    [
        (one_by_one(nothing), "gradient in all layers: a patient moves the sum by 30"),
        (one_by_one(of_its_layer), "gradient in all layers: a patient moves the sum by"),
        (one_by_one(of_its_tensor), "gradient in all layers: a patient moves the sum by"),
        (one_by_one(of_the_weights_only), "bias trained: a patient moves the sum by 30"),
        (one_by_one(largest_of_the_tensors), "gradient in all layers: a patient moves the sum by"),
        (one_by_one(always_the_bound), "gradient is off by"),
        (each_image_a_patient, "a patient moves the sum by 4"),
        (the_sum_of_all, "a patient moves the sum by"),
        (half_the_bound_again, "gradient in 0 Conv1d: a patient moves the sum by 1.500 C"),
    ],
)
def test_the_audit_finds_a_patient_bounded_by(defect: Callable, sentence: str) -> None:
    assert any(sentence in finding for finding in audit_clipping(defect, "1D"))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_audit_finds_a_norm_without_any_one_layer(network: str) -> None:
    make, _ = NETWORKS[network]
    layers = [str(i) for i, layer in enumerate(make()) if list(layer.parameters())]
    for forgotten in layers:

        def without(gradients: Tensors, forgotten: str = forgotten) -> Tensors:
            kept = {k: g for k, g in gradients.items() if not k.startswith(forgotten + ".")}
            return dict.fromkeys(gradients, torch.tensor(joint_norm(kept or {"": torch.zeros(1)})))

        place = f"gradient in {forgotten} "
        assert next(audit_clipping(one_by_one(without), network, place=place), None), forgotten
