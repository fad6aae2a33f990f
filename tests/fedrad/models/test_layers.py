"""Layers that keep the records of a batch apart."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedrad.errors import ModelError
from fedrad.models.layers import (
    AgainstZero,
    Grid,
    TopAndMean,
    refuse_batch_coupling,
    replace_batch_norm,
)


class FrozenBatchNorm2d(nn.Module):
    """A stand-in by name only, as detection libraries ship it."""


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm3d(4, track_running_stats=False),
        nn.SyncBatchNorm(4),
        nn.LazyBatchNorm2d(),
        nn.InstanceNorm2d(4, track_running_stats=True),
        FrozenBatchNorm2d(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_that_couples_a_batch_is_refused_by_class_with_the_way_out(
    layer: nn.Module,
) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(layer)).eval()
    with pytest.raises(ModelError, match=rf"{type(layer).__name__} at '1\.0'.*GroupNorm"):
        refuse_batch_coupling(network)


def test_group_and_instance_norm_pass() -> None:
    refuse_batch_coupling(nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm(4)))


@given(channels=st.integers(1, 40), groups=st.integers(1, 16))
@settings(max_examples=40, deadline=None)
def test_a_replaced_norm_fits_every_number_of_channels(channels: int, groups: int) -> None:
    network = replace_batch_norm(nn.Sequential(nn.Sequential(nn.BatchNorm2d(channels))), groups)
    refuse_batch_coupling(network)
    assert network(torch.randn(2, channels, 3, 3)).shape == (2, channels, 3, 3)


def test_top_and_mean_finds_a_small_spot_wherever_it_is() -> None:
    maps = torch.zeros(2, 1, 8, 8)
    maps[0, 0, 1, 2] = maps[1, 0, 6, 5] = 4.0
    expected = torch.tensor([[1.0, 4 / 64]] * 2)  # the mean of the 4 largest, the mean of all
    torch.testing.assert_close(TopAndMean(4)(maps), expected)


def test_grid_keeps_the_place() -> None:
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 0, 7] = 16.0
    assert Grid(2)(maps).tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_one_logit_against_zero_is_the_logistic_function() -> None:
    logit = torch.linspace(-5, 5, 7)[:, None]
    torch.testing.assert_close(AgainstZero()(logit).softmax(1)[:, 1:], logit.sigmoid())
