"""Who is in which window of a task, and the exact sums of one window.

A patient belongs to the window of the first eligible exam and stays there for good once the
window was charged, whatever older exams turn up: ``state/windows/TASK.json`` remembers it, by
pseudonym. What is told of a patient ends with the window's last day, however late the window is
asked for: a machine that came afterwards is not in it. So nobody is in two windows of a task,
which is what the ledger counts on. A patient without a dated exam is in none. Noise and charge
belong to ``round``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedrad import durable
from fedrad.clock import Clock
from fedrad.errors import DamagedStateError, DeclinedError, NotReadyError
from fedrad.privacy.ledger import Line, window_of
from fedrad.protocol.messages import Block
from fedrad.shift import contents, extras
from fedrad.shift.agreed import calendar_of, layout_of, monitoring_of, phases
from fedrad.shift.blocks import (
    Seen,
    images_window,
    labels_window,
    outlines_window,
    whole_window,
)
from fedrad.shift.contents import patient_contents
from fedrad.shift.descriptors import describe
from fedrad.shift.due import first_day, last_due
from fedrad.shift.encoder import encode
from fedrad.shift.extras import describe_more, patient_extras
from fedrad.shift.moments import LENGTH, patient_moments
from fedrad.shift.tags import placed
from fedrad.task import Task, task_hash
from site_client.catalogue import update_catalogue
from site_client.dataset import PatientDataset, PatientRecord, load_images, load_split
from site_client.gate import admit, until
from site_client.measure import positive_labels
from site_client.outlines import measured_cases
from site_client.rosters import Roster, names_of
from site_client.rows import read_cells
from site_client.study import Duty
from site_client.training.predict import scores

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path("state", "windows")


@dataclass(frozen=True, slots=True)
class WindowPatients:
    """The patients of one window, as a source of records, with the cells of their images."""

    dataset: PatientDataset
    places: tuple[int, ...]  # of them in ``dataset``
    cells: tuple[tuple[dict[str, int], ...], ...]  # of each patient's eligible images
    roster: str  # digest of the roster in the site's home that names them

    def __len__(self) -> int:
        return len(self.places)

    def record(self, index: int, /) -> PatientRecord:
        """Return patient ``index``, counted from 0."""
        return self.dataset.record(self.places[index])


def refuse_not_due(duty: Duty, clock: Clock) -> None:
    """Refuse a window that the task does not grant, or that is not due yet.

    Raises:
        DeclinedError: No such window, or it is told in other parts.
        NotReadyError: It is not over, or its labels are waited for: who comes or is read
            tomorrow could not be counted any more.
    """
    request, task = duty.request, duty.task
    if request.phase not in phases(task):
        asked = ", ".join(phases(task)) or "no windows"
        raise DeclinedError(f"the task grants {asked}, asked is {request.phase!r}")
    if not 0 <= request.round <= monitoring_of(task).windows:
        raise DeclinedError(f"the task grants {monitoring_of(task).windows} windows")
    if not task.exact and not duty.terms.window_sigma:
        raise DeclinedError("the contract says no noise for windows, so it grants none")
    if request.round > last_due(task, request.phase, clock.now().date()):
        day = first_day(task, request.phase, request.round)
        raise NotReadyError(f"the window asked for is told from {day} on; ask again then")


def load_window(home: Path, duty: Duty, lines: Sequence[Line]) -> WindowPatients:
    """Load the patients of the window that a request names, and remember that it has them.

    Args:
        home: The site's.
        duty: What is asked.
        lines: The ledger: a window that it charges must be remembered.

    Raises:
        ArchiveError, DataError, LabelError, NotReadyError, SettingsError: As ``load_split``.
        DamagedStateError: What was remembered cannot be read, or is older than the ledger.
    """
    task, number = duty.task, duty.request.round
    known = _memory(home, task)
    _refuse_forgotten(home, task, known, lines)
    load = load_images if duty.request.phase == "window-images" else load_split
    last = first_day(task, "window", number) - timedelta(days=1)
    dataset = load(home, task, "window", last=last)
    catalogue = update_catalogue(home)
    images = until(admit(catalogue, task).images, last)
    numbers = {**first_windows(images, task), **known.patients}
    found = [(n, p) for n, p in enumerate(dataset.patients) if numbers.get(p) == number]
    patients = [patient for _, patient in found]
    _remember(home, task, known, _Memory(dict.fromkeys(patients, number), frozenset({number})))
    roster = Roster(task_hash(task), "window", names_of(catalogue, patients))
    roster.keep(home)
    cells = _cells(images, patients)
    return WindowPatients(dataset, tuple(place for place, _ in found), cells, roster.digest)


def first_windows(images: pd.DataFrame, task: Task) -> dict[str, int]:
    """Return for each patient the round of the window of the first eligible exam.

    Args:
        images: Rows that the task may use.
        task: Its calendar.

    Returns:
        The window's number + 1; 0 for a first exam before all windows. Who has no dated exam
        is left out.
    """
    dated = images[images["exam"] != ""]
    calendar = calendar_of(task)
    firsts = dated.groupby("patient")["exam"].min()
    found = {
        str(patient): calendar.number_of(date.fromisoformat(day)) for patient, day in firsts.items()
    }
    return {patient: 0 if number is None else number + 1 for patient, number in found.items()}


def remembered(home: Path, task: Task) -> dict[str, int]:
    """Return the patients whose window was asked for before, with its round.

    Raises:
        DamagedStateError: The file cannot be read.
    """
    return _memory(home, task).patients


@dataclass(frozen=True, slots=True)
class _Memory:
    """What ``state/windows/TASK.json`` holds: who is where, and which windows were loaded."""

    patients: dict[str, int]
    windows: frozenset[int]


def _memory(home: Path, task: Task) -> _Memory:
    path = _path(home, task)
    if not path.exists():
        return _Memory({}, frozenset())
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        patients = {str(patient): int(number) for patient, number in table["patients"].items()}
        return _Memory(patients, frozenset(map(int, table["windows"])))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedStateError(
            f"{path} is damaged; restore it from a backup: without it a patient could be in two "
            "windows"
        ) from None


def window_sums(module: nn.Module, patients: WindowPatients, duty: Duty) -> tuple[Block, ...]:
    """Return the exact sums of a window that a request's phase tells.

    Raises:
        DataError: A patient has no label and the phase tells labels.
    """
    layout, task = layout_of(duty.task), duty.task
    if layout.kind == "segmentation":
        cases = measured_cases(module, patients, task)
        return outlines_window(_seen(patients, task, cases.dice), cases, layout)
    found = scores(module, patients, positive=task.positive_index)
    if duty.request.phase == "window-labels":
        who = _placed(layout.population, patients.cells)
        return labels_window(found, positive_labels(patients, task), layout, population=who)
    seen = _seen(patients, task, found)
    if duty.request.phase == "window-images":
        return images_window(seen, layout)
    return whole_window(seen, positive_labels(patients, task), layout)


def _seen(patients: WindowPatients, task: Task, found: np.ndarray[Any, Any]) -> Seen:
    layout = layout_of(task)
    records = (patients.record(place) for place in range(len(patients)))
    moments = [
        patient_moments([describe(image[0]) for image in one.images], layout.scales)
        for one in records
    ]
    return Seen(
        extras=_extras(patients, task) if layout.extras else None,
        contents=_contents(patients) if layout.encoder else None,
        moments=np.array(moments, np.float64).reshape(-1, LENGTH),
        tags=_placed(layout.tags, patients.cells),
        population=_placed(layout.population, patients.cells),
        scores=found,
    )


def _extras(patients: WindowPatients, task: Task) -> np.ndarray[Any, Any]:
    """Return where tissues lie in each patient's images, (n, numbers)."""
    modality, constants = task.data.modality, task.recipe.intensity.constants
    records = (patients.record(place) for place in range(len(patients)))
    found = [
        patient_extras(
            [describe_more(image, modality, constants=constants) for image in one.images], modality
        )
        for one in records
    ]
    return np.array(found, np.float64).reshape(-1, len(extras.names_of(modality)))


def _contents(patients: WindowPatients) -> np.ndarray[Any, Any]:
    """Return what each patient's images show, (n, 16)."""
    records = (patients.record(place) for place in range(len(patients)))
    shown = [patient_contents([encode(image[0]) for image in one.images]) for one in records]
    return np.array(shown, np.float64).reshape(-1, contents.LENGTH)


def _placed(
    tags: tuple[str, ...], cells: Sequence[Sequence[Mapping[str, int]]]
) -> np.ndarray[Any, Any]:
    width = len(placed(tags, []))
    return np.array([placed(tags, images) for images in cells], np.float64).reshape(-1, width)


def _cells(images: pd.DataFrame, patients: Sequence[str]) -> tuple[tuple[dict[str, int], ...], ...]:
    rows = images[images["patient"].isin(patients)]
    said = {
        str(patient): tuple(read_cells(text) for text in found)
        for patient, found in rows.groupby("patient")["cells"]
    }
    return tuple(said.get(patient, ()) for patient in patients)


def _remember(home: Path, task: Task, before: _Memory, more: _Memory) -> None:
    if more.windows <= before.windows and more.patients.keys() <= before.patients.keys():
        return
    patients, numbers = {**more.patients, **before.patients}, before.windows | more.windows
    durable.write_json(_path(home, task), {"patients": patients, "windows": sorted(numbers)})


def _refuse_forgotten(home: Path, task: Task, known: _Memory, lines: Sequence[Line]) -> None:
    """Refuse a memory that was removed, or put back from an older copy."""
    own = (line for line in lines if line.stream == "window" and line.task_hash == task_hash(task))
    charged = {int(number) for number in map(window_of, own) if number}
    if lost := sorted(charged - known.windows):
        raise DamagedStateError(
            f"{_path(home, task)} does not know the windows {lost} that the ledger charges; "
            "restore its newest copy: without it a patient could be in two windows"
        )


def _path(home: Path, task: Task) -> Path:
    return home / FOLDER / f"{task_hash(task)}.json"
