"""Can this site join this task? ``fedrad-site check``, for the hospital's own eyes.

Every stage of a round that needs no model is gone through as a round would: archive, gate,
labels, splits, site.toml's limits. Counts are exact and nothing is charged or sent. What each
line says belongs to the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedrad.contract import agreed_patients
from fedrad.task import Task, read_task, task_hash
from site_client import home as site_home
from site_client.allowance import read_allowance
from site_client.catalogue import update_catalogue
from site_client.cohort import Cohort, assemble
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.patients import SPLITS, Split
from site_client.preflight.lines import POLICY, Line, exit_code, no, ok
from site_client.settings import SiteSettings, read_site


@dataclass(frozen=True, slots=True)
class Check:
    """The answer with all that it stands on."""

    site: str
    task: str
    task_hash: str
    lines: tuple[Line, ...]
    patients: dict[Split, int]

    @property
    def exit_code(self) -> int:
        """0 if the site can join; see ``lines.exit_code``."""
        return exit_code(self.lines)


def check_site(home: Path, task_path: Path) -> Check:
    """Look at everything that a round of the task would need here.

    Args:
        home: The site's folder.
        task_path: The study's ``task.toml``, approved or not.

    Raises:
        SettingsError: The task or ``site.toml`` cannot be used.
        ArchiveError: The archive is missing.
        DataError, LabelError: The archive has nothing for the task.
    """
    settings, task = read_site(home), read_task(task_path)
    cohorts = _cohorts(home, settings, task)
    lines = tuple(_lines(home, settings, task, cohorts))
    patients = {split: len(cohort.units) for split, cohort in cohorts.items()}
    return Check(settings.site.name, task.task.name, task_hash(task), lines, patients)


def as_table(found: Check) -> dict[str, Any]:
    """Return a check as one JSON object."""
    return {"answer": "no" if found.exit_code else "yes", **asdict(found)}


def as_text(found: Check) -> str:
    """Return what ``fedrad-site check`` prints."""
    said = [f"can {found.site} join {found.task}? {'no' if found.exit_code else 'yes'}"]
    for line in found.lines:
        limit = f" ({line.limit})" if line.limit else ""
        said.append(f"  {line.verdict:<8}{line.about}: {line.found}{limit}")
        said += [f"          {line.do}"] * bool(line.do)
    return "\n".join(said)


def _cohorts(home: Path, settings: SiteSettings, task: Task) -> dict[Split, Cohort]:
    names = pseudonyms(site_home.split_key(home))
    admitted = admit(update_catalogue(home), task)
    return {
        split: assemble(admitted, task, split=split, settings=settings, names=names)
        for split in SPLITS
    }


def _lines(
    home: Path, settings: SiteSettings, task: Task, cohorts: dict[Split, Cohort]
) -> Iterator[Line]:
    train, least = len(cohorts["train"].units), settings.privacy.min_patients
    few = "add cases, or lower [privacy] min_patients in site.toml"
    limit = f"at least {least}"
    about = "patients to train on"
    yield (
        ok(about, str(train), limit)
        if train >= least
        else no(about, str(train), limit=limit, do=few)
    )
    found = read_allowance(home, settings, task, agreed=max(1, agreed_patients(train)))
    for refusal in found.refusals:
        yield no("this site's limits", refusal, do="see [privacy] in site.toml", code=POLICY)
