"""Gather a study's dossier and write it as one self-contained page of HTML.

At most eight printed pages of A4. Nothing is loaded from anywhere; what comes from an
invitation is escaped.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

import fedrad
from fedrad import durable, signatures, software
from fedrad.clock import Clock
from fedrad.contract import Contract, read_contract
from fedrad.enrolment import Invitation, read_invitation, study_digest
from fedrad.errors import EnrolmentError
from fedrad.flower.lookup import FLOWER_VERSION
from fedrad.models.networks import build
from fedrad.planning.traffic import MEGABYTE, Traffic, traffic
from fedrad.protocol import versions
from fedrad.task import Task, read_task, task_hash
from site_client.approvals import INVITATION, PROPOSED
from site_client.dossier.files import on_disk, undescribed
from site_client.dossier.flow import Way, picture
from site_client.dossier.packages import packages
from site_client.dossier.promise import promise
from site_client.dossier.wire import examples
from site_client.joining import NODE_KEY
from site_client.settings import SiteSettings, read_site
from site_client.study import CONTRACT, TASK, study_folder

if TYPE_CHECKING:
    from torch import nn

TEMPLATE = "dossier.html"


@dataclass(frozen=True, slots=True)
class Offered:
    """What a study proposes to this site."""

    study: str
    task: Task
    contract: Contract
    digest: str  # what the responsible person approves


def write_dossier(home: Path, study: str, out: Path | None, clock: Clock) -> Path:
    """Write the dossier durably and return where it is.

    Args:
        home: The site's folder.
        study: Its name, as accepted.
        out: Where to; ``None``: ``dossier-STUDY.html`` in the home.
        clock: For the date on the page.

    Raises:
        EnrolmentError: No such study was accepted here.
        SettingsError: ``site.toml`` or the task cannot be used.
    """
    settings, offered = read_site(home), read_offered(home, study)
    text = render(home, settings, offered, clock.now())
    path = out or home / f"dossier-{study}.html"
    durable.write_bytes(path, text.encode("utf-8"))
    return path


def read_offered(home: Path, study: str) -> Offered:
    """Return what a study proposes, or else what it holds.

    Raises:
        EnrolmentError: No such study was accepted here.
    """
    folder = study_folder(home, study)
    for name in (PROPOSED, INVITATION):
        if (folder / name).exists():
            invitation = read_invitation(folder / name)
            if isinstance(invitation, Invitation):
                task, contract = invitation.offer()
                return Offered(study, task, contract, study_digest(task, contract))
    if not (folder / TASK).exists():
        raise EnrolmentError(f"no invitation to {study!r} was accepted here; fedrad-site accept")
    task, contract = read_task(folder / TASK), read_contract(folder / CONTRACT)
    return Offered(study, task, contract, study_digest(task, contract))


def render(home: Path, settings: SiteSettings, offered: Offered, now: datetime) -> str:
    """Return the page."""
    task, contract = offered.task, offered.contract
    module = build(task, seed=0)
    weight = traffic(task, module)
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            **_who(home, settings),
            offered=offered,
            task=task,
            task_hash=task_hash(task),
            contract=contract,
            terms=contract.sites[settings.site.name],
            conditions=contract.conditions,
            promise=promise(task, contract, settings),
            examples=examples(task, contract, settings.site.name, module),
            weight=weight,
            flow=picture(_way(settings, weight)),
            megabytes=_megabytes,
            parameters=_parameters(module),
            files=on_disk(home),
            undescribed=undescribed(home),
            packages=packages(),
            date=f"{now:%Y-%m-%d %H:%M} UTC",
        )
    )


def _who(home: Path, settings: SiteSettings) -> dict[str, Any]:
    key = home / "keys" / NODE_KEY
    return {
        "home": home,
        "home_mode": f"{stat.S_IMODE(home.stat().st_mode):03o}",
        "site": settings.site.name,
        "settings": settings,
        "coordinator": settings.coordinator,
        "proxy": settings.proxy.address if settings.proxy else "",
        "node_key": _spoken(key) if key.exists() else "not made yet",
        "app_digest": software.app_digest(),
        "image_digest": software.image_digest(),
        "release": fedrad.__version__,
        "wire": versions.ours().wire,
        "flower": FLOWER_VERSION,
    }


def _spoken(path: Path) -> str:
    line = signatures.public_text(signatures.read_key(path))
    return signatures.spoken(signatures.key_digest(line))


def _way(settings: SiteSettings, weight: Traffic) -> Way:
    archive, coordinator = settings.archive, settings.coordinator
    where = {"folder": f"a folder: {archive.path}", "dicomweb": "a PACS by DICOMweb"}
    return Way(
        archive=where.get(archive.kind, "a PACS by DIMSE")[:48],
        site=settings.site.name,
        proxy=settings.proxy.address if settings.proxy else "",
        coordinator=f"Coordinator: {coordinator.name if coordinator else 'not known yet'}"[:44],
        address=coordinator.address if coordinator else "",
        down=f"the model, {_megabytes(weight.model)}",
        up=(
            f"update with noise, {_megabytes(weight.update)} a round",
            f"figures with noise, {_megabytes(weight.report)}",
        ),
    )


def _megabytes(size: float) -> str:
    if size < MEGABYTE / 10:
        return f"{size / 1000:.1f} kB"
    return f"{size / MEGABYTE:,.1f} MB"


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("site_client", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
