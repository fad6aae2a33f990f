"""What is refused before a patient's gradient is taken, and with which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fedrad.errors import ModelError
from site_client.training.gradients.clipped import clipped_sum
from site_client.training.gradients.inspection import refuse_unfit
from site_client.training.losses import Loss, cross_entropy
from site_client.training.source import PatientImages

PATIENT = PatientImages("p", np.zeros((1, 2, 8, 8), np.float32), 1)


class Tokens(nn.Module):
    """A parameter of its own, outside any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(2, 1, 1))
        self.last = nn.Linear(128, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last((images * self.token).flatten(1))
        return logits


class Twice(nn.Module):
    """One layer used in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 1)
        self.last = nn.Linear(128, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.layer(self.layer(images)).flatten(1))
        return logits


class PastItsLayer(Twice):
    """A layer's weight used without calling the layer."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = functional.conv2d(images, self.layer.weight, self.layer.bias)
        logits: torch.Tensor = self.last(maps.flatten(1))
        return logits


class Centred(Twice):
    """Subtracts the batch's mean: every record weighs on every other."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layer(images)
        logits: torch.Tensor = self.last((maps - maps.mean(0)).flatten(1))
        return logits


class Overwritten(Twice):
    """Changes the input of a layer after the layer read it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = images + 1
        maps = self.layer(images)
        images.mul_(2)
        logits: torch.Tensor = self.last((maps + images).flatten(1))
        return logits


class Tied(Twice):
    """Two layers that share one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(2, 2, 1)
        self.other.weight = self.layer.weight


class Wrapped(nn.Conv2d):
    """Looks like a convolution, computes another thing."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(images)


def classifier(*layers: nn.Module, features: int = 128) -> nn.Module:
    """The layers, flattened into two logits."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 2))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Tokens(), r"Tokens has no rule for patients' gradients of 'token'; freeze it, or use"),
        (Twice(), r"Conv2d at 'layer' runs twice in one pass"),
        (PastItsLayer(), r"gradients of 'layer.weight' in PastItsLayer are not those"),
        (Centred(), r"one image's loss changes .* Centred or the loss couples records"),
        (Tied(), r"'other.weight' and 'layer.weight' are one tensor"),
        (classifier(Wrapped(2, 2, 1)), r"Wrapped has no rule .* '0.weight', '0.bias'"),
        (classifier(nn.BatchNorm2d(2)), r"BatchNorm2d at '0' mixes the records of a batch"),
        (classifier(nn.Bilinear(8, 8, 8).requires_grad_(False), nn.Embedding(3, 2)), "Embedding"),
        (
            classifier(nn.Conv2d(2, 2, 3, padding="same")),
            r"Conv2d with padding 'same' of zeros has no rule",
        ),
    ],
)
def test_what_has_no_exact_gradient_is_refused_by_name(module: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        refuse_unfit(module, cross_entropy, PATIENT)


def batch_mean(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """One value for all."""
    return functional.cross_entropy(logits, truth)


def weighted_by_batch(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Scaled by what the batch holds."""
    return cross_entropy(logits, truth) / logits.detach().abs().mean()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (batch_mean, r"values of shape \(\); it must give one per image"),
        (weighted_by_batch, r"Sequential or the loss couples records"),
    ],
)
def test_a_loss_that_couples_records_is_refused(loss: Loss, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        refuse_unfit(classifier(nn.Conv2d(2, 2, 1)), loss, PATIENT)


def test_an_input_changed_after_its_layer_is_noticed() -> None:
    with pytest.raises(ModelError, match=r"the input of Conv2d at 'layer' is changed in place"):
        clipped_sum(Overwritten(), [PATIENT], cross_entropy, max_norm=1.0)


def test_a_frozen_tensor_needs_no_rule() -> None:
    module = Tokens()
    module.token.requires_grad_(False)
    refuse_unfit(module, cross_entropy, PATIENT)
    assert set(clipped_sum(module, [PATIENT], cross_entropy, max_norm=1.0).total) == {
        "last.weight",
        "last.bias",
    }


def test_dropout_and_activations_in_place_pass() -> None:
    module = classifier(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.InstanceNorm2d(4, affine=True),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Dropout(0.5),
        features=256,
    )
    refuse_unfit(module, cross_entropy, PATIENT)


def test_inspection_leaves_weights_and_chance_alone() -> None:
    module = classifier(nn.Conv2d(2, 2, 1))
    before = [tensor.clone() for tensor in module.parameters()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    refuse_unfit(module, cross_entropy, PATIENT)
    assert torch.equal(torch.rand(3), expected)
    assert all(map(torch.equal, before, module.parameters()))
