"""What ties a hospital to this coordinator: its certificate, and how it reaches us."""

from __future__ import annotations

from pathlib import Path

from aggregator import authority
from aggregator.home import CoordinatorSettings, key_path
from aggregator.opening import public_key
from aggregator.registry import Enrolled
from fedrad.clock import Clock
from fedrad.enrolment import JoinRequest, Link


def link(home: Path, site: Enrolled, settings: CoordinatorSettings) -> Link:
    """Return how a hospital reaches this coordinator, with its own certificate."""
    return Link(
        coordinator=settings.coordinator.name,
        coordinator_key=public_key(home),
        address=settings.coordinator.address,
        ca=key_path(home, authority.SERVER_CA).read_text("ascii"),
        certificate=site.certificate,
    )


def issue(
    home: Path, request: JoinRequest, settings: CoordinatorSettings, clock: Clock
) -> tuple[str, str]:
    """Return a new certificate for a request, PEM, and its serial number."""
    days = settings.certificates.hospital_days
    pem = authority.issue_hospital(
        home, request.site, request.certificate_request, clock=clock, days=days
    )
    return pem, authority.serial_of(pem)
