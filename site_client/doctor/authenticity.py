"""Who answered: the coordinator's gateway, somebody in between, or a stranger.

The certificate that is shown is judged against the coordinator's authority that came with
the invitation. One that does not hold is looked at a second time without trust, to say what
it is: nothing is sent then but a question for the time. Codes are OpenSSL's X509_V_ERR.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from socket import socket

from cryptography import x509

from fedrad.documents import printable
from fedrad.flower.door import NodeOptions, tls_context
from site_client.doctor.way_out import Blocked, split_address
from site_client.preflight.lines import DAMAGED, UNREACHABLE, Line, no, ok, warning

_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
_SHORT_DAYS = 30
Opener = Callable[[], socket]


@dataclass(frozen=True, slots=True)
class Shown:
    """The certificate of whoever answered, unbelieved, and the time that came with it."""

    certificate: x509.Certificate
    date: datetime | None

    @property
    def issuer(self) -> str:
        """Who signed it, as it says."""
        return printable(self.certificate.issuer.rfc4514_string() or "(no name)", 120)

    @property
    def subject(self) -> str:
        """Whom it is for, as it says."""
        return printable(self.certificate.subject.rfc4514_string() or "(no name)", 120)


def shake_hands(
    options: NodeOptions, opened: Opener, now: datetime
) -> tuple[ssl.SSLSocket, list[Line]]:
    """Open TLS to the coordinator with this site's certificate.

    Args:
        options: The connection.
        opened: Opens a fresh way to the coordinator.
        now: By this machine.

    Raises:
        Blocked: Who answers is not the coordinator, or nobody speaks TLS.
    """
    host, _ = split_address(options.address)
    try:
        context = tls_context(options)
    except (ssl.SSLError, OSError) as error:
        do = "restore keys/ from a backup, or fedrad-site join --rotate"
        raise Blocked(no("keys", f"cannot be used: {error}", do=do, code=DAMAGED)) from None
    try:
        safe = context.wrap_socket(opened(), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise Blocked(_judge(options, look(opened, host), error, now)) from None
    except (ssl.SSLError, OSError) as error:
        raise Blocked(_no_tls(options, error)) from None
    version, until = safe.version(), _until(safe)
    line = ok("encryption", f"{version}, the coordinator's authority, good to {until:%Y-%m-%d}")
    return safe, [line, *_soon(until, now)]


def look(opened: Opener, host: str) -> Shown | None:
    """Return what whoever answers shows, believing nothing; ``None``: nothing that can be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(opened(), server_hostname=host) as door:
            certificate = x509.load_der_x509_certificate(door.getpeercert(binary_form=True) or b"")
            return Shown(certificate, _date(door, host))
    except (OSError, ValueError, Blocked):
        return None


def server_date(headers: http.client.HTTPMessage) -> datetime | None:
    """Return the time that an answer carries, in UTC."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except (ValueError, TypeError):
        return None


def _date(door: ssl.SSLSocket, host: str) -> datetime | None:
    asked = http.client.HTTPConnection(host)
    asked.sock = door
    try:
        asked.request("GET", "/health")
        return server_date(asked.getresponse().headers)
    except (OSError, http.client.HTTPException):
        return None


def _judge(
    options: NodeOptions, shown: Shown | None, error: ssl.SSLCertVerificationError, now: datetime
) -> Line:
    host, _ = split_address(options.address)
    if shown is None:
        return _no_tls(options, error)
    if error.verify_code in {_OTHER_NAME, _OTHER_ADDRESS}:
        found = f"the certificate is for {shown.subject}, not for {host}"
        do = "another server answers: ask the network team where the name leads, and the "
        do += "coordinator whether its address changed"
        return _no("server", found, do)
    if error.verify_code in {_NOT_YET, _EXPIRED}:
        return _out_of_time(shown, now)
    return _of_another(options, shown)


def _out_of_time(shown: Shown, now: datetime) -> Line:
    first, last = shown.certificate.not_valid_before_utc, shown.certificate.not_valid_after_utc
    found = f"good from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    here = f"here it is {now:%Y-%m-%d %H:%M} UTC"
    if shown.date is not None and first <= shown.date <= last:
        found += f"; {here}, the server says {shown.date:%Y-%m-%d %H:%M} UTC"
        return _no("clock", found, "set this machine's clock and keep it by NTP")
    what = "the coordinator's certificate expired" if last < now else "it is not good yet"
    do = "the coordinator renews it with fedrad-aggregator rotate; nothing is to be done here"
    return _no("server", f"{what}: {found}; {here}", do)


def _of_another(options: NodeOptions, shown: Shown) -> Line:
    ours = _authority(options.ca)
    if shown.certificate.issuer == ours.subject:
        found = f"signed by another {shown.issuer!r} than the one of the invitation"
        do = "the coordinator has a new authority of the same name: ask it for a renewal, and "
        do += "compare its fingerprint before fedrad-site accept"
        return _no("authority", found, do)
    own = printable(ours.subject.rfc4514_string(), 120)
    found = f"the certificate for {options.address} is signed by {shown.issuer!r}, not by {own!r}"
    do = f"somebody in between opens the encryption. For the network team: {sentence(options)} "
    do += "If they inspect nothing, ask the coordinator whether its authority changed"
    return _no("inspection", found, do)


def sentence(options: NodeOptions) -> str:
    """Return what to ask the network team for where TLS is inspected."""
    return (
        f'"Please exempt {options.address} from TLS inspection for this machine: both ends '
        "show certificates of the study's own authority, so a connection that is opened and "
        'signed again on the way is refused by design."'
    )


def _no_tls(options: NodeOptions, error: Exception) -> Line:
    said = printable(getattr(error, "reason", None) or getattr(error, "strerror", "") or "", 100)
    if isinstance(error, TimeoutError):
        said = "it takes the connection and then says nothing"
    found = f"no TLS with {options.address}: {said.lower() or type(error).__name__}"
    do = "a firewall cuts TLS or a sign-in page answers: ask the network team to let TLS through "
    do += f"untouched. {sentence(options)}"
    return _no("encryption", found, do)


def _soon(until: datetime, now: datetime) -> list[Line]:
    left = until - now
    if left > timedelta(days=_SHORT_DAYS):
        return []
    do = "tell the coordinator, who renews it with fedrad-aggregator rotate"
    return [warning("server", f"the coordinator's ends in {left.days} days", do=do)]


def _until(safe: ssl.SSLSocket) -> datetime:
    found = x509.load_der_x509_certificate(safe.getpeercert(binary_form=True) or b"")
    return found.not_valid_after_utc


def _authority(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def _no(about: str, found: str, do: str) -> Line:
    return no(about, found, do=do, code=UNREACHABLE)
