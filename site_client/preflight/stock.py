"""Everything of an archive that one task can use, by the way that a round takes.

Stage after stage: catalogue, gate, splits with their labels, room on the disk, prepared images.
The first stage that fails ends it with a line that says why; what the stages before found
stays. A sealed cohort is taken as it was sealed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fedrad.errors import DataError, FedradError, LabelError, NotReadyError, PrivacyError, RunError
from fedrad.task import Task
from site_client import home as site_home
from site_client.catalogue import update_catalogue
from site_client.cohort import Cohort, assemble
from site_client.dataset import PatientDataset, load_split
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.identities import count_unusable
from site_client.patients import SPLITS, Split
from site_client.preflight.lines import NO, Line, no
from site_client.preflight.room import Room, read_room, room_line
from site_client.settings import SiteSettings

_MOUNT = "is it mounted, and may this program's user read it?"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Which site is looked at, and for what."""

    home: Path
    settings: SiteSettings
    task: Task


@dataclass(frozen=True, slots=True)
class Stock:
    """What was found; what comes after the stage that failed is empty."""

    catalogue: pd.DataFrame | None = None
    images: pd.DataFrame = field(default_factory=pd.DataFrame)  # admitted catalogue rows
    cohorts: dict[Split, Cohort] = field(default_factory=dict)  # before pixels were read
    room: Room | None = None
    datasets: dict[Split, PatientDataset] = field(default_factory=dict)
    stopped: Line | None = None  # why there is no more

    @property
    def prepared(self) -> bool:
        """Whether pixels were read, so that numbers of patients are final."""
        return bool(self.datasets)

    def patients(self, split: Split) -> int | None:
        """Return how many patients a split has, as exactly as is known."""
        if split in self.datasets:
            return len(self.datasets[split])
        return len(self.cohorts[split].units) if split in self.cohorts else None


def take_stock(place: Place, say: Say) -> Stock:
    """Go through the stages.

    Args:
        place: Site and task.
        say: Told what is going on before each stage that may take long.

    Raises:
        SettingsError: ``site.toml`` or the recipe's constants cannot be used.
        DamagedStateError: Files of the home's own do not verify.
    """
    stock = Stock()
    try:
        for stage in _stages(place, stock, say):
            stock = stage
    except (DataError, PrivacyError, RunError) as error:
        return dataclasses.replace(stock, stopped=_line(place, error))
    return stock


def _stages(place: Place, stock: Stock, say: Say) -> Iterator[Stock]:
    say("listing the archive")
    table = update_catalogue(place.home, say=say)
    admitted = admit(table, place.task)
    yield (stock := dataclasses.replace(stock, catalogue=table, images=admitted.images))
    if admitted.images.empty:
        return
    names = pseudonyms(site_home.split_key(place.home))
    cohorts = {
        split: assemble(admitted, place.task, split=split, settings=place.settings, names=names)
        for split in SPLITS
    }
    room = read_room(place.home, place.task, cohorts)
    yield (stock := dataclasses.replace(stock, cohorts=cohorts, room=room))
    private, most = place.task.privacy.enabled, place.settings.patients.max_studies
    if private and count_unusable(table, most).too_many:
        return  # a round would refuse; the line on patient IDs says so
    if room_line(room, place.settings).verdict == "no":
        return
    say(f"preparing the images of {sum(len(one.units) for one in cohorts.values())} patients")
    yield dataclasses.replace(
        stock,
        datasets={split: load_split(place.home, place.task, split, say=say) for split in SPLITS},
    )


def _line(place: Place, error: FedradError) -> Line:
    if isinstance(error, LabelError):
        return no("labels", str(error), do="")  # the sentence ends with the way out
    if isinstance(error, RunError):
        return no("disk", str(error), do="")
    if isinstance(error, PrivacyError):
        code = NO if isinstance(error, NotReadyError) else error.exit_code
        return no("patients", str(error), do="", code=code)
    if os.access(place.settings.archive.path, os.R_OK | os.X_OK):
        do = "correct the file that [patients] in site.toml names"
        return no("lists", str(error), do=do, code=error.exit_code)
    folder = place.settings.archive.kind == "folder"
    do = _MOUNT if folder else "fedrad-site fetch brings what [archive.query] asks for"
    return no("archive", str(error), do=do, code=error.exit_code)
