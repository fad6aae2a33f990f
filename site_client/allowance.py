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
    refusals: tuple[str, ...]  # the guard's sentences about the first round and release
    epsilon_limit: float  # the smaller of the site's limits for this task
    delta_limit: float
    rounds_wanted: int  # spare rounds included
    rounds_allowed: int  # by epsilon and max_rounds
    releases_wanted: int
    releases_allowed: int
    noise_that_fits: float | None  # for all rounds, where the planned noise does not do

    @property
    def enough(self) -> bool:
        """Whether the whole study could run, once it is approved."""
        rounds = self.rounds_allowed >= self.rounds_wanted
        return not self.refusals and rounds and self.releases_allowed >= self.releases_wanted


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
    lines = Journal(home, SystemClock()).lines()
    train = _ask(home, settings, task, stream="train", agreed=agreed, lines=lines)
    audit = _ask(home, settings, task, stream="audit", agreed=agreed, lines=lines)
    limits = settings.privacy
    wanted = agreed_steps("train", task) // task.training.steps
    by_epsilon = guard.steps_that_fit(settings, train, lines) // task.training.steps
    rounds = min(by_epsilon, _rounds_left(settings, train, lines), wanted)
    releases = agreed_steps("audit", task)
    fits = by_epsilon >= wanted or train.charge.exact
    return Allowance(
        approved=task_hash(task) in settings.approval.studies,
        refusals=tuple(_refusals(home, settings, (train, audit), lines)),
        epsilon_limit=min(limits.epsilon_limit, limits.per_task.get(task.task.name, float("inf"))),
        delta_limit=limits.delta_limit,
        rounds_wanted=wanted,
        rounds_allowed=rounds,
        releases_wanted=releases,
        releases_allowed=min(releases, guard.steps_that_fit(settings, audit, lines)),
        noise_that_fits=None if fits else _enough_noise(settings, task, agreed, lines),
    )


def as_lines(found: Allowance) -> Iterator[str]:
    """Yield the allowance in words."""
    yield (
        f"site.toml allows epsilon {found.epsilon_limit:g} at delta {found.delta_limit:g}: "
        f"{found.rounds_allowed} of {found.rounds_wanted} rounds, "
        f"{found.releases_allowed} of {found.releases_wanted} releases."
    )
    for refusal in found.refusals:
        yield f"  refused: {refusal}"
    if found.noise_that_fits is not None:
        yield f"  all rounds would fit at noise {found.noise_that_fits:g}"
    if not found.approved:
        yield "  the task is not approved yet: `fedrad-site task` prints what to put into site.toml"


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


def _refusals(
    home: Path, settings: SiteSettings, asks: Sequence[guard.Ask], lines: Sequence[Line]
) -> Iterator[str]:
    found: list[str] = []
    try:
        study.charged(home, settings, lines=len(lines))
    except PrivacyError as error:
        found.append(str(error))
    for ask in asks:
        try:
            guard.check_round(settings, ask, lines)
        except PrivacyError as error:
            found.append(str(error))
    yield from dict.fromkeys(found)


def _rounds_left(settings: SiteSettings, ask: guard.Ask, lines: Sequence[Line]) -> int:
    charged = {reply_of(line) for line in ask.same_task(lines) if line.stream == "train"}
    return max(0, settings.privacy.max_rounds - len(charged))


def _enough_noise(
    settings: SiteSettings, task: Task, agreed: int, lines: Sequence[Line]
) -> float | None:
    """Return a noise multiplier at which all rounds fit; only a fresh ledger has a simple one."""
    limits = settings.privacy
    if any(line.mechanism != "exact" for line in lines):
        return None
    limit = min(limits.epsilon_limit, limits.per_task.get(task.task.name, limits.epsilon_limit))
    steps, q = agreed_steps("train", task), noise.sampling_rate(task, agreed)
    delta = min(limits.delta_limit, task.privacy.delta)
    enough = plan_sigma(epsilon=limit, delta=delta, q=q, steps=steps)
    return max(enough, limits.min_noise)
