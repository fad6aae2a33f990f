"""The post-processing of a mask that a task's ``[output]`` names: components, then holes.

On the image's own grid. Neighbours of a pixel are all that touch it, corners included; a hole
is background that no path along edges joins to the border. Masks are bool arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fedrad.output import Output

Mask = NDArray[np.bool_]


def cleaned(mask: Mask, output: Output | None) -> Mask:
    """Return a mask after the task's post-processing; ``None`` changes nothing.

    Args:
        mask: (rows, columns) or (slices, rows, columns).
        output: What the task names.
    """
    if output is None:
        return mask
    kept = largest(mask, output.components) if output.components else mask
    return np.asarray(ndimage.binary_fill_holes(kept), np.bool_) if output.fill_holes else kept


def largest(mask: Mask, count: int) -> Mask:
    """Return a mask's ``count`` largest connected components; of equal ones the first."""
    labels, found = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if found <= count:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    chosen = np.argsort(-sizes, kind="stable")[:count] + 1
    return np.isin(labels, chosen)


def said(output: Output | None) -> tuple[str, ...]:
    """Return the steps in words, in order."""
    if output is None:
        return ()
    steps = []
    if output.components:
        steps.append(f"the {output.components} largest connected components")
    if output.fill_holes:
        steps.append("holes filled")
    return tuple(steps)
