"""Certificates: the coordinator's own authority, its servers' and its hospitals'.

The authority vouches for hospitals; for the gateway's server it does so only where the
institution gave no certificate of its own. Subjects come from enrolment, never from a
certificate request, which proves a key and nothing else. Revocation lists have the
authority's own lifetime: one that ran out would shut every hospital out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from aggregator.home import is_address, key_path, write_secret
from fedrad import signatures
from fedrad.clock import Clock
from fedrad.errors import DamagedStateError, EnrolmentError, SettingsError
from fedrad.signatures import PrivateKey

CA_KEY, CA, CRL = "ca.key", "ca.pem", "crl.pem"
SERVER_KEY, SERVER, SERVER_CA = "server.key", "server.pem", "server-ca.pem"
LOOPBACK_KEY, LOOPBACK = "superlink.key", "superlink.pem"
SIGNING_KEY = "coordinator.key"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1")
_YEARS_DAYS = 3650
_BEFORE = timedelta(hours=1)  # clocks differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Certificate files of the gateway's server that the institution gave."""

    certificate: Path  # the server's, then intermediate ones
    key: Path
    ca: Path  # the root that hospitals are to trust


def make_authority(home: Path, name: str, clock: Clock) -> None:
    """Write the authority's key and certificate, an empty revocation list, the signing key."""
    key = signatures.new_key()
    subject = _name(f"{name} fedrad authority"[:64])
    now = clock.now()
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _begun(subject, subject, now, _YEARS_DAYS)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(_identifier(key), critical=False)
        .sign(key, hashes.SHA384())
    )
    signatures.write_pem_key(key_path(home, CA_KEY), key)
    write_secret(key_path(home, CA), _pem(certificate))
    signatures.write_pem_key(key_path(home, SIGNING_KEY), signatures.new_key())
    write_crl(home, (), clock)


def make_server(home: Path, host: str, clock: Clock, *, days: int) -> None:
    """Write a key and certificate of the gateway's server, vouched for by this authority."""
    _issue_server(home, (SERVER_KEY, SERVER), (host,), clock=clock, days=days)
    write_secret(key_path(home, SERVER_CA), key_path(home, CA).read_bytes())


def make_loopback(home: Path, clock: Clock, *, days: int) -> None:
    """Write a key and certificate of Flower's server, good on this machine only."""
    _issue_server(home, (LOOPBACK_KEY, LOOPBACK), LOOPBACK_HOSTS, clock=clock, days=days)


def take_given(home: Path, host: str, given: Given, clock: Clock) -> None:
    """Copy the institution's certificate files, if they fit each other and the address.

    Raises:
        SettingsError: A file cannot be read, the key is another's, or the chain does not lead
            from the host to the root, today.
    """
    try:
        chain = x509.load_pem_x509_certificates(given.certificate.read_bytes())
        roots = x509.load_pem_x509_certificates(given.ca.read_bytes())
        key = serialization.load_pem_private_key(given.key.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(str(error.filename), (f"{error.strerror}",)) from None
    except (ValueError, TypeError):
        line = "certificate, key (without a password) and ca must be PEM files"
        raise SettingsError(str(given.certificate), (line,)) from None
    if key.public_key() != chain[0].public_key():
        raise SettingsError(str(given.key), ("the key is not that of the certificate",))
    _refuse_unfit(host, chain, roots, clock)
    for name, path in ((SERVER_KEY, given.key), (SERVER, given.certificate), (SERVER_CA, given.ca)):
        write_secret(key_path(home, name), path.read_bytes())


def issue_hospital(home: Path, site: str, request: str, *, clock: Clock, days: int) -> str:
    """Return a client certificate for a hospital, PEM.

    Args:
        home: The coordinator's.
        site: Becomes the whole subject, ``CN=SITE``.
        request: The certificate request, PEM; only its key is taken.
        clock: From when it is good.
        days: For how long; never beyond the authority itself.
    """
    key = x509.load_pem_x509_csr(request.encode("ascii")).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise EnrolmentError("the certificate request is not of an elliptic-curve key")
    builder = _leaf(home, _name(site), ExtendedKeyUsageOID.CLIENT_AUTH, clock, days)
    certificate = builder.public_key(key).sign(_ca_key(home), hashes.SHA384())
    return _pem(certificate).decode("ascii")


def write_crl(home: Path, serials: Iterable[str], clock: Clock) -> None:
    """Write the list of revoked certificates, by serial in hexadecimal."""
    ca, now = read_certificate(key_path(home, CA)), clock.now()
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.subject)
    builder = builder.last_update(now - _BEFORE).next_update(ca.not_valid_after_utc)
    for serial in sorted(set(serials)):
        revoked = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
        builder = builder.add_revoked_certificate(revoked.revocation_date(now).build())
    crl = builder.sign(_ca_key(home), hashes.SHA384())
    write_secret(key_path(home, CRL), crl.public_bytes(serialization.Encoding.PEM))


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a file.

    Raises:
        DamagedStateError: There is none.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        raise DamagedStateError(f"{path} is missing or no certificate") from None


def serial_of(certificate: str) -> str:
    """Return a certificate's serial number as ``printed_serial`` does."""
    found = x509.load_pem_x509_certificate(certificate.encode("ascii"))
    return printed_serial(found.serial_number)


def printed_serial(number: int) -> str:
    """Return a serial number as nginx and OpenSSL print it: whole bytes, capitals."""
    text = f"{number:X}"
    return text if len(text) % 2 == 0 else f"0{text}"


def last_day(certificate: str) -> datetime:
    """Return until when a certificate is good, in UTC."""
    return x509.load_pem_x509_certificate(certificate.encode("ascii")).not_valid_after_utc


def _issue_server(
    home: Path, names: tuple[str, str], hosts: tuple[str, ...], *, clock: Clock, days: int
) -> None:
    key = signatures.new_key()
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)
        for host in hosts
    ]
    builder = _leaf(home, _name(hosts[0][:64]), ExtendedKeyUsageOID.SERVER_AUTH, clock, days)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.public_key(key.public_key()).sign(_ca_key(home), hashes.SHA384())
    key_path(home, names[0]).unlink(missing_ok=True)  # servers' keys may be replaced
    signatures.write_pem_key(key_path(home, names[0]), key)
    write_secret(key_path(home, names[1]), _pem(certificate))


def _leaf(
    home: Path, subject: x509.Name, usage: x509.ObjectIdentifier, clock: Clock, days: int
) -> x509.CertificateBuilder:
    ca = read_certificate(key_path(home, CA))
    now = clock.now()
    left = max(1, (ca.not_valid_after_utc - now).days)
    return (
        _begun(subject, ca.subject, now, min(days, left))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_authority_identifier(ca), critical=False)
    )


def _begun(
    subject: x509.Name, issuer: x509.Name, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - _BEFORE)
        .not_valid_after(now.astimezone(UTC) + timedelta(days=days))
    )


def _refuse_unfit(
    host: str, chain: list[x509.Certificate], roots: list[x509.Certificate], clock: Clock
) -> None:
    name: x509.DNSName | x509.IPAddress
    name = x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)
    verifier = PolicyBuilder().store(Store(roots)).time(clock.now()).build_server_verifier(name)
    try:
        verifier.verify(chain[0], chain[1:])
    except VerificationError as error:
        line = f"it does not lead from {host} to the ca: {error}"
        raise SettingsError("the server's certificate", (line,)) from None


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _identifier(key: PrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _ca_key(home: Path) -> PrivateKey:
    return signatures.read_key(key_path(home, CA_KEY))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
