"""What a task says of its windows: their dates, what is told of each, and under which phase.

Both ends read it here, so that a site releases what the aggregator expects. A window's number
counts from 0; the round of a message is that number + 1, and round 0 is ``RECORD``: the patients
whose first exam came before the first window.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

from fedrad.errors import DeclinedError
from fedrad.monitoring import Monitoring
from fedrad.protocol.checks import check_sums
from fedrad.protocol.messages import Block, Phase
from fedrad.shift.blocks import Layout, sizes, window_edges
from fedrad.shift.tags import acquisition_tags, population_tags
from fedrad.shift.windows import Calendar
from fedrad.site_report import WINDOW, WINDOW_IMAGES, WINDOW_LABELS
from fedrad.task import Task

RECORD = "record"  # the name of what came before the first window
SHARES: Mapping[Phase, Mapping[str, float]] = MappingProxyType(
    {"window": WINDOW, "window-images": WINDOW_IMAGES, "window-labels": WINDOW_LABELS}
)


def phases(task: Task) -> tuple[Phase, ...]:
    """Return the phases in which a window of this task is asked for; none: it has no windows."""
    if task.monitoring is None:
        return ()
    return ("window",) if task.monitoring.labels == "with" else ("window-images", "window-labels")


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


def window_name(task: Task, round_number: int) -> str:
    """Return what tables call the window of a message's round."""
    return RECORD if round_number == 0 else calendar_of(task).window(round_number - 1).name


def layout_of(task: Task) -> Layout:
    """Return what is public about the blocks of a task's windows; raises as ``monitoring_of``.

    Raises:
        SettingsError: The vocabulary has no tags for the task's modality.
    """
    patients, point = monitoring_of(task).patients, task.analysis.operating_point
    return Layout(
        tags=acquisition_tags(task.data.modality),
        population=population_tags(),
        edges=window_edges(patients, point),
        operating_point=point,
    )


def check_window(
    blocks: tuple[Block, ...], task: Task, phase: Phase, *, window_sigma: float
) -> None:
    """Refuse sums that are not this phase's, or noised less than agreed.

    Raises:
        ProtocolError: Names the block and what is wrong with it.
    """
    known = sizes(layout_of(task))
    wanted = {name: known[name] for name in SHARES[phase]}
    check_sums(blocks, wanted, sigma=window_sigma)
