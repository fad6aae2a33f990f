"""Take in what a coordinator answered: an invitation to a study, or a renewal of certificates.

Every check has its own reason, and everything is checked before anything is written. What a
person must compare, the coordinator's fingerprint, is asked for until the coordinator is known.
An invitation is only laid beside the study (``proposed.json``): what it proposes holds once
``approvals`` has a person's word.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from fedrad import durable, signatures
from fedrad.clock import Clock
from fedrad.contract import Contract
from fedrad.enrolment import Invitation, JoinRequest, Renewal, read_invitation, read_request
from fedrad.errors import EnrolmentError
from fedrad.task import Task
from site_client import audit
from site_client.approvals import PROPOSED, reseal
from site_client.joining import NEXT, NEXT_REQUEST, NODE_KEY, REQUEST, TLS_KEY, node_key
from site_client.settings import SiteSettings, read_site
from site_client.settings_edit import put_values
from site_client.study import study_folder

TLS, CA = "tls.pem", "coordinator-ca.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a coordinator answered, checked against this site but not yet believed."""

    source: Path
    answer: Invitation | Renewal
    task: Task | None  # of an invitation
    contract: Contract | None
    known: bool  # whether this coordinator was compared before

    @property
    def fingerprint(self) -> str:
        """The coordinator's, as it reads it out."""
        return signatures.spoken(signatures.key_digest(self.answer.link.coordinator_key))


def read_offer(home: Path, path: Path, clock: Clock) -> Offer:
    """Read an invitation or a renewal and check all that needs no person.

    Raises:
        EnrolmentError: It was changed, is for another site or request, from another
            coordinator than the known one, or its certificate or contract does not fit.
        SettingsError: ``site.toml`` or the task cannot be used.
    """
    settings, answer = read_site(home), read_invitation(path)
    _refuse_foreign(home, settings, answer)
    _check_certificate(home, answer, clock)
    task = contract = None
    if isinstance(answer, Invitation):
        task, contract = answer.offer()
        _check_terms(home, settings, contract, clock)
    offer = Offer(source=path, answer=answer, task=task, contract=contract, known=False)
    return _recognised(offer, settings)


def refuse_stranger(offer: Offer, heard: str) -> None:
    """Refuse a coordinator whose fingerprint is not what the person heard; known ones pass.

    Raises:
        EnrolmentError: It differs.
    """
    if not offer.known and not signatures.same_spoken(
        heard, signatures.key_digest(offer.answer.link.coordinator_key)
    ):
        raise EnrolmentError(
            f"{offer.source} was signed by the key {offer.fingerprint}; what you were told is "
            "another: it does not come from your coordinator"
        )


def take_in(home: Path, offer: Offer, clock: Clock) -> None:
    """Install certificates and ``[coordinator]``; lay an invitation beside its study.

    Call ``refuse_stranger`` first. Interrupted, it may be called again.
    """
    answer = offer.answer
    if isinstance(answer, Renewal):
        _move_keys(home)
    durable.write_bytes(home / "keys" / TLS, answer.link.certificate.encode("ascii"))
    durable.write_bytes(home / "keys" / CA, answer.link.ca.encode("ascii"))
    about = {
        "name": answer.link.coordinator,
        "address": answer.link.address,
        "key": offer.fingerprint,
    }
    put_values(home, "coordinator", about)
    if isinstance(answer, Invitation):
        folder = study_folder(home, answer.study)
        durable.write_bytes(folder / PROPOSED, offer.source.read_bytes())
        note = {"study": answer.study, "digest": answer.study_digest}
        audit.record(home, clock, "invited", **note)
    else:
        audit.record(home, clock, "renewed", request=answer.request)


def _refuse_foreign(home: Path, settings: SiteSettings, answer: Invitation | Renewal) -> None:
    name = settings.site.name
    if answer.site != name:
        raise EnrolmentError(f"it is for site {answer.site!r}; this is {name!r}")
    asked = _asked(home, answer)
    if asked.digest != answer.request:
        raise EnrolmentError(
            "it answers another request than this home's; send the coordinator "
            f"{home / _request_name(answer)}, whose fingerprint is "
            f"{signatures.spoken(asked.digest)}"
        )


def _asked(home: Path, answer: Invitation | Renewal) -> JoinRequest:
    path = home / _request_name(answer)
    taken = isinstance(answer, Renewal) and not path.exists()  # an interrupted call's
    if taken:
        path = home / REQUEST
    if not path.exists():
        raise EnrolmentError("this site never asked to join; fedrad-site join writes a request")
    return read_request(path)


def _request_name(answer: Invitation | Renewal) -> str:
    return NEXT_REQUEST if isinstance(answer, Renewal) else REQUEST


def _check_certificate(home: Path, answer: Invitation | Renewal, clock: Clock) -> None:
    try:
        found = x509.load_pem_x509_certificate(answer.link.certificate.encode("ascii"))
        x509.load_pem_x509_certificates(answer.link.ca.encode("ascii"))
    except Exception:  # noqa: BLE001  # a stranger's bytes in a parser that promises little
        raise EnrolmentError("its certificates cannot be read") from None
    path = home / NEXT / TLS_KEY
    if not (isinstance(answer, Renewal) and path.exists()):
        path = home / "keys" / TLS_KEY
    key = load_pem_private_key(path.read_bytes(), password=None)
    names = [part.value for part in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if found.public_key() != key.public_key() or names != [answer.site]:
        raise EnrolmentError("its certificate is not for this site's key and name")
    _refuse_older(home / "keys" / TLS, found)
    if not found.not_valid_before_utc <= clock.now() <= found.not_valid_after_utc:
        raise EnrolmentError(
            f"its certificate is good from {found.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and here it is "
            f"{clock.now():%Y-%m-%d %H:%M}: ask for a new one, or set this machine's clock"
        )


def _refuse_older(path: Path, found: x509.Certificate) -> None:
    """Refuse a letter that was overtaken: its certificate may have been revoked since."""
    if not path.exists():
        return
    installed = x509.load_pem_x509_certificate(path.read_bytes())
    if found.not_valid_before_utc < installed.not_valid_before_utc:
        raise EnrolmentError(
            f"its certificate is of {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and a newer "
            f"one, of {installed.not_valid_before_utc:%Y-%m-%d %H:%M}, is installed here: take "
            "the last file that your coordinator sent"
        )


def _check_terms(home: Path, settings: SiteSettings, contract: Contract, clock: Clock) -> None:
    terms, asked = contract.sites[settings.site.name], read_request(home / REQUEST)
    if contract.conditions is None:
        raise EnrolmentError("its contract says no expiry and no recipients; only simulations may")
    if contract.conditions.expired(clock.now()):
        raise EnrolmentError(f"its contract expired on {contract.conditions.expires}")
    if terms.kind != asked.kind:
        raise EnrolmentError(
            f"its contract wants this site to {terms.kind}; this site offered to {asked.kind}"
        )
    if terms.hours != asked.hours:
        raise EnrolmentError(
            f"its contract says hours {terms.hours!r} of this site; promised were {asked.hours!r}"
        )
    if terms.patients_agreed != asked.patients_agreed:
        raise EnrolmentError(
            f"its contract says {terms.patients_agreed} patients of this site; "
            f"offered were {asked.patients_agreed}"
        )


def _recognised(offer: Offer, settings: SiteSettings) -> Offer:
    from dataclasses import replace

    pinned = settings.coordinator
    if pinned is None:
        return offer
    if pinned.key != offer.fingerprint:
        raise EnrolmentError(
            f"it was signed by {offer.fingerprint}; this site's coordinator is {pinned.key} "
            "([coordinator] key in site.toml): take that table out if the coordinator changed, "
            "and compare the new fingerprint by telephone"
        )
    return replace(offer, known=True)


def _move_keys(home: Path) -> None:
    """Put the keys that wait in ``keys/next`` in their places; what they sealed is resealed."""
    waiting = home / NEXT / NODE_KEY
    if waiting.exists():
        reseal(home, node_key(home), signatures.read_key(waiting))
        waiting.replace(home / "keys" / NODE_KEY)
    for source, target in (
        (home / NEXT / TLS_KEY, home / "keys" / TLS_KEY),
        (home / NEXT_REQUEST, home / REQUEST),
    ):
        if source.exists():
            source.replace(target)
    durable.sync_folder(home / "keys")
