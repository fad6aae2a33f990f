"""The part of ``check.html`` on labels: prevalence, agreement, and cases for a radiologist.

One self-contained file below the site's home, with exact numbers and images: for the hospital's
own eyes. Patients have pseudonyms, readers letters. What the numbers are belongs to
``label_review`` and ``agreement``; the other parts of the page are handed in as HTML.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fedrad import durable
from fedrad.task import Task
from site_client import home as site_home
from site_client.dataset import PatientDataset, PatientRecord
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.label_review import (
    Grouping,
    Readers,
    group_patients,
    group_readers,
    reader_agreement,
    scanners_of,
    sources_of,
)
from site_client.label_table import read_labels
from site_client.labels import label_patients, match_votes
from site_client.settings import read_site

FILE = "check.html"
CASES = 20
_NAME = 8  # hexadecimal digits of a pseudonym that people see
_EDGE = 256  # pixels of the shown image's longer side, at least


@dataclass(frozen=True, slots=True)
class Case:
    """One patient's first image as PNG."""

    name: str
    label: str
    png: str  # base64


@dataclass(frozen=True, slots=True)
class Review:
    """Everything that the section says; without a table of labels, cases alone."""

    groupings: tuple[Grouping, ...] = ()
    readers: Readers | None = None
    notes: tuple[str, ...] = ()


def label_section(
    home: Path,
    task: Task,
    images: pd.DataFrame,
    *,
    datasets: Sequence[PatientDataset],
    rng: np.random.Generator,
) -> str:
    """Return the section on labels as HTML.

    Args:
        home: The site's folder.
        task: The task.
        images: Admitted catalogue rows, of all splits.
        datasets: Loaded splits that the cases come from; leave ``test`` out.
        rng: Draws the cases, and the permutations and bootstraps.

    Raises:
        LabelError: The task needs labels and there are none for any image.
    """
    return render_section(task, review_labels(home, task, images, rng), datasets, rng=rng)


def review_labels(home: Path, task: Task, images: pd.DataFrame, rng: np.random.Generator) -> Review:
    """Return what there is to know of the labels; arguments as ``label_section``.

    Raises:
        LabelError: The task needs labels and there are none for any image.
    """
    return _review(home, task, images, rng) if task.labels.source == "csv" else Review()


def render_section(
    task: Task, review: Review, datasets: Sequence[PatientDataset], *, rng: np.random.Generator
) -> str:
    """Return the section of one review, with cases drawn by ``rng``, as HTML."""
    return (
        _environment()
        .get_template("labels.html")
        .render(
            task=task.task.name,
            positive=task.task.positive,
            groupings=review.groupings,
            readers=review.readers,
            notes=review.notes,
            cases=random_cases(datasets, task, rng),
        )
    )


def write_page(home: Path, title: str, sections: Sequence[str]) -> Path:
    """Write ``check.html`` from its sections, durably; replaces the last one."""
    page = _environment().get_template("check.html").render(title=title, sections=sections)
    durable.write_bytes(home / FILE, page.encode("utf-8"))
    return home / FILE


def random_cases(
    datasets: Sequence[PatientDataset], task: Task, rng: np.random.Generator
) -> list[Case]:
    """Return up to ``CASES`` patients drawn from all of ``datasets`` alike."""
    places = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
    chosen = rng.permutation(len(places))[:CASES]
    return [_case(places[one][0].record(places[one][1]), task) for one in chosen]


def _review(home: Path, task: Task, images: pd.DataFrame, rng: np.random.Generator) -> Review:
    settings, names = read_site(home), pseudonyms(site_home.split_key(home))
    table = read_labels(settings.labels.file, task.labels, names)
    known = label_patients(images, table, task.labels)
    votes = _lettered(match_votes(images, table).votes)
    positive = pd.Series(known.classes) == task.positive_index
    groupings = (
        group_patients("source", sources_of(votes), positive, rng),
        group_readers(votes, task.positive_index, rng),
        group_patients("scanner", scanners_of(images), positive, rng),
    )
    named = votes[votes["reader"] != ""]
    readers = reader_agreement(named, rng) if len(set(named["reader"])) > 1 else None
    return Review(groupings, readers, known.notes)


def _lettered(votes: pd.DataFrame) -> pd.DataFrame:
    """Give readers letters in the order of their names."""
    names = sorted(set(votes["reader"]) - {""})
    letters = {name: f"reader {_letters(number)}" for number, name in enumerate(names)}
    return votes.assign(reader=votes["reader"].map(letters | {"": ""}))


def _letters(number: int) -> str:
    return (chr(ord("A") + number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _case(record: PatientRecord, task: Task) -> Case:
    image = record.images[0, 0]
    mask = record.masks[0, 0] if record.masks is not None else None
    if image.ndim == 3:
        areas = mask.sum(axis=(1, 2)) if mask is not None else np.zeros(len(image))
        number = int(areas.argmax()) if areas.any() else len(image) // 2
        image, mask = image[number], mask[number] if mask is not None else None
    label = task.task.classes[record.label] if record.label is not None else _drawn(mask)
    return Case(record.key[:_NAME], label, _png(image, mask))


def _drawn(mask: NDArray[np.uint8] | None) -> str:
    return "outlined" if mask is not None and mask.any() else "nothing drawn"


def _png(image: NDArray[np.float32], mask: NDArray[np.uint8] | None) -> str:
    """Return a grey image with the mask's outline in yellow, brightness from its own range."""
    low, high = np.quantile(image, (0.005, 0.995))
    grey = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    times = max(1, -(-_EDGE // max(image.shape)))
    pixels = np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    if mask is not None:
        pixels[_outline(mask.repeat(times, axis=0).repeat(times, axis=1))] = (255, 220, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _outline(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    inner = np.pad(mask, 1)
    all_round = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return np.asarray((mask == 1) & (all_round == 0))


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("site_client", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
