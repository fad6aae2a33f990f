"""The patients that ``feasibility.py`` trains on: made in memory, or read from a public folder.

Phantoms are those of ``simulations.hospital`` without the DICOM files around them; public
images are dealt to virtual sites as a scenario deals them. Every site has its test patients
first and then as many training patients as asked for, so that a smaller cohort is a part of
a larger one and every cohort is scored on the same patients. Arrays are float32 (images, 1,
rows, columns).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrad import seeds
from fedrad.models.networks import build
from fedrad.task import Task
from simulations.partition import Census, Patient, deal_keys, deal_patients
from simulations.phantoms import Phantom, draw_body, radiograph
from simulations.public import PublicSpec, read_grey, read_manifest
from simulations.scanners import SCANNERS, Scanner, expose
from site_client.preprocess import prepare_image, prepare_mask
from site_client.training.source import PatientImages, PatientSource, kept_features

SITES = ("east", "north", "south")
SCANNERS_OF = {
    "east": {"plain": 0.8, "soft": 0.2},
    "north": {"inverse": 1.0},
    "south": {"noisy": 1.0},
}
PREVALENCE_OF = {"east": 0.5, "north": 0.4, "south": 0.6}
SIZE = 96  # rows and columns of a phantom before the recipe

Floats = npt.NDArray[np.float32]


class Patients:
    """Patients in memory: a source for training and scoring."""

    def __init__(self, records: list[PatientImages]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def record(self, index: int, /) -> PatientImages:
        """Return one patient."""
        return self._records[index]


def phantoms(task: Task, seed: int, patients: int) -> dict[str, PatientSource]:
    """Return ``patients`` phantom patients of every site, images through the fixed stem.

    Nodule or none by the site's prevalence for a classification; for a segmentation
    everybody has a lesion and one image.
    """
    return {
        site: _kept(
            task, seed, [_phantom(task, site, seed, p) for p in _deal(task, site, seed, patients)]
        )
        for site in SITES
    }


def public(task: Task, seed: int, folder: Path, spec: PublicSpec) -> dict[str, PatientSource]:
    """Return the patients of a public folder, dealt to the sites as evenly as possible."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_manifest(folder, spec.columns()):
        if all(row[name] in spec.keep[name] for name in spec.keep):
            rows[f"{row[spec.site_column]}/{row[spec.patient_column]}"].append(row)
    dealt = deal_keys(tuple(rows), seed, sites=len(SITES))
    found = {}
    for site, keys in zip(SITES, dealt, strict=True):
        order = seeds.stream(seed, site, 0, "order").permutation(len(keys))
        records = [_published(task, folder, spec, key=keys[i], rows=rows[keys[i]]) for i in order]
        found[site] = _kept(task, seed, records)
    return found


def _deal(task: Task, site: str, seed: int, patients: int) -> tuple[Patient, ...]:
    masks = task.task.kind == "segmentation"
    census = Census(
        patients=patients,
        prevalence=1.0 if masks else PREVALENCE_OF[site],
        several_share=0.0 if masks else 0.15,
        scanners=SCANNERS_OF[site],
    )
    return deal_patients(site, seed, census=census)


def _phantom(task: Task, site: str, seed: int, patient: Patient) -> PatientImages:
    body = draw_body(seeds.stream(seed, site, patient.ordinal, "body"), positive=patient.positive)
    images, masks = [], []
    for number, name in enumerate(patient.scanners, start=1):
        rng = seeds.stream(seed, site, patient.ordinal, f"image {number}")
        phantom = radiograph(rng, size=SIZE, positive=patient.positive, body=body)
        noise = seeds.stream(seed, site, patient.ordinal, f"noise {number}")
        images.append(prepare_image(_shown(phantom, SCANNERS[name], noise), (), task))
        masks.append(prepare_mask(phantom.mask, (), task))
    return _record(task, f"{patient.ordinal:06d}", images, masks=masks, positive=patient.positive)


def _shown(phantom: Phantom, scanner: Scanner, rng: np.random.Generator) -> Floats:
    """Return what ``site_client.images`` makes of the stored values: dense tissue bright."""
    top = np.float32((1 << scanner.bits_stored) - 1)
    share = expose(phantom.image, scanner, rng).astype(np.float32) / top
    return 1 - share if scanner.photometric == "MONOCHROME1" else share


def _published(
    task: Task, folder: Path, spec: PublicSpec, *, key: str, rows: list[dict[str, str]]
) -> PatientImages:
    images, masks, positive = [], [], False
    for row in rows[: task.data.max_images_per_patient]:
        grey = read_grey(folder / row[spec.file_column]).astype(np.float32) / np.float32(255)
        images.append(prepare_image(grey, (), task))
        if spec.truth == "masks":
            inside = (read_grey(folder / row[spec.mask_column]) > 0).astype(np.uint8)
            masks.append(prepare_mask(inside, (), task))
        else:
            positive |= row[spec.label_column] == spec.positive_label
    return _record(task, key, images, masks=masks, positive=positive)


def _record(
    task: Task, key: str, images: list[Floats], *, masks: list[Any], positive: bool
) -> PatientImages:
    stacked = np.stack(images)
    if task.task.kind == "segmentation":
        return PatientImages(key, stacked, None, np.stack(masks))
    label = task.positive_index if positive else 1 - task.positive_index
    return PatientImages(key, stacked, label)


def _kept(task: Task, seed: int, records: list[PatientImages]) -> PatientSource:
    """Return the records, already through the fixed stem if the network has one."""
    source = kept_features(build(task, seed=seed), Patients(records), task)
    return Patients([source.record(index) for index in range(len(source))])
