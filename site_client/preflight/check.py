"""Can this site join this task? ``fedrad-site check``, for the hospital's own eyes.

What a round would need is gone through as a round would, so that what is wrong shows before
one is lost. Counts are exact; nothing is charged and nothing is sent. What each line says
belongs to the modules beside this one, how it is shown to ``screen`` and ``page``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrad.clock import Clock
from fedrad.task import Task, read_task, task_hash
from site_client import home as site_home
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.label_page import Review, review_labels
from site_client.machine import read_machine
from site_client.patients import Split
from site_client.preflight.archive_lines import Group, archive_lines, groups, set_aside
from site_client.preflight.duplicates import Twins, find_twins
from site_client.preflight.limit_lines import limit_lines
from site_client.preflight.lines import Line, exit_code
from site_client.preflight.machine_lines import machine_lines, moment
from site_client.preflight.patient_lines import by_class, label_lines, patient_lines
from site_client.preflight.stock import Place, Say, Stock, take_stock
from site_client.quarantine import SetAside
from site_client.settings import read_site


@dataclass(frozen=True, slots=True)
class Check:
    """The answer with all that it stands on."""

    site: str
    task: str
    task_hash: str
    approved: bool
    lines: tuple[Line, ...]
    patients: dict[str, dict[Split, int]]  # class -> split -> patients; "all" is everybody
    prepared: bool  # whether pixels were read, so that numbers of patients are final
    set_aside: tuple[SetAside, ...]
    scanners: tuple[Group, ...]
    views: tuple[Group, ...]
    twins: tuple[Twins, ...]

    @property
    def exit_code(self) -> int:
        """0 if the site can join; else see ``lines.exit_code``."""
        return exit_code(self.lines)


@dataclass(frozen=True, slots=True)
class Looked:
    """A check with what its page shows besides."""

    check: Check
    task: Task
    stock: Stock
    review: Review
    rng: np.random.Generator  # the same at every call for one task at one site


def check_site(home: Path, task_path: Path, clock: Clock, *, say: Say) -> Looked:
    """Look at everything that a round of the task would need here.

    Fills catalogue and cache as a round does; changes nothing else.

    Args:
        home: The site's folder.
        task_path: The study's ``task.toml``, approved or not.
        clock: Where the time comes from.
        say: Told what is going on.

    Raises:
        SettingsError: The task, its constants or ``site.toml`` cannot be used.
        DamagedStateError: Files of the home's own do not verify.
    """
    began = moment(clock)
    place = Place(home.absolute(), read_site(home), read_task(task_path))
    stock = take_stock(place, say)
    twins = find_twins(stock.datasets.values())
    rng, review = _chance(place), _review(place, stock)
    machine = read_machine(place.home)
    lines = (
        *archive_lines(place, stock, twins),
        *patient_lines(place, stock),
        *label_lines(place.task, stock, review),
        *([stock.stopped] if stock.stopped else []),
        *limit_lines(place, stock, clock),
        *machine_lines(place, stock, machine, began=began, clock=clock),
    )
    return Looked(_answer(place, stock, twins, lines), place.task, stock, review, rng)


def _answer(place: Place, stock: Stock, twins: tuple[Twins, ...], lines: tuple[Line, ...]) -> Check:
    hash_ = task_hash(place.task)
    return Check(
        site=place.settings.site.name,
        task=place.task.task.name,
        task_hash=hash_,
        approved=hash_ in place.settings.approval.studies,
        lines=lines,
        patients=by_class(place.task, stock),
        prepared=stock.prepared,
        set_aside=() if stock.catalogue is None else set_aside(place.home, place.task.task.name),
        scanners=groups(stock.images, "maker"),
        views=groups(stock.images, "view"),
        twins=twins,
    )


def _review(place: Place, stock: Stock) -> Review:
    """Return what is to be known of labels; a table that cannot be used has its own line."""
    if not stock.cohorts:
        return Review()
    return review_labels(place.home, place.task, stock.images, _chance(place))


def _chance(place: Place) -> np.random.Generator:
    """Return a generator that shows a radiologist the same cases again."""
    names = pseudonyms(site_home.split_key(place.home))
    return np.random.default_rng(int(names.of("check", task_hash(place.task)), 16))
