"""Enrol hospitals into a study: check requests, make the contract, write invitations.

Everything is checked before anything is written. Noise and rates come from ``planning``; the
letters that readers see are dealt anew for each study, in an order that is drawn, so that no
letter tells a name. Whether a request is a hospital's own is for people to say: they compare
fingerprints before this is called.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from aggregator import authority, planning, studies
from aggregator.home import AUDIT, CoordinatorSettings, key_path, read_coordinator
from aggregator.links import issue, link
from aggregator.registry import Enrolled, read_sites, write_site
from aggregator.studies import Study
from fedrad import audit_log, signatures
from fedrad.clock import Clock, stamp
from fedrad.contract import Conditions, Contract, SiteTerms, contract_table
from fedrad.enrolment import (
    PROTOCOL,
    SCHEMA,
    Invitation,
    JoinRequest,
    study_digest,
    write_invitation,
)
from fedrad.errors import EnrolmentError, RunError, SettingsError
from fedrad.federation import SMALLEST_QUORUM
from fedrad.planning.noise import audit_sigma
from fedrad.settings import as_table
from fedrad.software import app_digest
from fedrad.starting_weights import pinned, starting_model
from fedrad.task import Task, read_task


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The study that hospitals are invited to."""

    study: str
    task: Path
    conditions: Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What came of it."""

    study: Study
    invitations: dict[str, Path]  # site -> file
    short: dict[str, str]  # site -> when its certificate ends, where that is before the study


def enrol(home: Path, requests: Sequence[JoinRequest], wishes: Wishes, clock: Clock) -> Enrolment:
    """Register hospitals and write an invitation for each.

    Before the first round it may be called again with other requests: the contract is made
    anew, hospitals that are known keep their letters, and all approve again.

    Args:
        home: The coordinator's.
        requests: Of every hospital of the study; their fingerprints were compared.
        wishes: The study.
        clock: From when certificates are good.

    Raises:
        EnrolmentError: A request cannot be accepted; nothing was written.
        RunError: Fewer than three hospitals would train, or rounds were run already.
        SettingsError: The task, its starting weights or the study's name cannot be used.
        PrivacyError: No noise would keep the study within its epsilon.
    """
    settings, known = read_coordinator(home), read_sites(home)
    task = read_task(wishes.task)
    _refuse_simulated(task)
    _refuse_misfits(requests, known)
    _refuse_few(task, requests)
    study = _study(home, task, requests, wishes, clock)
    studies.write_study(study, beside=wishes.task.parent)
    sites = {
        request.site: _register(home, request, known.get(request.site), settings, clock)
        for request in requests
    }
    paths = _invite(home, study, sites, settings, clock)
    ends = {name: authority.last_day(site.certificate).date() for name, site in sites.items()}
    last = wishes.conditions.expires
    short = {name: day.isoformat() for name, day in ends.items() if day.isoformat() < last}
    return Enrolment(study=study, invitations=paths, short=short)


def _refuse_simulated(task: Task) -> None:
    if task.exact or not task.privacy.enabled:
        line = "evaluation.release = 'exact' and privacy.enabled = false are for simulations only"
        raise SettingsError(task.task.name, (line,))


def _refuse_misfits(requests: Sequence[JoinRequest], known: Mapping[str, Enrolled]) -> None:
    for problem in _misfits(requests, known):
        raise EnrolmentError(problem)


def _misfits(requests: Sequence[JoinRequest], known: Mapping[str, Enrolled]) -> Iterator[str]:
    names = Counter(request.site for request in requests)
    keys = Counter(request.node_key for request in requests)
    owner = {key: site.site for site in known.values() for key in site.keys}
    for request in requests:
        name, before = request.site, known.get(request.site)
        whose = owner.get(request.node_key, name)
        if names[name] > 1:
            yield f"two requests are for site {name!r}; each hospital has one"
        if keys[request.node_key] > 1 or whose != name:
            yield (
                f"site {name!r} has the node key of another site: its home was copied; "
                "let it join anew in a home of its own"
            )
        if before is not None and not before.live:
            yield f"site {name!r} was revoked; let the hospital join anew under another name"
        if before is not None and before.node_key != request.node_key:
            yield (
                f"site {name!r} is enrolled with another key; if the hospital changed it, take "
                "its new request with fedrad-aggregator rotate"
            )


def _refuse_few(task: Task, requests: Iterable[JoinRequest]) -> None:
    train = sum(request.kind == "train" for request in requests)
    least = max(SMALLEST_QUORUM, task.federation.quorum)
    if train < least:
        raise RunError(
            f"{train} sites would train and {least} is the least: with fewer, a site could "
            "subtract itself from the aggregate; invite more (kind 'evaluate' does not count)"
        )


def _study(
    home: Path, task: Task, requests: Sequence[JoinRequest], wishes: Wishes, clock: Clock
) -> Study:
    folder, name = studies.study_folder(home, wishes.study), wishes.study
    if studies.run_folder(home, name).exists():
        raise RunError(f"rounds of {name!r} were run already; enrol under another study's name")
    if wishes.conditions.expired(clock.now()):
        raise SettingsError("--expires", (f"{wishes.conditions.expires} is over already",))
    before = studies.read_study(home, name) if name in studies.study_names(home) else None
    seed = secrets.randbits(53) if before is None else before.seed
    letters = {} if before is None else {s: t.label for s, t in before.contract.sites.items()}
    contract = make_contract(task, requests, wishes, letters=letters)
    module = starting_model(task, seed=seed, beside=wishes.task.parent)
    contract = replace(contract, starting=pinned(task, module))
    return Study(name=name, folder=folder, task=task, contract=contract, seed=seed)


def make_contract(
    task: Task,
    requests: Sequence[JoinRequest],
    wishes: Wishes,
    *,
    letters: Mapping[str, str],
) -> Contract:
    """Return the contract over all requests.

    Args:
        task: The study's.
        requests: Names, kinds and agreed numbers of patients.
        wishes: The study's name and conditions.
        letters: Of sites that have one already; the others' are drawn.
    """
    train = {r.site: r.patients_agreed for r in requests if r.kind == "train"}
    planned = planning.plan_contract(task, wishes.study, train)
    scored = {
        r.site: SiteTerms(
            label="",
            patients_agreed=r.patients_agreed,
            train_sigma=0.0,
            audit_sigma=audit_sigma(task),
            kind="evaluate",
        )
        for r in requests
        if r.kind == "evaluate"
    }
    sites = dict(sorted({**planned.sites, **scored}.items()))
    drawn, hours = _drawn(sites, letters), {r.site: r.hours for r in requests}
    labelled = {
        name: replace(terms, label=drawn[name], hours=hours[name]) for name, terms in sites.items()
    }
    return replace(planned, sites=labelled, conditions=wishes.conditions)


def _drawn(names: Iterable[str], before: Mapping[str, str]) -> dict[str, str]:
    """Deal letters: known names keep theirs, the others draw from the free ones."""
    names = list(names)
    new = [name for name in names if name not in before]
    alphabet = planning.letters(len(names) + len(before))
    free = [letter for letter in alphabet if letter not in before.values()][: len(new)]
    secrets.SystemRandom().shuffle(free)
    return {name: before[name] for name in names if name in before} | dict(
        zip(new, free, strict=True)
    )


def _register(
    home: Path,
    request: JoinRequest,
    before: Enrolled | None,
    settings: CoordinatorSettings,
    clock: Clock,
) -> Enrolled:
    if before is not None and _same_key(before.certificate, request.certificate_request):
        certificate, serials = before.certificate, before.serials
    else:
        certificate, serial = issue(home, request, settings, clock)
        serials = (*(before.serials if before else ()), serial)
    site = Enrolled(
        site=request.site,
        kind=request.kind,
        node_key=request.node_key,
        request=request.digest,
        certificate=certificate,
        serials=serials,
        revoked_serials=before.revoked_serials if before else (),
        former_keys=before.former_keys if before else (),
        patients_agreed=request.patients_agreed,
        app_digest=request.app_digest,
        fedrad_version=request.fedrad_version,
        enrolled=before.enrolled if before else stamp(clock),
        changed=stamp(clock),
    )
    write_site(home, site)
    note = {"site": site.site, "request": site.request, "serial": serials[-1]}
    audit_log.record(home / AUDIT, clock, "enrolled", **note)
    return site


def _same_key(certificate: str, request: str) -> bool:
    held = x509.load_pem_x509_certificate(certificate.encode("ascii")).public_key()
    return held == x509.load_pem_x509_csr(request.encode("ascii")).public_key()


def _invite(
    home: Path,
    study: Study,
    sites: Mapping[str, Enrolled],
    settings: CoordinatorSettings,
    clock: Clock,
) -> dict[str, Path]:
    key = signatures.read_key(key_path(home, authority.SIGNING_KEY))
    paths, digest = {}, app_digest()
    for name, site in sites.items():
        seen = study.contract.seen_by(name)
        invitation = Invitation(
            schema=SCHEMA,
            protocol=PROTOCOL,
            site=name,
            request=site.request,
            link=link(home, site, settings),
            created=stamp(clock),
            study=study.name,
            task=as_table(study.task),
            contract=contract_table(seen),
            study_digest=study_digest(study.task, seen),
            app_digest=digest,
        )
        paths[name] = study.folder / studies.INVITATIONS / f"{name}.json"
        write_invitation(paths[name], invitation, key)
        note = {"site": name, "study": study.name, "digest": invitation.study_digest}
        audit_log.record(home / AUDIT, clock, "invited", **note)
    return paths
