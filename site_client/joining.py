"""Ask to join: the site's own keys and ``request.json``.

Two keys, never one for both: ``keys/node.key`` is who the site is to Flower and signs what it
approves, ``keys/tls.key`` is for the connection. Both are made here and leave it never; the
request carries public halves. Asking again keeps the keys. A rotation makes new ones aside, in
``keys/next/``, where they wait for the coordinator's renewal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

import fedrad
from fedrad import signatures
from fedrad.clock import Clock, stamp
from fedrad.contract import agreed_patients
from fedrad.enrolment import PROTOCOL, SCHEMA, JoinRequest, Kind, write_request
from fedrad.errors import EnrolmentError
from fedrad.signatures import PrivateKey
from fedrad.software import app_digest
from site_client import audit
from site_client.settings import read_site

NODE_KEY, TLS_KEY = "node.key", "tls.key"
REQUEST, NEXT_REQUEST = "request.json", "request-next.json"
NEXT = Path("keys", "next")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was written."""

    path: Path
    request: JoinRequest

    @property
    def fingerprint(self) -> str:
        """What the hospital reads out to the coordinator."""
        return signatures.spoken(self.request.digest)


def join(home: Path, *, kind: Kind, patients: int, clock: Clock, hours: str = "") -> Asked:
    """Make the site's keys, unless they are there, and its request.

    Args:
        home: The site's folder, with ``site.toml``.
        kind: ``evaluate``: the model is scored here, never trained.
        patients: Training patients; rounded down before they are written.
        clock: The time of the request.
        hours: In which the site promises to work, UTC; empty: those of the task.

    Raises:
        SettingsError: ``site.toml`` or the hours cannot be used.
        EnrolmentError: The number rounds to nobody, or the site's name cannot be a name.
        DamagedStateError: A key is there and cannot be used.
    """
    keys = home / "keys"
    node, tls = _kept_node_key(keys), _kept_tls_key(keys)
    request = _request(home, node, tls, kind=kind, patients=patients, clock=clock)
    return _written(home, REQUEST, replace(request, hours=hours), node, clock)


def rotate_connection(home: Path, clock: Clock) -> Asked:
    """Make a new connection key and a request for a certificate, endorsed by the node key."""
    return _rotated(home, node_key(home), clock)


def rotate_keys(home: Path, clock: Clock) -> Asked:
    """Make a new connection key and a new node key, and a request endorsed by the old one."""
    path = home / NEXT / NODE_KEY
    path.unlink(missing_ok=True)
    signatures.write_ssh_key(path, signatures.new_key())
    return _rotated(home, signatures.read_key(path), clock)


def node_key(home: Path) -> PrivateKey:
    """Return the key that this site is known by.

    Raises:
        EnrolmentError: The site never asked to join.
        DamagedStateError: The key cannot be used.
    """
    path = home / "keys" / NODE_KEY
    if not path.exists():
        raise EnrolmentError("this site has no node key yet; fedrad-site join makes one")
    return signatures.read_key(path)


def _rotated(home: Path, node: PrivateKey, clock: Clock) -> Asked:
    from fedrad.enrolment import read_request

    old, before = node_key(home), read_request(home / REQUEST)
    path = home / NEXT / TLS_KEY
    path.unlink(missing_ok=True)
    signatures.write_pem_key(path, signatures.new_key())
    tls = signatures.read_key(path)
    plain = _request(
        home, node, tls, kind=before.kind, patients=before.patients_agreed, clock=clock
    )
    plain = replace(plain, replaces=signatures.public_text(old), hours=before.hours)
    endorsement = signatures.sign(old, "rotation", plain.endorsed())
    return _written(home, NEXT_REQUEST, replace(plain, endorsement=endorsement), node, clock)


def _request(  # noqa: PLR0913
    home: Path, node: PrivateKey, tls: PrivateKey, *, kind: Kind, patients: int, clock: Clock
) -> JoinRequest:
    site, agreed = read_site(home).site.name, agreed_patients(patients)
    if agreed < 1:
        raise EnrolmentError(f"{patients} training patients are too few to join with")
    return JoinRequest(
        schema=SCHEMA,
        protocol=PROTOCOL,
        site=site,
        kind=kind,
        node_key=signatures.public_text(node),
        certificate_request=_certificate_request(site, tls),
        patients_agreed=agreed,
        app_digest=app_digest(),
        fedrad_version=fedrad.__version__,
        time=stamp(clock),
    )


def _written(home: Path, name: str, request: JoinRequest, key: PrivateKey, clock: Clock) -> Asked:
    write_request(home / name, request, key)
    audit.record(home, clock, "asked", request=request.digest, rotation=bool(request.replaces))
    return Asked(path=home / name, request=request)


def _certificate_request(site: str, key: PrivateKey) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA384())
    return made.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _kept_node_key(keys: Path) -> PrivateKey:
    if not (keys / NODE_KEY).exists():
        signatures.write_ssh_key(keys / NODE_KEY, signatures.new_key())
    return signatures.read_key(keys / NODE_KEY)


def _kept_tls_key(keys: Path) -> PrivateKey:
    if not (keys / TLS_KEY).exists():
        signatures.write_pem_key(keys / TLS_KEY, signatures.new_key())
    return signatures.read_key(keys / TLS_KEY)
