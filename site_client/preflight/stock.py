"""Everything of an archive that one task can use, by the way that a round takes.

Stage after stage: catalogue, gate, splits with their labels, room on the disk, prepared images.
The first stage that fails ends it with a line that says why; what the stages before found
stays. A sealed cohort is taken as it was sealed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fedrad.errors import DataError, FedradError, LabelError, NotReadyError, PrivacyError
from fedrad.task import Task
from site_client import home as site_home
from site_client.catalogue import update_catalogue
from site_client.cohort import Cohort, assemble
from site_client.dataset import PatientDataset, load_split
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.patients import SPLITS, Split
from site_client.preflight.lines import NO, Line, no
from site_client.preflight.room import Room, read_room, room_line
from site_client.settings import SiteSettings

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

    catalogue: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: pd.DataFrame = field(default_factory=pd.DataFrame)  # admitted catalogue rows
    cohorts: dict[Split, Cohort] = field(default_factory=dict)  # before pixels were read
    room: Room | None = None
    datasets: dict[Split, PatientDataset] = field(default_factory=dict)
    stopped: Line | None = None  # why there is no more

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
    except (DataError, PrivacyError) as error:
        return dataclasses.replace(stock, stopped=_line(place, error))
    return stock


def _stages(place: Place, stock: Stock, say: Say) -> Iterator[Stock]:
    say("listing the archive")
    table = update_catalogue(place.home)
    if table.empty:
        raise DataError(f"the archive {place.settings.archive.path} holds no file")
    admitted = admit(table, place.task)
    yield (stock := dataclasses.replace(stock, catalogue=table, images=admitted.images))
    names = pseudonyms(site_home.split_key(place.home))
    cohorts = {
        split: assemble(admitted, place.task, split=split, settings=place.settings, names=names)
        for split in SPLITS
    }
    room = read_room(place.home, place.task, cohorts)
    yield (stock := dataclasses.replace(stock, cohorts=cohorts, room=room))
    if room_line(room, place.settings).verdict == "no":
        return
    say(f"preparing the images of {sum(len(one.units) for one in cohorts.values())} patients")
    yield dataclasses.replace(
        stock, datasets={split: load_split(place.home, place.task, split) for split in SPLITS}
    )


def _line(place: Place, error: FedradError) -> Line:
    about = "labels" if isinstance(error, LabelError) else "archive"
    if isinstance(error, PrivacyError):
        about = "patients"
    code = NO if isinstance(error, NotReadyError) else error.exit_code
    return no(about, str(error), do=_way_out(place, error), code=code)


def _way_out(place: Place, error: FedradError) -> str:
    if isinstance(error, LabelError | PrivacyError):
        return ""  # the sentence ends with it
    if place.settings.archive.kind != "folder":
        return "fedrad-site fetch brings the images that [archive.query] asks for"
    return "correct [archive] path, or see the reasons in fedrad-site quarantine"
