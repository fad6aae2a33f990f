"""A hospital's certificates and keys after enrolment: revoked, or changed for new ones.

A revoked hospital is out at once and for good under that name. A rotation takes a request that
the hospital's known key endorsed, so that nobody has to read fingerprints again; a node key
that was changed is refused from then on, an older certificate is good until it runs out unless
it is revoked too. Private keys stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from aggregator import authority
from aggregator.home import AUDIT, key_path, read_coordinator
from aggregator.links import issue, link
from aggregator.registry import Enrolled, read_sites, revoked_serials, write_site
from fedrad import audit_log, signatures
from fedrad.clock import Clock, stamp
from fedrad.enrolment import PROTOCOL, SCHEMA, JoinRequest, Renewal, write_invitation
from fedrad.errors import EnrolmentError

RENEWALS = "renewals"


def revoke(home: Path, name: str, clock: Clock) -> Enrolled:
    """Shut a hospital out; again changes nothing.

    Raises:
        EnrolmentError: There is no such hospital.
    """
    site = _known(home, name)
    if not site.live:
        return site
    gone = replace(
        site,
        status="revoked",
        serials=(),
        revoked_serials=(*site.revoked_serials, *site.serials),
        changed=stamp(clock),
    )
    _shut(home, gone, clock, site.serials)
    return gone


def rotate(home: Path, request: JoinRequest, clock: Clock) -> Path:
    """Take a hospital's new keys and write its renewal.

    Args:
        home: The coordinator's.
        request: Endorsed by the node key that is known.
        clock: From when the certificate is good.

    Returns:
        The renewal's file, for the hospital.

    Raises:
        EnrolmentError: The hospital is not enrolled, or the request is not endorsed by its key.
    """
    site, settings = _known(home, request.site), read_coordinator(home)
    _refuse_rotation(home, site, request)
    certificate, serial = issue(home, request, settings, clock)
    former = site.former_keys
    if request.node_key != site.node_key:
        former = (*former, site.node_key)
    changed = replace(
        site,
        node_key=request.node_key,
        request=request.digest,
        certificate=certificate,
        serials=(*site.serials, serial),
        former_keys=former,
        app_digest=request.app_digest,
        fedrad_version=request.fedrad_version,
        changed=stamp(clock),
    )
    write_site(home, changed)
    audit_log.record(home / AUDIT, clock, "rotated", site=site.site, serial=serial)
    return _renew(home, changed, clock)


def revoke_older(home: Path, name: str, clock: Clock) -> Enrolled:
    """Revoke all certificates of a hospital but the newest, because one of them was lost."""
    site = _known(home, name)
    *older, newest = site.serials
    kept = replace(
        site,
        serials=(newest,),
        revoked_serials=(*site.revoked_serials, *older),
        changed=stamp(clock),
    )
    _shut(home, kept, clock, older)
    return kept


def renew_servers(home: Path, clock: Clock) -> None:
    """Make new keys and certificates of this home's servers; hospitals need nothing new.

    Raises:
        EnrolmentError: The gateway's certificate is the institution's; it alone can renew it.
    """
    settings = read_coordinator(home)
    days = settings.certificates.server_days
    if (
        key_path(home, authority.SERVER_CA).read_bytes()
        != key_path(home, authority.CA).read_bytes()
    ):
        raise EnrolmentError(
            "the gateway's certificate was given by the institution: put its new files into "
            f"keys/ as {authority.SERVER} and {authority.SERVER_KEY}"
        )
    authority.make_server(home, settings.coordinator.host, clock, days=days)
    authority.make_loopback(home, clock, days=days)
    audit_log.record(home / AUDIT, clock, "servers-renewed")


def _shut(home: Path, site: Enrolled, clock: Clock, serials: Iterable[str]) -> None:
    write_site(home, site)
    authority.write_crl(home, revoked_serials(read_sites(home)), clock)
    audit_log.record(home / AUDIT, clock, "revoked", site=site.site, serials=list(serials))


def _known(home: Path, name: str) -> Enrolled:
    sites = read_sites(home)
    if name not in sites:
        known = ", ".join(sites) or "nobody"
        raise EnrolmentError(f"no site {name!r} is enrolled; enrolled are: {known}")
    return sites[name]


def _refuse_rotation(home: Path, site: Enrolled, request: JoinRequest) -> None:
    if not site.live:
        raise EnrolmentError(f"site {site.site!r} was revoked; it cannot change its keys")
    if request.replaces != site.node_key:
        raise EnrolmentError(
            f"the request of {site.site!r} is not endorsed by the node key that is enrolled; "
            "let the hospital make it with fedrad-site join --rotate in its own home"
        )
    others = [other for other in read_sites(home).values() if other.site != site.site]
    if any(request.node_key in other.keys for other in others) or (
        request.node_key in site.former_keys
    ):
        raise EnrolmentError(f"the new node key of {site.site!r} was in use before; make a new one")


def _renew(home: Path, site: Enrolled, clock: Clock) -> Path:
    renewal = Renewal(
        schema=SCHEMA,
        protocol=PROTOCOL,
        site=site.site,
        request=site.request,
        link=link(home, site, read_coordinator(home)),
        created=stamp(clock),
    )
    path = home / RENEWALS / f"{site.site}.json"
    key = signatures.read_key(key_path(home, authority.SIGNING_KEY))
    write_invitation(path, renewal, key)
    return path
