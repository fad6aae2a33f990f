"""What moved, in words that a radiologist reads: numbers of the released sums, no judgement.

Says how a window differs from what came before, or one hospital from the others. Whether that
is more than chance is ``statistics``' business.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fedrad.shift.descriptors import NAMES
from fedrad.shift.estimates import View
from fedrad.shift.moments import WIDTH
from fedrad.shift.tags import cells_of

Floats = npt.NDArray[np.float64]

KINDS: Mapping[str, tuple[str, str]] = {  # of an alarm -> what it is called, and what moved
    "image": (
        "images look different",
        "grey levels, noise or sharpness moved, tags did not: software, a grid, a dirty detector",
    ),
    "acquisition": (
        "another scanner or protocol",
        "images and the machine's tags moved together",
    ),
    "label": (
        "another share of positives",
        "the share of positives moved and the images did not",
    ),
    "concept": (
        "labels mean something else",
        "images and patients are as before, scores and labels fit no longer: a reader, a rule",
    ),
    "population": ("other patients", "sex or age of the patients moved"),
    "unknown": ("a change of unknown kind", "no kind fits what moved"),
}
CHANNELS: Mapping[str, str] = {
    "image": "Images",
    "acquisition": "Tags of the machine",
    "label": "Share of positives",
    "concept": "Scores within a label",
    "population": "Sex and age",
}
PLAIN: Mapping[str, str] = {
    "mean": "mean grey level",
    "deviation": "contrast",
    "p5": "darkest parts",
    "p95": "brightest parts",
    "median position": "middle grey",
    "log median laplacian": "noise",
    "log high share": "finest detail",
    "log middle to high": "coarse over fine detail",
    "log mean gradient": "edges",
}
MOST = 3  # values that a sentence names
LEAST_DEVIATIONS = 0.2  # of a descriptor, below which it is not named
LEAST_SHARE = 0.05  # of patients


def moved(view: View, before: View) -> str:
    """Return what differs most between two views of one part; empty: nothing worth a word.

    Of images the mean descriptors in public deviations between patients; of tags and of sex
    and age shares of patients; of labels the share of positives; of scores their mean place
    among the bins within each class, 0 for the lowest and 1 for the highest.
    """
    rest = np.asarray(view.values - before.values)
    if view.part in _BESIDE:
        return _BESIDE[view.part](rest)
    if view.channel == "image":
        deviations = WIDTH * rest[: len(NAMES)]
        order = np.argsort(-np.abs(deviations))[:MOST]
        named = [(PLAIN[NAMES[i]], deviations[i]) for i in order]
        kept = [f"{name} {v:+.1f}" for name, v in named if abs(v) >= LEAST_DEVIATIONS]
        return f"{', '.join(kept)} (in public deviations of patients)" if kept else ""
    if view.channel == "label":
        return f"positive: {_share(before.values[0])} before, {_share(view.values[0])} now"
    if view.channel == "concept" and len(view.values) == 1:
        return f"mean {view.part}: {before.values[0]:.3f} before, {view.values[0]:.3f} now"
    if view.channel == "concept":
        pairs = zip(("negatives", "positives"), before.values, view.values, strict=True)
        return "mean place of scores: " + "; ".join(
            f"{name} {old:.2f} before, {new:.2f} now" for name, old, new in pairs
        )
    names = cells_of(view.part)
    order = np.argsort(-np.abs(rest))[:2]
    kept = [
        f"{names[i]} {_share(before.values[i])} before, {_share(view.values[i])} now"
        for i in order
        if abs(rest[i]) >= LEAST_SHARE
    ]
    return f"{view.part}: {'; '.join(kept)}" if kept else ""


def _of_extras(rest: Floats) -> str:
    said = ", ".join(f"{value:+.2f}" for value in rest)
    return f"peaks of tissues or commonest level: {said} (in public units)"


def _of_contents(rest: Floats) -> str:
    return f"what images show: {float(np.linalg.norm(rest)):.2f} away (one patient: about 1.3)"


_BESIDE = {"extras": _of_extras, "contents": _of_contents}


def _share(value: float) -> str:
    return f"{100 * min(max(float(value), 0.0), 1.0):.0f} %"
