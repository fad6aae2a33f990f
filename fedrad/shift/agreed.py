"""What a task says of its windows: their dates, what is told of each, and under which phase.

Both ends read it here, so that a site releases what the aggregator expects. A window's number
counts from 0; the round of a message is that number + 1, and round 0 is ``RECORD``: the patients
whose first exam came before the first window.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

from fedrad.agreed_sums import Agreed, check_released
from fedrad.errors import DeclinedError
from fedrad.monitoring import Monitoring
from fedrad.protocol.messages import Block, Phase
from fedrad.shift.blocks import Layout, sensitivities, sizes, window_edges
from fedrad.shift.extras import names_of
from fedrad.shift.tags import acquisition_tags, population_tags
from fedrad.shift.windows import Calendar
from fedrad.site_report import (
    CONTENTS,
    EXTRAS,
    STRATA,
    WINDOW,
    WINDOW_IMAGES,
    WINDOW_LABELS,
    WINDOW_OUTLINES,
    enlarged,
    further,
)
from fedrad.task import Task

MOST_TIMES = 3  # the agreed patients of a window for which a site counts at most among all
RECORD = "record"  # the name of what came before the first window
SHARES: Mapping[Phase, Mapping[str, float]] = MappingProxyType(
    {"window": WINDOW, "window-images": WINDOW_IMAGES, "window-labels": WINDOW_LABELS}
)
OUTLINED: Mapping[Phase, Mapping[str, float]] = MappingProxyType({"window": WINDOW_OUTLINES})


def phases(task: Task) -> tuple[Phase, ...]:
    """Return the phases in which a window of this task is asked for; none: it has no windows."""
    if task.monitoring is None:
        return ()
    return ("window",) if task.monitoring.labels == "with" else ("window-images", "window-labels")


def shares_of(task: Task, phase: Phase) -> Mapping[str, float]:
    """Return the blocks of a window's release in this phase, with their public shares."""
    found = (OUTLINED if task.task.kind == "segmentation" else SHARES)[phase]
    asked = monitoring_of(task)
    more: dict[str, float] = {}
    if asked.encoder and "moments" in found:
        more |= CONTENTS
    if names_of(task.data.modality) and "moments" in found:
        more |= EXTRAS
    if asked.strata and "table" in found:
        more |= STRATA
    return enlarged(found, more) if more else found


def releases_of(phase: Phase) -> tuple[frozenset[str], ...]:
    """Return the names of blocks that a release of a phase may have, of any task; most first."""
    plain = [kinds[phase] for kinds in (SHARES, OUTLINED) if phase in kinds]
    more = [frozenset(kind) | frozenset(names) for kind in plain for names in further(kind)]
    return tuple(sorted([*map(frozenset, plain), *more], key=len, reverse=True))


def monitoring_of(task: Task) -> Monitoring:
    """Return the task's ``[monitoring]``.

    Raises:
        DeclinedError: It has none.
    """
    if task.monitoring is None:
        raise DeclinedError(f"the task {task.task.name!r} grants no windows: no [monitoring]")
    return task.monitoring


def calendar_of(task: Task) -> Calendar:
    """Return the dates of the task's windows; raises as ``monitoring_of``."""
    asked = monitoring_of(task)
    return Calendar(begins=date.fromisoformat(asked.begins), days=asked.days)


def most_patients(task: Task) -> float:
    """Return for how many patients a site counts at most, in one window among all sites'."""
    return float(MOST_TIMES * monitoring_of(task).patients)


def window_name(task: Task, round_number: int) -> str:
    """Return what tables call the window of a message's round."""
    return RECORD if round_number == 0 else calendar_of(task).window(round_number - 1).name


def layout_of(task: Task) -> Layout:
    """Return what is public about the blocks of a task's windows; raises as ``monitoring_of``.

    Raises:
        SettingsError: The vocabulary has no tags for the task's modality.
    """
    patients, point = monitoring_of(task).patients, task.analysis.operating_point
    outlines = task.task.kind == "segmentation"
    return Layout(
        tags=acquisition_tags(task.data.modality),
        population=population_tags(),
        edges=task.evaluation.edges if outlines else window_edges(patients, point),
        operating_point=point,
        kind="segmentation" if outlines else "classification",
        extras=names_of(task.data.modality),
        scales=monitoring_of(task).scales,
        encoder=monitoring_of(task).encoder,
        strata=() if outlines else monitoring_of(task).strata,
    )


def check_window(
    blocks: tuple[Block, ...], task: Task, phase: Phase, *, window_sigma: float
) -> None:
    """Refuse sums that are not this phase's, other noise than agreed, or no sums of patients.

    Raises:
        ProtocolError: Names the block and what is wrong with it.
    """
    layout = layout_of(task)
    lengths, moved = sizes(layout), sensitivities(layout)
    agreed = {
        name: Agreed(lengths[name], moved[name], share)
        for name, share in shares_of(task, phase).items()
    }
    check_released(blocks, agreed, sigma=window_sigma)
