"""What a check says of the hospital's own word: approval, limits, what the ledger leaves.

The guard decides, through ``allowance``; nothing is charged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from fedrad.clock import Clock
from fedrad.errors import DeclinedError, PrivacyError
from fedrad.task import task_hash
from site_client import audit
from site_client.allowance import Allowance, as_lines, read_allowance
from site_client.approvals import refuse_unapproved_software
from site_client.guard import check_anchor
from site_client.journal import Journal
from site_client.preflight.lines import DAMAGED, POLICY, Line, no, ok, warning
from site_client.preflight.patient_lines import agreed_here
from site_client.preflight.stock import Place, Stock
from site_client.seal import read_seal

_LIMITS = "this site's limits"


def limit_lines(place: Place, stock: Stock, clock: Clock) -> Iterator[Line]:
    """Yield what there is to say of approval, ledger, limits and the cohort's seal."""
    yield _approval(place)
    yield _software(place)
    try:
        lines = Journal(place.home, clock).lines()
        check_anchor(audit.last_head(place.home), lines)
        yield ok("ledger", f"{len(lines)} lines, every one verified")
        yield from _allowed(place, stock)
    except PrivacyError as error:
        damaged = error.exit_code == DAMAGED
        about, code = ("ledger", DAMAGED) if damaged else (_LIMITS, POLICY)
        yield no(about, str(error), do="", code=code)
    yield _seal(place)


def _approval(place: Place) -> Line:
    hash_ = task_hash(place.task)
    if hash_ in place.settings.approval.studies:
        return ok("approval", "the task is in [approval] studies")
    do = f"once this hospital agrees: fedrad-site approve, which lists {hash_}"
    return warning("approval", "the task is not approved yet", do=do)


def _software(place: Place) -> Line:
    try:
        refuse_unapproved_software(place.home, place.settings)
    except DeclinedError as error:
        return warning("software", str(error), do="a coordinator's study needs IT's approval too")
    return ok("software", "what is installed was approved")


def _allowed(place: Place, stock: Stock) -> Iterator[Line]:
    train = stock.patients("train")
    if train is None:
        return
    agreed = max(1, agreed_here(place, train))
    privacy = dataclasses.replace(place.settings.privacy, min_patients=1)  # has a line of its own
    settings = dataclasses.replace(place.settings, privacy=privacy)
    found = read_allowance(place.home, settings, place.task, agreed=agreed)
    for number, refusal in enumerate(found.refusals, 1):
        do = _noise(found) if number == len(found.refusals) else ""
        yield no(_LIMITS, refusal, do=do, code=POLICY)
    if found.enough:
        yield ok(_LIMITS, next(as_lines(found)).removeprefix("site.toml allows ").rstrip("."))


def _noise(found: Allowance) -> str:
    if found.noise_that_fits is None:
        return ""
    return f"epsilon would last for all rounds at noise {found.noise_that_fits:g}"


def _seal(place: Place) -> Line:
    seal = read_seal(place.home, task_hash(place.task))
    if seal is None:
        return ok("cohort", "not sealed; fedrad-site freeze does it when nothing is left to mend")
    return ok("cohort", f"sealed at {seal.time}; later exams count in the window only")
