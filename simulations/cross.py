"""How far does a hospital's own model carry, and what is the federated one without its part?

Two exact tables for simulations, read from local files: the model that each hospital trained
alone, scored on every hospital's test patients; and the last round's model without the part of
one hospital, scored at that hospital. With w the model after the last round, c the hospital's
share of it before any robust rule and v its own model (the round before plus its update), that
is (w - c v) / (1 - c): what it taught in earlier rounds stays in. In a real study the first
would hand one hospital's model to another and is not done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator import checkpoints, tables
from aggregator.lineage import read_lineage
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from fedrad.parameters import Parameters, read_safetensors, without_part
from simulations.arms import Study
from simulations.baselines import Trained, quality, site_source, values_of, workers
from site_client.measure import positive_labels

WITH, WITHOUT = "with-own", "without-own"  # stand in the column ``split`` of the second table


@dataclass(frozen=True, slots=True)
class Crossed:
    """What one site's test patients say of the models, by name; a class may be too small."""

    site: str
    n: int
    found: dict[str, float]


def cross_rows(run: Path, study: Study, trained: Mapping[str, Trained]) -> Iterator[tables.Metric]:
    """Score local models everywhere, and the last model without each site's part at that site.

    Args:
        run: The run folder, with the sites' homes and the rounds.
        study: What the arms share.
        trained: From ``train_arms``.

    Yields:
        Rows of ``metrics``, exact: of a local model ``site`` is who trained it and
        ``data_site`` whose patients. Its own patients are in the comparison's rows. Where a
        class has fewer patients than the plan asks there is no value.
    """
    names = sorted(study.contract.sites)
    local = {
        name: trained[f"alone {name}"].parameters for name in names if f"alone {name}" in trained
    }
    last, whole, left_out = without_own(run, names)
    jobs = [(run, study, name, _models(name, local, whole, left_out)) for name in names]
    with workers() as pool:
        crossed = list(pool.map(_score, *zip(*jobs, strict=True)))
    for one in crossed:
        yield from _rows(one, last, study)


def without_own(run: Path, names: list[str]) -> tuple[int, Parameters, dict[str, Parameters]]:
    """Return the last round, its model, and that model without each site's part of it.

    A site that was not in the last round, or was all of it, has no part that could be left out.
    """
    with Store(run / DATABASE) as store:
        line = (0, *read_lineage(store).line)
        last = line[-1]
        replies = store.rows("replies", round=last, phase="train")
    whole = checkpoints.read_round(run, last)[1]
    shares = {row["site"]: row["weight"] for row in replies if row["outcome"] == "done"}
    inside = {name: shares[name] for name in names if 0 < shares.get(name, 0.0) < 1}
    if not inside:
        return last, whole, {}
    before = checkpoints.read_round(run, line[-2])[1]
    return (
        last,
        whole,
        {
            name: left_out(whole, before, _update(run, last, name), share=share)
            for name, share in inside.items()
        },
    )


def left_out(
    whole: Parameters, before: Parameters, update: Parameters, *, share: float
) -> Parameters:
    """Return the model without the part ``before`` + ``update``; see ``without_part``."""
    own = {name: before[name].astype(np.float64) + moved for name, moved in update.items()}
    return without_part(whole, own, share=share)


def _update(run: Path, number: int, site: str) -> Parameters:
    return read_safetensors(checkpoints.reply_path(run, number, site))


def _models(
    site: str,
    local: Mapping[str, Parameters],
    whole: Parameters,
    left_out: Mapping[str, Parameters],
) -> dict[str, Parameters]:
    """Return what is scored at a site: others' models, and the last one with and without it."""
    others = {name: model for name, model in local.items() if name != site}
    own = {WITH: whole, WITHOUT: left_out[site]} if site in left_out else {}
    return others | own


def _score(run: Path, study: Study, site: str, models: dict[str, Parameters]) -> Crossed:
    source = site_source(run, study, site, "test")
    if study.task.task.kind == "segmentation":
        smallest = len(source)
    else:
        labels = positive_labels(source, study.task)
        smallest = int(min(labels.sum(), len(source) - labels.sum()))
    if smallest < study.task.analysis.minimum_per_class:
        return Crossed(site, len(source), dict.fromkeys(models, float("nan")))
    found = {
        name: quality(study, values_of(study, m, source), source) for name, m in models.items()
    }
    return Crossed(site, len(source), found)


def _rows(one: Crossed, last: int, study: Study) -> Iterator[tables.Metric]:
    segments = study.task.task.kind == "segmentation"
    metric = "dice_mean" if segments else "auroc"
    for name, value in one.found.items():
        own = name in (WITH, WITHOUT)
        yield tables.Metric(
            round=last,
            site=one.site if own else name,
            model="global" if own else "alone",
            data_site=one.site,
            split=name if own else "test",
            metric=metric,
            value=value if np.isfinite(value) else None,
            lo=None,
            hi=None,
            n=float(one.n),
            method="exact",
        )
