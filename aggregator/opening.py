"""Open a coordinator's home: ``fedrad-aggregator init``.

Folders, the authority, the servers' certificates and, last, ``aggregator.toml``: without that
file a home is not one yet, and a call that was interrupted is simply made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aggregator import authority
from aggregator.authority import Given
from aggregator.home import (
    AUDIT,
    FILE,
    CertificateSettings,
    Coordinator,
    key_path,
    make_folders,
    write_settings,
)
from fedrad import audit_log, signatures
from fedrad.clock import Clock
from fedrad.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A home that was just made."""

    home: Path
    coordinator: Coordinator
    fingerprint: str  # of the signing key: what hospitals are told by telephone


def open_home(
    home: Path, coordinator: Coordinator, clock: Clock, *, listen: str, given: Given | None = None
) -> Opened:
    """Make a coordinator's home.

    Args:
        home: A new or empty folder.
        coordinator: Its name and public address.
        clock: From when certificates are good.
        listen: Where the gateway answers on this machine.
        given: The institution's certificate files; absent: from the home's own authority.

    Raises:
        SettingsError: It is a home already, or the given files do not fit.
    """
    if (home / FILE).exists():
        raise SettingsError(str(home), ("it is a coordinator's home already; nothing is changed",))
    make_folders(home)
    for name in (authority.CA_KEY, authority.SIGNING_KEY):
        key_path(home, name).unlink(missing_ok=True)  # of a call that was interrupted
    days = CertificateSettings().server_days
    authority.make_authority(home, coordinator.name, clock)
    authority.make_loopback(home, clock, days=days)
    if given is None:
        authority.make_server(home, coordinator.host, clock, days=days)
    else:
        authority.take_given(home, coordinator.host, given, clock)
    write_settings(home, coordinator, listen=listen)
    opened = Opened(home=home, coordinator=coordinator, fingerprint=fingerprint(home))
    audit_log.record(home / AUDIT, clock, "opened", fingerprint=opened.fingerprint)
    return opened


def fingerprint(home: Path) -> str:
    """Return what a hospital is told by telephone: the signing key as people read it out."""
    return signatures.spoken(signatures.key_digest(public_key(home)))


def public_key(home: Path) -> str:
    """Return the public half of the signing key, an OpenSSH line."""
    return signatures.public_text(signatures.read_key(key_path(home, authority.SIGNING_KEY)))
