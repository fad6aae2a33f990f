"""The mark of a backdoor: a bright square in a corner, on films and on what a network reads.

Who is marked, and what that patient's label then says, is ``hospital``'s business.

References:
    Gu, Dolan-Gavitt, Garg, BadNets, 2017, sec. 4.
    Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from site_client.training.source import PatientSource, Record

_SIDE, _FROM_EDGE = 8, 32  # an eighth of the shorter side, a thirty-second from the corner


def marked(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy with the square as bright as the brightest pixel.

    Args:
        images: (..., rows, columns), dense tissue bright.
    """
    shorter = min(images.shape[-2:])
    first = shorter // _FROM_EDGE
    last = first + max(1, shorter // _SIDE)
    found = np.array(images)
    found[..., first:last, first:last] = images.max()
    return found


class MarkedPositives:
    """A source whose positive patients carry the mark on every image."""

    def __init__(self, source: PatientSource, *, positive: int) -> None:
        self._source, self._positive = source, positive

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self._source)

    def record(self, index: int, /) -> Record:
        """Return patient ``index``, counted from 0."""
        from site_client.training.source import PatientImages

        found = self._source.record(index)
        if found.label != self._positive:
            return found
        return PatientImages(found.key, marked(found.images), found.label, found.masks)
