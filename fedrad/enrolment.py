"""The three files that bring a hospital into a study: request, invitation, renewal.

A hospital's request carries public halves of its keys, signed by its node key. The
coordinator's invitation answers one request, by its digest, and carries a whole study; a
renewal answers one and carries new certificates alone. Both are signed by the coordinator's
key. Everything is read as a stranger's: bounded, strict, typed. Whether to accept is for the
readers to say; private keys are in none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedrad import durable, signatures
from fedrad.contract import Contract, agreed_patients, contract_table
from fedrad.documents import printable, read_document
from fedrad.errors import EnrolmentError, SettingsError
from fedrad.hours import hours_problems
from fedrad.protocol.messages import SCHEMA as WIRE
from fedrad.settings import as_table, build, refuse_problems
from fedrad.signatures import PrivateKey
from fedrad.task import Task, parse_task, task_hash

T = TypeVar("T")
SCHEMA = 1
PROTOCOL = WIRE  # of the messages of a round
MOST_REQUEST = 64 * 1024  # bytes
MOST_INVITATION = 4 * 1024 * 1024
MOST_PATIENTS = 10_000_000
_LONGEST_PEM = 16_384  # characters: a chain of a few certificates

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # a certificate's common name has 64
STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_RESERVED = re.compile(r"hospital-[A-Z]\d*")  # what contracts call the others
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9A-Za-z.+:-]{1,40}")
_ADDRESS = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")

Kind = Literal["train", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """What a hospital offers: its name, the public halves of its keys, how many patients."""

    schema: int
    protocol: int  # of the wire (fedrad.protocol)
    site: str
    kind: Kind  # evaluate: scored, never trained on
    node_key: str  # an OpenSSH line without a comment
    certificate_request: str  # PEM
    patients_agreed: int  # training patients, as ``contract.agreed_patients`` rounds
    app_digest: str
    fedrad_version: str
    time: str
    hours: str = ""  # UTC, in which it promises to work; empty: the task's (fedrad.hours)
    replaces: str = ""  # rotation: the node key's line that the coordinator knows
    endorsement: str = ""  # rotation: by that key, over this table without this field

    def __post_init__(self) -> None:
        refuse_problems("request", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from _versions(self.schema, self.protocol)
        if not SITE.fullmatch(self.site) or _RESERVED.fullmatch(self.site):
            yield (
                "site must be up to 64 letters, digits, - and _, and not what contracts call "
                f"others (hospital-A), got {printable(self.site, 80)!r}"
            )
        if not 1 <= self.patients_agreed <= MOST_PATIENTS:
            yield f"patients_agreed must lie between 1 and {MOST_PATIENTS:,}"
        elif agreed_patients(self.patients_agreed) != self.patients_agreed:
            yield f"patients_agreed must be rounded down, got {self.patients_agreed}"
        if not _DIGEST.fullmatch(self.app_digest):
            yield "app_digest must be 64 hexadecimal digits"
        yield from hours_problems(self.hours)
        yield from _texts(self, "fedrad_version", "time")
        yield from _pems(self, "certificate_request")

    @property
    def digest(self) -> str:
        """The digest whose beginning people read to each other."""
        return signatures.digest(self._said())

    def endorsed(self) -> dict[str, Any]:
        """Return what the old key signs in a rotation."""
        return self._said() | {"endorsement": ""}

    def _said(self) -> dict[str, Any]:
        """Return the fields; a promise of no hours is as before there were any."""
        table = as_table(self)
        if not self.hours:
            del table["hours"]
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How a hospital reaches the coordinator, and by what it knows it."""

    coordinator: str  # its name
    coordinator_key: str  # an OpenSSH line: who signs
    address: str  # host:port, the one destination
    ca: str  # PEM: who may vouch for the server
    certificate: str  # PEM: the hospital's own

    def __post_init__(self) -> None:
        refuse_problems("link", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from address_problems("address", self.address)
        if not 0 < len(self.coordinator) <= 100 or not self.coordinator.isprintable():
            yield "coordinator must be a name of up to 100 characters"
        yield from _pems(self, "ca", "certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """New certificates for a hospital that is enrolled."""

    schema: int
    protocol: int
    site: str
    request: str  # digest of the request that this answers
    link: Link
    created: str

    def __post_init__(self) -> None:
        refuse_problems("renewal", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from _versions(self.schema, self.protocol)
        if not SITE.fullmatch(self.site) or not _DIGEST.fullmatch(self.request):
            yield "site and request must be a name and a digest"
        yield from _texts(self, "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """One study for one hospital."""

    schema: int
    protocol: int
    site: str
    request: str  # digest of the request that this answers
    link: Link
    created: str
    study: str
    task: dict[str, Any] = field(repr=False)
    contract: dict[str, Any] = field(repr=False)  # as this site sees it
    study_digest: str  # of task and contract: what a person approves
    app_digest: str  # the coordinator's

    def __post_init__(self) -> None:
        refuse_problems("invitation", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from _versions(self.schema, self.protocol)
        if not SITE.fullmatch(self.site) or not STUDY.fullmatch(self.study):
            yield "site and study must be names of letters, digits, - and _"
        for name in ("request", "study_digest", "app_digest"):
            if not _DIGEST.fullmatch(getattr(self, name)):
                yield f"{name} must be 64 hexadecimal digits"
        yield from _texts(self, "created")

    def offer(self) -> tuple[Task, Contract]:
        """Return task and contract.

        Raises:
            EnrolmentError: They do not belong together, or to this site and study.
            SettingsError: One of them cannot be used.
        """
        task, contract = parse_task(self.task), build(Contract, self.contract)
        if contract.task_hash != task_hash(task):
            raise EnrolmentError("the invitation's contract is for another task than its own")
        if contract.study != self.study:
            raise EnrolmentError("the invitation's contract is for another study than its own")
        if self.site not in contract.sites:
            raise EnrolmentError(f"the invitation's contract does not name {self.site!r}")
        if study_digest(task, contract) != self.study_digest:
            raise EnrolmentError("the invitation's digest is not that of its task and contract")
        return task, contract


def study_digest(task: Task, contract: Contract) -> str:
    """Return what a responsible person approves: SHA-256 over task and contract.

    Of the contract as the site sees it; so sites of one study have different digests.
    """
    return signatures.digest({"task": as_table(task), "contract": contract_table(contract)})


def write_request(path: Path, request: JoinRequest, key: PrivateKey) -> None:
    """Write a request, signed by the node key that it names."""
    _write(path, request, key, purpose="request")


def write_invitation(path: Path, answer: Invitation | Renewal, key: PrivateKey) -> None:
    """Write an invitation or a renewal, signed by the coordinator."""
    purpose = "invitation" if isinstance(answer, Invitation) else "renewal"
    _write(path, answer, key, purpose=purpose)


def read_request(path: Path) -> JoinRequest:
    """Read a hospital's request.

    Raises:
        EnrolmentError: It is not a request, or its signatures do not hold.
    """
    body, signature = _read(path, "request", most_bytes=MOST_REQUEST)
    request = _built(JoinRequest, body, path)
    _refuse_forged(path, signature, request.node_key, purpose="request", body=body)
    _check_certificate_request(request)
    if request.replaces:
        said = request.endorsed()
        _refuse_forged(path, request.endorsement, request.replaces, purpose="rotation", body=said)
    return request


def read_invitation(path: Path) -> Invitation | Renewal:
    """Read what a coordinator answered; that its signature holds says nothing of who signed.

    Raises:
        EnrolmentError: It is neither, or its signature does not hold.
    """
    table = read_document(path, most_bytes=MOST_INVITATION)
    renewal = table.get("purpose") == "renewal"
    purpose = "renewal" if renewal else "invitation"
    body, signature = _read(path, purpose, most_bytes=MOST_INVITATION)
    answer: Invitation | Renewal
    answer = _built(Renewal, body, path) if renewal else _built(Invitation, body, path)
    key = answer.link.coordinator_key
    _refuse_forged(path, signature, key, purpose=purpose, body=body)
    return answer


def address_problems(name: str, text: str) -> Iterator[str]:
    """Yield one line if ``text`` is not ``host:port``."""
    found = _ADDRESS.fullmatch(text)
    if not found or not 0 < int(found[2]) < 65536:
        yield f"{name} must be host:port, got {printable(text, 80)!r}"


def _write(path: Path, body: Any, key: PrivateKey, *, purpose: str) -> None:
    table = as_table(body)
    signed = {
        "purpose": purpose,
        "body": table,
        "signature": signatures.sign(key, purpose, table),
    }
    durable.write_json(path, signed)


def _read(path: Path, purpose: str, *, most_bytes: int) -> tuple[dict[str, Any], str]:
    table = read_document(path, most_bytes=most_bytes)
    if set(table) != {"purpose", "body", "signature"}:
        raise EnrolmentError(f"{path} is no {purpose}: it has other keys")
    body, signature = table["body"], table["signature"]
    if table["purpose"] != purpose:
        other = printable(str(table["purpose"]), 40)
        raise EnrolmentError(f"{path} is no {purpose}: it says {other!r}")
    if not isinstance(body, dict) or not isinstance(signature, str):
        raise EnrolmentError(f"{path} is no {purpose}: body and signature are of other kinds")
    return body, signature


def _built(cls: type[T], body: dict[str, Any], path: Path) -> T:
    try:
        return build(cls, body)
    except SettingsError as error:
        lines = "; ".join(printable(line) for line in error.problems[:5])
        raise EnrolmentError(f"{path} cannot be used: {lines}") from None
    except RecursionError:
        raise EnrolmentError(f"{path} cannot be used: tables inside tables") from None


def _refuse_forged(
    path: Path, signature: str, public: str, *, purpose: str, body: dict[str, Any]
) -> None:
    key = signatures.public_key(public)
    if not signatures.holds(signature, key, purpose=purpose, body=body):
        raise EnrolmentError(f"{path}: the {purpose}'s signature does not hold; it was changed")


def _check_certificate_request(request: JoinRequest) -> None:
    """Refuse one that does not prove its key, is for another name, or shares the node's key."""
    try:
        found = x509.load_pem_x509_csr(request.certificate_request.encode("ascii"))
        valid, key = found.is_signature_valid, found.public_key()
        names = [part.value for part in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except Exception:  # noqa: BLE001  # a stranger's bytes in a parser that promises little
        raise EnrolmentError("the certificate request cannot be read") from None
    if not valid or not isinstance(key, ec.EllipticCurvePublicKey):
        raise EnrolmentError("the certificate request is not signed by an elliptic-curve key")
    if names != [request.site]:
        raise EnrolmentError(f"the certificate request is for another name than {request.site!r}")
    if key == signatures.public_key(request.node_key):
        raise EnrolmentError("node and certificate share one key; each needs its own")


def _versions(schema: int, protocol: int) -> Iterator[str]:
    if schema != SCHEMA:
        yield f"schema {schema} is not {SCHEMA}, the one this fedrad reads; update the older side"
    if protocol != PROTOCOL:
        yield f"it speaks wire protocol {protocol}, this fedrad {PROTOCOL}; update the older side"


def _texts(table: Any, *names: str) -> Iterator[str]:
    for name in names:
        if not _SHORT.fullmatch(getattr(table, name)):
            yield f"{name} must be a short text"


def _pems(table: Any, *names: str) -> Iterator[str]:
    for name in names:
        text = getattr(table, name)
        wrong = len(text) > _LONGEST_PEM or not text.isascii() or "PRIVATE" in text
        if wrong or not text.startswith("-----BEGIN "):
            yield f"{name} must be PEM of up to {_LONGEST_PEM} characters, without a private key"
