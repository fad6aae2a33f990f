"""One split of one task at one site, as patients with arrays.

Loading a split brings the catalogue up to date, passes the gate, and prepares every image
once; later reads come from the cache. A file whose pixels cannot be used goes to
quarantine and the patient's next image takes its place. Arrays are float32
(images, 1, [slices,] rows, columns).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedrad.errors import DamagedStateError
from fedrad.progress import Say, silent
from fedrad.task import Task, task_hash
from site_client import home as site_home
from site_client.catalogue import update_catalogue, write_quarantine
from site_client.cohort import Cohort, assemble
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.frozen import Frozen, Place, joined, later, load_frozen
from site_client.gate import Admitted, admit, until
from site_client.identities import count_unusable, refuse_many_unusable
from site_client.patient_lists import list_findings
from site_client.patients import Split
from site_client.preparation import PatientFiles
from site_client.rosters import InUse, Roster, names_of, relative
from site_client.seal import read_seal
from site_client.settings import read_site

Truth = Literal["needed", "unknown"]  # whether class labels must be known
_MEMORY_SHARE = 0.25  # of [resources] memory_gib, for arrays that stay in memory


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """Everything a model may see of one patient."""

    key: str  # the patient's pseudonym
    images: NDArray[np.float32]  # (images, 1, [slices,] rows, columns)
    label: int | None  # class index; None for a segmentation
    masks: NDArray[np.uint8] | None  # 0 or 1, the shape of images; None for a classification


@dataclass(frozen=True, slots=True)
class Notes:
    """What a dataset's makers say of it to the site."""

    warnings: tuple[str, ...] = ()  # for the site's own screen; counts only
    roster: str = ""  # digest of the roster in the site's home that names its patients


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which patients, and what of them."""

    split: Split
    truth: Truth
    last: date | None  # the last day of exams that count

    def of(self, admitted: Admitted) -> Admitted:
        """Return the images of exams up to the last day."""
        if self.last is None:
            return admitted
        return replace(admitted, images=until(admitted.images, self.last))


class PatientDataset:
    """The patients of one split, sorted by pseudonym; arrays are read when asked for.

    Attributes:
        split: Which split this is.
        patients: Pseudonyms, sorted.
        labels: Patient to class index; empty for a segmentation.
        warnings: What the site's own screen should say; counts only.
        roster: Digest of the roster in the site's home that names these patients.
    """

    def __init__(
        self,
        split: Split,
        files: dict[str, PatientFiles],
        *,
        labels: dict[str, int],
        notes: Notes = Notes(),
        memory_bytes: int = 0,
    ) -> None:
        self.split: Split = split
        self.patients = tuple(sorted(files))
        self.labels = {patient: labels[patient] for patient in self.patients if labels}
        self.warnings, self.roster = notes.warnings, notes.roster
        self._files = files
        self._kept: dict[str, PatientRecord] | None = {} if memory_bytes >= _size(files) else None

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def images(self) -> dict[str, tuple[Path, ...]]:
        """Where the prepared images of each patient are; another program may read them."""
        return {patient: self._files[patient].images for patient in self.patients}

    def record(self, index: int) -> PatientRecord:
        """Return one patient; treat the arrays as read-only.

        Args:
            index: 0 to ``len(self) - 1``.

        Raises:
            DamagedStateError: A cached array was damaged or deleted since loading.
        """
        patient = self.patients[index]
        if self._kept is None:
            return self._read(patient)
        if patient not in self._kept:
            self._kept[patient] = self._read(patient)
        return self._kept[patient]

    def _read(self, patient: str) -> PatientRecord:
        files = self._files[patient]
        truth = _stack(files.masks) if files.masks else None
        return PatientRecord(patient, _stack(files.images), self.labels.get(patient), truth)


def load_split(
    home: Path, task: Task, split: Split, *, last: date | None = None, say: Say = silent
) -> PatientDataset:
    """Load one split of a task, preparing what is not yet in the cache.

    Args:
        home: The site's folder.
        task: Decides which images, labels and recipe.
        split: ``train``, ``audit``, ``window`` or ``test``.
        last: Images and labels of later exams are left out, and of exams without a date;
            what a freeze sealed stays. ``None``: everything counts.
        say: Told how far long work is.

    Returns:
        The split's patients; possibly none.

    Raises:
        ArchiveError: The archive is missing.
        DataError: No image suits the task.
        LabelError: The task needs labels and there are none.
        NotReadyError: The task is private and too many studies belong to nobody.
        SettingsError: ``site.toml`` or the recipe's constants cannot be used.
    """
    return _load(home, task, _Wanted(split, "needed", last), say=say)


def load_images(
    home: Path, task: Task, split: Split, *, last: date | None = None
) -> PatientDataset:
    """Load one split as ``load_split``, those without class labels too; nobody has a label.

    Of a sealed cohort nothing but who was labelled then is known besides what came later.
    """
    return _load(home, task, _Wanted(split, "unknown", last))


def _load(home: Path, task: Task, wanted: _Wanted, *, say: Say = silent) -> PatientDataset:
    settings = read_site(home)
    catalogue = update_catalogue(home, say=say)
    if task.privacy.enabled:
        refuse_many_unusable(count_unusable(catalogue, settings.patients.max_studies))
    findings = list_findings(home, settings.patients, catalogue)
    loaded = _loaded(Place(home, settings, task, catalogue), wanted, say=say)
    roster = Roster(task_hash(task), wanted.split, names_of(catalogue, loaded.files))
    InUse(roster, _arrays(home, loaded.files)).keep(home)
    return PatientDataset(
        wanted.split,
        loaded.files,
        labels=loaded.labels if wanted.truth == "needed" else {},
        notes=Notes((*loaded.warnings, *findings), roster.digest),
        memory_bytes=int(settings.resources.memory_gib * _MEMORY_SHARE * 2**30),
    )


def _loaded(place: Place, wanted: _Wanted, *, say: Say) -> Frozen:
    """Return the split as sealed, with what came later where that counts; else as it is now."""
    seal = read_seal(place.home, task_hash(place.task))
    if seal is None:
        return _prepared(place, _cohort(place, wanted), wanted.split, say=say)
    frozen = load_frozen(place, seal, wanted.split)
    if wanted.split != "window":
        return frozen
    more = later(_cohort(place, wanted), seal, cap=place.task.data.max_images_per_patient)
    came = _prepared(place, more, wanted.split, say=say)
    return joined(frozen, came)


def _cohort(place: Place, wanted: _Wanted) -> Cohort:
    names = pseudonyms(site_home.split_key(place.home))
    admitted = wanted.of(admit(place.catalogue, place.task))
    cohort = assemble(
        admitted,
        place.task,
        split=wanted.split,
        settings=place.settings,
        names=names,
        truth=wanted.truth,
    )
    if wanted.last is None:
        write_quarantine(place.home, place.task.task.name, cohort.refused)
    return cohort


def _prepared(place: Place, cohort: Cohort, split: Split, *, say: Say) -> Frozen:
    preparation = place.preparation()
    files = preparation.patients(cohort, say=say)
    preparation.finish(f"{place.task.task.name} {split}")
    return Frozen(files, cohort.labels, cohort.warnings)


def _arrays(home: Path, files: dict[str, PatientFiles]) -> dict[str, tuple[str, ...]]:
    return {patient: relative(home, found.images + found.masks) for patient, found in files.items()}


def _stack(paths: tuple[Path, ...]) -> NDArray[Any]:
    try:
        return np.stack([np.load(path, allow_pickle=False) for path in paths])
    except FileNotFoundError:
        raise DamagedStateError(
            f"the cache {paths[0].parent.parent} lost an array while it was in use: the folder was "
            "deleted, or another command let a patient go; the next round makes or leaves it out"
        ) from None
    except (OSError, ValueError, EOFError):
        raise DamagedStateError(
            f"the cache {paths[0].parent.parent} is damaged; delete the folder, it fills again"
        ) from None


def _size(files: dict[str, PatientFiles]) -> int:
    return sum(
        path.stat().st_size for found in files.values() for path in found.images + found.masks
    )
