"""Two approvals: of a study by the responsible person, of the software by IT.

A study's is for one digest over task and contract; another contract under the same task needs
another. The software's is for the digest of the installed code, and of the image where there
is one; a release under the same study needs that one alone. Each is signed by the site's node
key and kept in ``state/``, with what was approved, so that a later change can be shown word
for word. ``site.toml`` stays the hospital's word: what is not in its lists ``[approval]
studies`` and ``software`` is declined, whatever is signed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import fedrad
from fedrad import durable, signatures, software
from fedrad.clock import Clock, stamp
from fedrad.contract import contract_table, write_contract
from fedrad.documents import printable, read_document
from fedrad.enrolment import MOST_INVITATION, Invitation, read_invitation, study_digest
from fedrad.errors import (
    ContractChangedError,
    DamagedStateError,
    DeclinedError,
    EnrolmentError,
    ExpiredError,
    SettingsError,
)
from fedrad.settings import as_table, build, refuse_problems
from fedrad.signatures import PrivateKey
from fedrad.task import task_hash, write_task
from site_client import audit
from site_client.joining import node_key
from site_client.settings import SiteSettings, read_site
from site_client.settings_edit import put_values
from site_client.study import CONTRACT, TASK, Duty, study_folder

SCHEMA = 1
PROPOSED, INVITATION, APPROVAL = "proposed.json", "invitation.json", "approval.json"
SOFTWARE = Path("state", "software.json")
_PURPOSE = "approval"
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who approves."""

    name: str
    role: str

    def __post_init__(self) -> None:
        refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for what, text in (("name", self.name), ("role", self.role)):
            if not text.strip() or len(text) > _LONGEST or not text.isprintable():
                yield f"--{what} must say whose approval this is, in up to {_LONGEST} characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval, as it is signed."""

    schema: int = SCHEMA
    kind: Literal["study", "software"]
    study: str = ""
    digest: str  # of the document, or of the installed code
    document: dict[str, Any] = field(repr=False)  # what was approved, whole
    name: str
    role: str
    time: str


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs from what was approved last; ``None``: it was not there."""

    key: str
    before: Any
    after: Any


def approve_study(
    home: Path, study: str, person: Person, clock: Clock, *, seen: str = ""
) -> Approval:
    """Approve what a study proposes, or holds, and put its task on the list of ``site.toml``.

    Args:
        home: The site's.
        study: Its name.
        person: Who says yes.
        clock: What the approval is dated with.
        seen: How the digest begins that this person read; empty: whatever lies here.

    Raises:
        EnrolmentError: No invitation to this study was accepted, it is damaged, or it has
            another digest than ``seen``.
        SettingsError: ``site.toml`` must be changed by hand.
    """
    folder, key = study_folder(home, study), node_key(home)
    invitation, source = _proposal(folder, study)
    task, contract = invitation.offer()
    digest = study_digest(task, contract)
    if not digest.startswith(seen):
        raise EnrolmentError(
            f"what lies here has the digest {digest}, not {seen}: it is not what you read; "
            f"fedrad-site approve {study} --diff shows it"
        )
    approval = Approval(
        kind="study",
        study=study,
        digest=digest,
        document={"task": as_table(task), "contract": contract_table(contract)},
        name=person.name,
        role=person.role,
        time=stamp(clock),
    )
    write_task(folder / TASK, task)
    write_contract(folder / CONTRACT, contract)
    durable.write_bytes(folder / INVITATION, source.read_bytes())
    _seal(folder / APPROVAL, approval, key)
    listed = read_site(home).approval.studies
    if task_hash(task) not in listed:
        put_values(home, "approval", {"studies": [*listed, task_hash(task)]})
    (folder / PROPOSED).unlink(missing_ok=True)
    _note(home, clock, approval)
    return approval


def approve_software(home: Path, person: Person, clock: Clock) -> Approval:
    """Approve the code that is installed here, and put its digest on the list, alone."""
    approval = Approval(
        kind="software",
        digest=software.app_digest(),
        document=_installed(),
        name=person.name,
        role=person.role,
        time=stamp(clock),
    )
    _seal(home / SOFTWARE, approval, node_key(home))
    put_values(home, "approval", {"software": [approval.digest]})
    _note(home, clock, approval)
    return approval


def study_changes(home: Path, study: str) -> list[Change]:
    """Return every value that a study proposes otherwise than it was approved last."""
    folder = study_folder(home, study)
    task, contract = _proposal(folder, study)[0].offer()
    after = {"task": as_table(task), "contract": contract_table(contract)}
    return _changes(_approved(home, folder / APPROVAL), after)


def software_changes(home: Path) -> list[Change]:
    """Return what differs between the approved software and the installed."""
    return _changes(_approved(home, home / SOFTWARE), _installed())


def changes_text(changes: list[Change]) -> str:
    """Return the changes for a screen, a value a line: - before, + after."""
    lines = []
    for change in changes:
        for mark, value in (("-", change.before), ("+", change.after)):
            if value is not None:
                lines.append(f"{mark} {printable(change.key)} = {printable(str(value))}")
    return "\n".join(lines) if lines else "nothing changed since it was approved"


def study_approval(home: Path, study: str) -> Approval | None:
    """Return the approval of a study that lies here; ``None``: nobody gave one, or left it.

    Raises:
        DamagedStateError: It was changed after it was signed.
    """
    path = study_folder(home, study) / APPROVAL
    return _opened(home, path) if path.exists() else None


def refuse_unapproved(home: Path, duty: Duty, now: datetime) -> None:
    """Refuse a request that this hospital's people did not approve, or no longer.

    A contract without conditions is a simulation's or an older one; for it ``site.toml`` alone
    speaks, as ``study.accept`` reads it.

    Raises:
        ExpiredError: The contract has run out.
        ContractChangedError: Task and contract are not what was approved.
        DeclinedError: Nobody approved the study or the software, or the site only scores.
    """
    if duty.terms.kind == "evaluate" and duty.request.phase == "train":
        raise DeclinedError("this site joined to score models; it trains none")
    conditions = duty.contract.conditions
    if conditions is None and not duty.settings.approval.software:
        return
    refuse_unapproved_software(home, duty.settings)
    if conditions is None:
        return
    if conditions.expired(now):
        raise ExpiredError(f"the contract of {duty.request.study!r} ended on {conditions.expires}")
    path = study_folder(home, duty.request.study) / APPROVAL
    if not path.exists():
        raise DeclinedError(f"nobody approved {duty.request.study!r}; fedrad-site approve does")
    if _opened(home, path).digest != study_digest(duty.task, duty.contract):
        raise ContractChangedError(
            f"{duty.request.study!r} is not what was approved; fedrad-site approve --diff shows it"
        )


def refuse_unapproved_software(home: Path, settings: SiteSettings) -> None:
    """Refuse to work with code that IT did not approve.

    Raises:
        DeclinedError: The installed code, or its image, is not the approved one.
    """
    installed = software.app_digest()
    if installed not in settings.approval.software:
        raise DeclinedError(
            f"the installed software {installed} is not in [approval] software; "
            "fedrad-site approve --software puts it there"
        )
    approved, running = _approved(home, home / SOFTWARE).get("image", ""), software.image_digest()
    if approved != running:
        which = f"the approved image is {approved or 'none'}, this is {running or 'none'}"
        raise DeclinedError(f"{which}: fedrad-site approve --software, or go back")


def reseal(home: Path, old: PrivateKey, new: PrivateKey) -> None:
    """Seal every approval anew when the node key changes; one that does not hold stays so."""
    known = signatures.public_text(new)
    for path in (home / SOFTWARE, *(home / "state" / "studies").glob(f"*/{APPROVAL}")):
        if path.exists() and not _sealed_by(path, known):
            _seal(path, _open(path, signatures.public_text(old)), new)


def _proposal(folder: Path, study: str) -> tuple[Invitation, Path]:
    source = folder / PROPOSED if (folder / PROPOSED).exists() else folder / INVITATION
    if not source.exists():
        raise EnrolmentError(f"no invitation to {study!r} was accepted here; fedrad-site accept")
    invitation = read_invitation(source)
    if not isinstance(invitation, Invitation) or invitation.study != study:
        raise EnrolmentError(f"{source} is for another study than {study!r}")
    return invitation, source


def _installed() -> dict[str, Any]:
    return {
        "app": software.app_digest(),
        "image": software.image_digest(),
        "fedrad": fedrad.__version__,
    }


def _approved(home: Path, path: Path) -> dict[str, Any]:
    return _opened(home, path).document if path.exists() else {}


def _opened(home: Path, path: Path) -> Approval:
    return _open(path, signatures.public_text(node_key(home)))


def _open(path: Path, public: str) -> Approval:
    try:
        table = read_document(path, most_bytes=MOST_INVITATION)
        approval = build(Approval, table["body"])
        held = _sealed_by(path, public)
    except (EnrolmentError, SettingsError, KeyError, TypeError):
        raise DamagedStateError(f"{path} cannot be read; approve again") from None
    if not held:
        raise DamagedStateError(f"{path} was changed after it was signed; approve again")
    return approval


def _sealed_by(path: Path, public: str) -> bool:
    table = read_document(path, most_bytes=MOST_INVITATION)
    key = signatures.public_key(public)
    return signatures.holds(table["signature"], key, purpose=_PURPOSE, body=table["body"])


def _seal(path: Path, approval: Approval, key: PrivateKey) -> None:
    body = as_table(approval)
    table = {"body": body, "signature": signatures.sign(key, _PURPOSE, body)}
    durable.write_json(path, table)


def _note(home: Path, clock: Clock, approval: Approval) -> None:
    audit.record(
        home,
        clock,
        f"approved-{approval.kind}",
        study=approval.study,
        digest=approval.digest,
        name=approval.name,
        role=approval.role,
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        Change(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _flat(table: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(table, Mapping) and table:
        for key, value in table.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif name and table is not None:
        yield name, table
