"""Where a classification's score comes from: Grad-CAM [1], as MONAI computes it.

The map says which places would raise the score, at the coarse grid of the network's last maps; it
is no outline of a finding and no explanation of a diagnosis.

References:
    [1] Selvaraju et al., Grad-CAM, ICCV 2017, sec. 3.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import torch
from monai.visualize import GradCAM
from numpy.typing import NDArray
from torch import nn

from fedrad.models.networks import seen_part
from fedrad.task import Task


def saliency(network: nn.Module, image: NDArray[np.float32], task: Task) -> NDArray[np.float32]:
    """Return the Grad-CAM of the positive class for one image.

    Args:
        network: The task's; unchanged.
        image: (1, *recipe.size).
        task: A classification.

    Returns:
        float32 of ``recipe.size`` in [0, 1]; 1 at the largest value, 0 everywhere if no place
        raises the score.
    """
    own = copy.deepcopy(network).eval().requires_grad_(True)
    camera = GradCAM(nn_module=own, target_layers=seen_part(task), postprocessing=_as_it_is)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = camera(torch.from_numpy(image)[None], class_idx=task.positive_index)
    values = np.nan_to_num(np.asarray(found.detach())[0, 0], copy=True).astype(np.float32)
    most = float(values.max())
    return values / most if most > 0 else np.zeros_like(values)


def _as_it_is(values: torch.Tensor) -> torch.Tensor:
    return values  # MONAI's own would turn the scale over
