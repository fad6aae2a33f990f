"""What one release says of each channel: rates per patient, and how noisy they are.

A channel is made of parts that are tested one by one: the image channel has one part, the
acquisition channel one for each tag. Every part comes as a vector of rates with the covariance
of its privacy noise; how much patients vary belongs to ``reference``. Everything here is
post-processing of released sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrad.errors import ProtocolError
from fedrad.metrics import boundaries, segmentation
from fedrad.metrics.fusion import Estimate, Look, combine
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import Layout, cells
from fedrad.shift.windows import Released

Floats = npt.NDArray[np.float64]

CHANNELS = ("image", "acquisition", "label", "concept", "population")
FEWEST = 20.0  # noised patients below which a window says nothing
_LEAST_SPREAD = 1e-4  # variance of Dice among patients that noise may hide
FEWEST_OF_CLASS = 15.0  # of the smaller class, for what is said of scores within classes


@dataclass(frozen=True, slots=True)
class View:
    """One part of one channel of one release.

    ``values`` (d,) are rates per patient; ``noise`` (d, d) the covariance of their privacy
    noise; ``counts`` (d,) how many patients each value is a mean over, estimated; ``patients``
    (d, d) the covariance among patients, where the release tells it.
    """

    channel: str
    part: str
    values: Floats
    noise: Floats
    counts: Floats
    patients: Floats | None = None


def views(released: Released, layout: Layout) -> tuple[View, ...]:
    """Return every part that a release can carry; too few patients carry none.

    Raises:
        ProtocolError: Its blocks are not those of a window with this layout.
    """
    estimate = counted(released, layout)
    total = float(estimate.counts.sum())
    if not total >= FEWEST:
        return ()
    found = tuple(_parts(released, layout, estimate))
    if layout.kind == "segmentation":
        return (*found, *_outlined(released, layout, estimate))
    return found


def counted(released: Released, layout: Layout) -> Estimate:
    """Return the best estimate of how many patients each cell of scores holds.

    Returns:
        (2 × bins) cells, label 0 first, where labels are known, else (bins,). Of outlines the
        bins of Dice and two cells of empty references.
    """
    blocks = {block.name: block for block in released.blocks}
    bins = len(layout.edges) - 1
    if layout.kind == "segmentation":
        cells_of_dice = bins + segmentation.EMPTY_CELLS
        histogram = _look(blocks, "dice_histogram", np.eye(cells_of_dice))
        return combine([histogram, _look(blocks, "n", _ones(cells_of_dice))])
    if "scores" in blocks:
        return combine([_look(blocks, "scores", np.eye(bins)), _look(blocks, "seen", _ones(bins))])
    called = np.tile(np.asarray(layout.edges[:-1]) >= layout.operating_point, 2).astype(float)
    negative, positive = np.repeat(np.eye(2), bins, axis=1)
    operating = [positive * called, negative * called, positive * (1 - called)]
    looks = [
        _look(blocks, "table", np.eye(2 * bins)),
        _look(blocks, "operating", np.stack([*operating, negative * (1 - called)])),
        _look(blocks, "positives", positive[None]),
        _look(blocks, "n" if "n" in blocks else "labelled", _ones(2 * bins)),
    ]
    return combine(looks)


def class_masks(bins: int) -> tuple[Floats, Floats]:
    """Return which cells of a table are negatives and which positives, as 0 and 1."""
    negative, positive = np.repeat(np.eye(2), bins, axis=1)
    return negative, positive


def place_of_bins(bins: int) -> Floats:
    """Return the public weight of each bin of scores: 0 for the lowest, 1 for the highest."""
    return np.arange(bins) / (bins - 1)


def _parts(released: Released, layout: Layout, estimate: Estimate) -> Iterator[View]:
    named = {block.name: block for block in released.blocks}
    if "moments" in named:
        yield _means("image", "moments", named["moments"], estimate)
    if "extras" in named:
        yield _means("image", "extras", named["extras"], estimate)
    if "contents" in named:
        yield _means("image", "contents", named["contents"], estimate)
    for channel, block, tags in (
        ("acquisition", "tags", layout.tags),
        ("population", "population", layout.population),
    ):
        for tag, place in zip(tags, cells(tags), strict=True) if block in named else ():
            part = Block(
                name=tag,
                values=named[block].values[place],
                sigma=named[block].sigma,
                sensitivity=named[block].sensitivity,
            )
            yield _means(channel, tag, part, estimate)
    if "table" in named:
        yield from _labelled(estimate, len(layout.edges) - 1)


def _means(channel: str, part: str, block: Block, estimate: Estimate) -> View:
    """Return sums over the number of patients, both noised, to first order."""
    total, of_total = float(estimate.counts.sum()), float(estimate.covariance.sum())
    values = block.values / total
    noise = block.sigma**2 * np.eye(len(values)) + of_total * np.outer(values, values)
    return View(channel, part, values, noise / total**2, np.full(len(values), total))


def _labelled(estimate: Estimate, bins: int) -> Iterator[View]:
    """Yield the share of positives, and the mean place of scores within each class."""
    negative, positive = class_masks(bins)
    everyone = negative + positive
    total = float(estimate.counts.sum())
    sizes = np.array([negative @ estimate.counts, positive @ estimate.counts])
    share = np.array([sizes[1] / total])
    noise = np.array([[estimate.noise_of_share(positive, everyone)]])
    yield View("label", "prevalence", share, noise, np.array([total]))
    if min(sizes) < FEWEST_OF_CLASS:
        return
    place = np.tile(place_of_bins(bins), 2)
    masks = np.stack([negative, positive])
    means = (masks * place) @ estimate.counts / sizes
    slopes = masks * (place - means[:, None]) / sizes[:, None]
    yield View("concept", "scores", means, slopes @ estimate.covariance @ slopes.T, sizes)


def _outlined(released: Released, layout: Layout, estimate: Estimate) -> Iterator[View]:
    """Yield the share of patients with a reference, and their mean Dice and surface Dice."""
    bins = len(layout.edges) - 1
    found = np.append(np.ones(bins), np.zeros(segmentation.EMPTY_CELLS))
    everyone = np.ones(len(found))
    total, scored = float(estimate.counts.sum()), float(found @ estimate.counts)
    noise = np.array([[estimate.noise_of_share(found, everyone)]])
    yield View("label", "prevalence", np.array([scored / total]), noise, np.array([total]))
    if scored < FEWEST_OF_CLASS:
        return
    patients = segmentation.patients_scored(released.blocks, layout.edges)
    for part, (mean, of_noise, among) in (
        ("dice", segmentation.mean_dice(released.blocks, layout.edges)),
        ("surface dice", boundaries.mean_nsd(released.blocks, patients)),
    ):
        yield View(
            "concept", part, np.array([mean]), np.array([[of_noise]]), np.array([scored]),
            np.array([[max(among, _LEAST_SPREAD)]]),
        )  # fmt: skip


def _look(blocks: dict[str, Block], name: str, design: Floats) -> Look:
    if name not in blocks or blocks[name].values.shape != (len(design),):
        raise ProtocolError(f"a window's release needs {len(design)} values in block {name!r}")
    return Look(design, blocks[name].values, blocks[name].sigma)


def _ones(length: int) -> Floats:
    return np.ones((1, length))
