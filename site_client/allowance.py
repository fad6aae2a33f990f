"""What a site's own limits and ledger would allow of a study that nobody signed yet.

The guard decides, as it would in round one; nothing is written. For the site's own screen:
how much was spent before shows in the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrad.clock import SystemClock
from fedrad.contract import SCHEMA, Contract, SiteTerms
from fedrad.errors import PrivacyError
from fedrad.planning import noise
from fedrad.privacy.accounting import plan_sigma
from fedrad.privacy.ledger import Charge, Line, Stream, reply_of
from fedrad.protocol.checks import agreed_event, agreed_steps
from fedrad.task import Task, task_hash
from site_client import guard, study
from site_client.journal import Journal
from site_client.settings import SiteSettings

_RESERVATION = "0" * 64  # of a charge that is never made


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What the site would say to the planned study, and how far it would get."""

    approved: bool  # the task's hash is in [approval] studies
    refusals: tuple[str, ...]  # why the first round or release, or a later one, is refused
    epsilon_limit: float  # the smaller of the site's limits for this task
    delta_limit: float
    rounds_wanted: int  # spare rounds included
    rounds_allowed: int  # by every limit; 0 where the first is refused
    releases_wanted: int
    releases_allowed: int
    noise_that_fits: float | None  # for all rounds, where the planned noise does not do

    @property
    def enough(self) -> bool:
        """Whether the whole study could run, once it is approved."""
        return not self.refusals


def read_allowance(home: Path, settings: SiteSettings, task: Task, *, agreed: int) -> Allowance:
    """Ask the guard about a study.

    Args:
        home: The site's folder; read only.
        settings: The site's word.
        task: The study's task.
        agreed: The site's agreed training patients, 1 or more.

    Raises:
        LedgerError: The ledger does not verify.
        DamagedStateError: ``state/charged.json`` cannot be read.
        PrivacyError: No noise would keep the study within its epsilon.
    """
    return allowed(home, settings, task, agreed=agreed, lines=Journal(home, SystemClock()).lines())


def allowed(
    home: Path, settings: SiteSettings, task: Task, *, agreed: int, lines: Sequence[Line]
) -> Allowance:
    """Ask the guard about a study if ``lines`` were the ledger; else as ``read_allowance``."""
    train = _ask(home, settings, task, stream="train", agreed=agreed, lines=lines)
    audit = _ask(home, settings, task, stream="audit", agreed=agreed, lines=lines)
    reach = _reach(settings, train, audit, lines)
    against = [*_dealt_anew(home, settings)]
    no_round, no_release = ([*against, *_refusals(settings, ask, lines)] for ask in (train, audit))
    shown = [f"the first release: {said}" for said in no_release if said not in no_round]
    fits = reach.by_epsilon >= reach.rounds
    return Allowance(
        approved=task_hash(task) in settings.approval.studies,
        refusals=(*no_round, *shown, *_too_far(settings, reach)),
        epsilon_limit=_epsilon_limit(settings, task),
        delta_limit=settings.privacy.delta_limit,
        rounds_wanted=reach.rounds,
        rounds_allowed=0 if no_round else min(reach.by_epsilon, reach.by_number, reach.rounds),
        releases_wanted=reach.releases,
        releases_allowed=0 if no_release else reach.measured,
        noise_that_fits=None if fits else _enough_noise(settings, task, agreed, lines),
    )


def as_lines(found: Allowance) -> Iterator[str]:
    """Yield the allowance in words, one paragraph each; what belongs to the first is indented."""
    yield (
        f"site.toml allows epsilon {found.epsilon_limit:g} at delta {found.delta_limit:g}: "
        f"{found.rounds_allowed} of {found.rounds_wanted} rounds, "
        f"{found.releases_allowed} of {found.releases_wanted} releases."
    )
    for refusal in found.refusals:
        yield f"  refused: {refusal}"
    if found.noise_that_fits is not None:
        yield f"  epsilon would last for all rounds at noise {found.noise_that_fits:g}"
    if not found.approved:
        yield "  not approved yet: `fedrad-site task` prints the line for [approval] in site.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """How far a study would get, in rounds that train and in releases."""

    rounds: int  # wanted, spare ones included
    by_epsilon: int  # rounds
    by_number: int  # rounds, by max_rounds
    releases: int  # wanted
    measured: int  # releases, by epsilon


def _reach(
    settings: SiteSettings, train: guard.Ask, audit: guard.Ask, lines: Sequence[Line]
) -> _Reach:
    task, each = train.task, train.task.training.steps
    steps, releases = agreed_steps("train", task), agreed_steps("audit", task)
    return _Reach(
        rounds=steps // each,
        by_epsilon=_affordable(settings, train, lines, steps=steps) // each,
        by_number=_rounds_left(settings, train, lines),
        releases=releases,
        measured=_affordable(settings, audit, lines, steps=releases),
    )


def _affordable(
    settings: SiteSettings, ask: guard.Ask, lines: Sequence[Line], *, steps: int
) -> int:
    """Return for how many of ``steps`` epsilon lasts; for all of them where they are exact."""
    return steps if ask.charge.exact else min(steps, guard.steps_that_fit(settings, ask, lines))


def _too_far(settings: SiteSettings, reach: _Reach) -> Iterator[str]:
    """Yield why a study that may begin cannot end."""
    if reach.by_number < reach.rounds:
        yield (
            f"max_rounds {settings.privacy.max_rounds} in site.toml leaves {reach.by_number} of "
            f"the {reach.rounds} rounds, spare ones included; ask for fewer or raise it"
        )
    if reach.by_epsilon < reach.rounds:
        yield (
            f"epsilon lasts for {reach.by_epsilon} of the {reach.rounds} rounds, spare ones "
            "included; ask for fewer or more noise, or raise the limit in site.toml"
        )
    if reach.measured < reach.releases:
        yield (
            f"epsilon lasts for {reach.measured} of the {reach.releases} releases; ask for "
            "fewer, or raise the limit in site.toml"
        )


def _ask(  # noqa: PLR0913  # one argument for each thing that the guard looks at
    home: Path,
    settings: SiteSettings,
    task: Task,
    *,
    stream: Stream,
    agreed: int,
    lines: Sequence[Line],
) -> guard.Ask:
    site, known = settings.site.name, study.read_charged(home)
    terms = SiteTerms(
        label="A",
        patients_agreed=agreed,
        train_sigma=noise.train_sigma(task, agreed),
        audit_sigma=noise.audit_sigma(task),
    )
    contract = Contract(schema=SCHEMA, study="", task_hash=task_hash(task), sites={site: terms})
    charge = Charge(
        reservation=_RESERVATION,
        stream=stream,
        task_hash=contract.task_hash,
        event=agreed_event(stream, task, contract, site),
        patients_agreed=agreed,
    )
    return guard.Ask(
        task=task,
        charge=charge,
        simulated=False,
        revisions=known.revisions(task.task.name, lines),
        charged=known.plans,
    )


def _dealt_anew(home: Path, settings: SiteSettings) -> Iterator[str]:
    try:
        study.charged(home, settings, lines=len(Journal(home, SystemClock()).lines()))
    except PrivacyError as error:
        yield _said(settings, error)


def _refusals(settings: SiteSettings, ask: guard.Ask, lines: Sequence[Line]) -> Iterator[str]:
    try:
        guard.check_round(settings, ask, lines)
    except PrivacyError as error:
        yield _said(settings, error)


def _said(settings: SiteSettings, error: PrivacyError) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return str(error).removeprefix(f"site {settings.site.name!r} declines: ") + notes


def _epsilon_limit(settings: SiteSettings, task: Task) -> float:
    limits = settings.privacy
    return min(limits.epsilon_limit, limits.per_task.get(task.task.name, limits.epsilon_limit))


def _rounds_left(settings: SiteSettings, ask: guard.Ask, lines: Sequence[Line]) -> int:
    charged = {reply_of(line) for line in ask.same_task(lines) if line.stream == "train"}
    return max(0, settings.privacy.max_rounds - len(charged))


def _enough_noise(
    settings: SiteSettings, task: Task, agreed: int, lines: Sequence[Line]
) -> float | None:
    """Return a noise multiplier at which all rounds fit; only a fresh ledger has a simple one.

    Both the site's limits and the task's own epsilon are kept.
    """
    limits = settings.privacy
    if any(line.mechanism != "exact" for line in lines):
        return None
    limit = min(_epsilon_limit(settings, task), task.privacy.epsilon)
    steps, q = agreed_steps("train", task), noise.sampling_rate(task, agreed)
    delta = min(limits.delta_limit, task.privacy.delta)
    enough = plan_sigma(epsilon=limit, delta=delta, q=q, steps=steps)
    return max(enough, limits.min_noise)
