"""Whose images starting weights are trained on: phantoms, or a folder of published images.

The images take the way of any hospital's, through DICOM files, gate and recipe, so that a
network sees here what it will see at the sites. Both kinds are public: nobody's budget is
spent. A fifth of the patients trains nothing and judges. Training belongs to ``pretrain``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from fedrad.data_contract import Labels
from fedrad.errors import SettingsError
from fedrad.settings import build, read_toml, refuse_problems
from fedrad.task import Task, parse_task
from simulations import overrides
from simulations.hospital import HospitalSpec, write_hospital
from simulations.places import SITES, home_of, site_folder
from simulations.premises import open_home
from simulations.public import PublicSpec, write_public
from simulations.scenario import Baselines, Scenario
from site_client.dataset import PatientDataset, load_split
from site_client.settings import Shares

SITE = "public"
_SMALLEST_EDGE = 96  # of a phantom's image, in pixels; smaller ones lose their lesions
_SHARES = Shares(train=0.8, audit=0.0, window=0.0, test=0.2)
_NO_BASELINES = Baselines(rates=(0.1, 0.2, 0.3))  # a scenario must have some; none is used
_MODALITIES = {2: ("DX", "CR"), 3: ("CT",)}  # that phantoms can be, by dimensions
_NORMAL = "normal"
_STARTING = ("initial", "provenance", "trained")  # keys of [model]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """How starting weights are made: from so many phantoms, or from a public folder."""

    phantoms: int | None = None  # patients
    structure: Literal["lesion", "lung"] = "lesion"  # of phantoms: what masks are of
    folder: Path | None = None  # with manifest.csv
    public: PublicSpec | None = None  # which of its rows; every one may be used
    about: str = ""  # what the published images are and where they come from
    licence: str = ""  # of the published images
    epochs: int = 30
    batch_patients: float = 32.0  # expected
    rate: float = 0.005  # of Adam, falling to 0
    seed: int = 1

    def __post_init__(self) -> None:
        refuse_problems("pretrain", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if (self.phantoms is None) == (self.folder is None):
            yield "give either a number of phantoms or the folder of published images"
        if self.phantoms is not None and self.phantoms < 1:
            yield f"phantoms must be 1 or more, got {self.phantoms}"
        if self.folder is not None and not (self.about.strip() and self.licence.strip()):
            yield "of published images, about and licence must be given: they are the provenance"
        if self.public is not None and (self.public.sites or self.public.virtual_sites):
            yield "public images are one set here; choose rows with public.keep, not by sites"
        if self.epochs < 1 or not self.batch_patients > 0 or not self.rate > 0:
            yield (
                "epochs must be 1 or more, batch_patients and rate greater than 0, "
                f"got {self.epochs}, {self.batch_patients} and {self.rate}"
            )
        if not 0 <= self.seed < 2**63:
            yield f"seed must lie in [0, 2^63), got {self.seed}"


def make_pretraining(
    path: Path, given: dict[str, Any], settings: tuple[str, ...]
) -> tuple[Task, Pretraining]:
    """Read a task as if it named no starting weights yet, with wishes for it.

    Args:
        path: ``task.toml``; what it says of starting weights is left out.
        given: Fields of ``Pretraining``; ``None`` and empty texts are left out.
        settings: Each ``key=value``, for a table of the task or for ``Pretraining``.

    Raises:
        SettingsError: Every problem of the file or of the wishes.
    """
    table = read_toml(path)
    model = table.get("model")
    if isinstance(model, dict):
        table["model"] = {name: v for name, v in model.items() if name not in _STARTING}
    wishes = {name: value for name, value in given.items() if value not in (None, "")}
    overrides.apply(table, wishes, settings, known=[f.name for f in fields(Pretraining)])
    task = parse_task(table)
    if isinstance(wishes.get("public"), dict):
        wishes["public"] = {"truth": _truth(task), **wishes["public"]}
    return task, build(Pretraining, wishes)


def write_patients(folder: Path, task: Task, wishes: Pretraining) -> Task:
    """Write the archive and the home of everybody whose images are used.

    Args:
        folder: Empty; ``read_patients`` reads from it.
        task: Says what kind of image, which truth, which recipe.
        wishes: Phantoms or published images.

    Returns:
        The task as these images fulfil it: with their modality and labels.

    Raises:
        SettingsError: There are no phantoms of this kind.
        DataError: Folder, manifest, an image or a mask cannot be used.
    """
    if wishes.folder is None:
        spec = _phantoms(task, wishes)
        fitted = _labelled(task, spec)
        write_hospital(site_folder(folder, SITE), spec, seed=wishes.seed)
        scenario = _scenario(hospitals=(spec,))
    else:
        rows = wishes.public or PublicSpec(truth=_truth(task))
        published = replace(rows, virtual_sites=(SITE,))
        write_public(folder / SITES, wishes.folder, published, seed=wishes.seed)
        fitted, scenario = task, _scenario(public=published)
    open_home(folder, SITE, scenario, fitted, seed=wishes.seed)
    return fitted


def read_patients(folder: Path, task: Task) -> tuple[PatientDataset, PatientDataset]:
    """Return the patients who train and those who judge, no one in both.

    Args:
        folder: What ``write_patients`` wrote.
        task: What it returned.

    Raises:
        DataError: No image suits the task.
    """
    home = home_of(folder, SITE)
    return load_split(home, task, "train"), load_split(home, task, "test")


def described(wishes: Pretraining, patients: int) -> dict[str, str]:
    """Return what the provenance says of the data: data, licence and privacy."""
    if wishes.folder is None:
        return {
            "data": f"{patients} phantom patients (seed {wishes.seed}), nobody's images",
            "licence": "Apache-2.0",
            "privacy": "needs none: no person is in the data",
        }
    return {
        "data": f"{wishes.about.strip()}; {patients} patients",
        "licence": wishes.licence.strip(),
        "privacy": "none: published images, trained without differential privacy",
    }


def _truth(task: Task) -> Literal["labels", "masks"]:
    return "masks" if task.task.kind == "segmentation" else "labels"


def _scenario(
    hospitals: tuple[HospitalSpec, ...] = (), public: PublicSpec | None = None
) -> Scenario:
    return Scenario(
        title="pretraining",
        baselines=_NO_BASELINES,
        splits=_SHARES,
        hospitals=hospitals,
        public=public,
    )


def _phantoms(task: Task, wishes: Pretraining) -> HospitalSpec:
    modality, dimensions = task.data.modality, task.data.dimensions
    if modality not in _MODALITIES[dimensions]:
        known = "radiographs (DX, CR) in 2D and CT in 3D"
        line = f"there are no {dimensions}D phantoms of {modality}, only {known}; give --public"
        raise SettingsError("task.toml", (line,))
    flat, masks = dimensions == 2, task.task.kind == "segmentation"
    machines = ("plain", "soft", "noisy", "inverse") if flat else ("plain", "soft", "noisy")
    slices, edge = (24 if flat else task.recipe.size[0]), max(task.recipe.size)
    return HospitalSpec(
        name=SITE,
        patients=wishes.phantoms or 0,
        kind="radiograph" if flat else "ct",
        truth=_truth(task),
        structure=wishes.structure,
        prevalence=0.9 if masks else 0.5,
        size=max(edge, _SMALLEST_EDGE) if flat else edge,
        slices=slices,
        scanners=dict.fromkeys(machines, 1.0),
        negative_label=_NORMAL,
    )


def _labelled(task: Task, spec: HospitalSpec) -> Task:
    """Return the task with the truth and the modality that phantoms come with."""
    modality = "DX" if spec.kind == "radiograph" else "CT"
    data = replace(task.data, modality=modality, sop_classes=(), views=())
    if spec.truth == "masks":
        return replace(task, data=data, labels=Labels(source="seg", map={spec.structure: 1}))
    positive = task.positive_index
    meaning = {spec.positive_label: positive, _NORMAL: 1 - positive}
    labels = Labels(source="csv", key="AccessionNumber", map=meaning, rule="any")
    return replace(task, data=data, labels=labels)
