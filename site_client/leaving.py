"""Take this hospital out of a study: nothing of it is answered any more, from the next question on.

The study's approval is put aside and its task taken off ``[approval] studies``, unless another
approved study has the same task. What was sent stays sent and what was charged stays charged;
``fedrad-site approve`` brings the hospital back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedrad.clock import Clock
from fedrad.errors import RunError
from fedrad.task import read_task, task_hash
from site_client import audit
from site_client.approvals import APPROVAL
from site_client.settings import read_site
from site_client.settings_edit import put_values
from site_client.study import TASK, study_folder

WITHDRAWN = "withdrawn.json"


def withdraw(home: Path, study: str, *, by: str, reason: str, clock: Clock) -> None:
    """Leave a study; the record has the line first.

    Args:
        home: The site's.
        study: Its name.
        by: Who decides.
        reason: Why; it stays here.
        clock: What the line is dated with.

    Raises:
        RunError: This site is not in the study, or the name or the reason is missing.
        SettingsError: ``site.toml`` must be changed by hand.
    """
    if not by.strip() or not reason.strip():
        raise RunError("a person withdraws, for a reason: --by and --reason say both")
    folder = study_folder(home, study)
    listed = read_site(home).approval.studies
    if not (folder / TASK).exists() or task_hash(read_task(folder / TASK)) not in listed:
        raise RunError(f"this site takes no part in {study!r}")
    own = task_hash(read_task(folder / TASK))
    audit.record(home, clock, "withdrew", study=study, by=by, reason=reason)
    if (folder / APPROVAL).exists():
        (folder / APPROVAL).replace(folder / WITHDRAWN)
    if own not in _approved_tasks(home):
        put_values(home, "approval", {"studies": [one for one in listed if one != own]})


def _approved_tasks(home: Path) -> frozenset[str]:
    return frozenset(_tasks(home))


def _tasks(home: Path) -> Iterator[str]:
    for path in (home / "state" / "studies").glob(f"*/{APPROVAL}"):
        if path.with_name(TASK).exists():
            yield task_hash(read_task(path.with_name(TASK)))
