"""Decide whether the site can afford what it is asked, before anything is spent.

``site.toml`` outranks the request. The errors carry the numbers for the site's own screen;
which single word goes over the wire is ``round``'s business. Nothing is written here: call
this and ``Journal.reserve`` inside one ``Journal.exclusive`` block. Where the answer would
be private, no decision depends on how many patients there are: the agreed number is public.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from fedrad.errors import BudgetExceededError, LostLinesError, NotReadyError, PrivacyError
from fedrad.privacy.bounds import Bound, Limit, Plans, bound, touched
from fedrad.privacy.ledger import Charge, Line, Stream, reply_of, stands_for
from fedrad.protocol.checks import agreed_steps
from fedrad.task import Task
from site_client.settings import SiteSettings

OWN = "the task's own"  # the name of a contract's limit, beside those of site.toml
_MOST_STEPS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One charge that a site is asked to accept."""

    task: Task
    charge: Charge
    simulated: bool  # only a simulation may run what is not private
    revisions: frozenset[str] = frozenset()  # charged hashes of the task's name
    charged: Plans = field(default_factory=dict)  # how long the charged contracts are

    def same_task(self, lines: Sequence[Line]) -> list[Line]:
        """Return the lines of this task, revisions of it included."""
        hashes = self.revisions | {self.charge.task_hash}
        return [line for line in lines if line.task_hash in hashes]

    @property
    def plans(self) -> Plans:
        """How long the charged contracts are, and that of this charge."""
        streams: tuple[Stream, ...] = ("train", "audit", self.charge.stream)
        own: dict[str, int] = {stream: agreed_steps(stream, self.task) for stream in streams}
        return {**self.charged, self.charge.task_hash: own}


def check_round(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> None:
    """Accept a charge silently or refuse it with the site's own sentence.

    Args:
        settings: The site's word.
        ask: What is asked.
        lines: The site's whole ledger, all tasks.

    Raises:
        NotReadyError: Fewer agreed patients than the site wants for private training.
        BudgetExceededError: The charge would pass the task's own epsilon, or the site's for
            the task or in total; carries the epsilon it would reach and the limit.
        PrivacyError: Not private outside a simulation, less noise, more rounds or steps,
            or a larger delta than the site allows.
    """
    for problem in _problems(settings, ask, lines):
        raise PrivacyError(f"site {settings.site.name!r} declines: {problem}")
    if not ask.charge.exact:
        if ask.charge.stream == "train":
            agreed = ask.charge.patients_agreed
            _refuse_few(settings, "train", agreed, settings.privacy.min_patients)
        _refuse_overspending(settings, ask, lines)


def check_patients(settings: SiteSettings, ask: Ask, patients: int) -> None:
    """Abstain for too few patients, where the answer would not be private anyway.

    A private answer to nobody is noise alone: its outcome says nothing about the number.

    Args:
        settings: The site's word.
        ask: What is asked.
        patients: Exact number in the stream; never leaves the site.

    Raises:
        NotReadyError: Fewer than ``min_patients`` to train on, or nobody to measure.
    """
    if ask.charge.exact:
        smallest = settings.privacy.min_patients if ask.charge.stream == "train" else 1
        _refuse_few(settings, ask.charge.stream, patients, smallest)


def check_sharing(
    settings: SiteSettings, ask: Ask, lines: Sequence[Line], *, patients: int, train: int
) -> None:
    """Accept a feasibility record silently or refuse it with the site's own sentence.

    It is a person who asks, at this site, before any number is agreed: exact counts decide,
    and the refusal stays on the site's own screen.

    Args:
        settings: The site's word.
        ask: The record's charge; its agreed number is 0, for there is none yet.
        lines: The site's whole ledger, all tasks.
        patients: Everybody whom the record counts.
        train: Those among them who could be trained on.

    Raises:
        NotReadyError: Fewer to train on than ``min_patients``.
        BudgetExceededError, PrivacyError: As for ``check_round``; less noise than
            ``min_noise``; or a delta that is not below 1 / patients.
    """
    limits, noise = settings.privacy, ask.charge.event.multiplier
    _refuse_few(settings, "train", train, limits.min_patients)
    if limits.delta_limit * patients >= 1:
        raise PrivacyError(
            f"delta_limit {limits.delta_limit:g} is not below 1 / {patients} patients; "
            "a smaller one promises something"
        )
    if noise < limits.min_noise:
        raise PrivacyError(
            f"noise multiplier {noise:g} is under min_noise {limits.min_noise:g}; approve a "
            "smaller epsilon or lower it in site.toml"
        )
    check_round(settings, ask, lines)


def bounds(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> tuple[Bound, ...]:
    """Return every limit that a charge touches, with what counts under it."""
    return tuple(_bounds(settings, ask, lines))


def few(settings: SiteSettings, split: str, patients: int) -> tuple[str, ...]:
    """Return what the site's own screen says of a cohort below its minimum; often nothing.

    Private rounds go by the agreed number, so that no outcome tells the exact one.
    """
    least = settings.privacy.min_patients
    if split != "train" or patients >= least:
        return ()
    sentence = (
        f"there are {patients}, min_patients is {least}; the contract agreed on enough, so rounds "
        "go on: if that is not what this hospital wants, take the study out of [approval] studies"
    )
    return (sentence,)


def check_anchor(anchor: str, lines: Sequence[Line]) -> None:
    """Refuse to spend on a ledger that lacks what the aggregator saw of it.

    Args:
        anchor: Hash of the last line that the aggregator saw, or that the site itself noted
            when it last answered; empty if there is none.
        lines: The site's whole ledger.

    Raises:
        LostLinesError: No line has this hash.
    """
    if not anchor or any(line.hash == anchor for line in lines):
        return
    if any(stands_for(line) and anchor.startswith(stands_for(line)) for line in lines):
        return  # lost, and taken in again from the aggregator's list
    raise LostLinesError(
        "the ledger lacks the last line that left this site: it was deleted or rolled "
        "back, and what it spent would be forgotten; restore ledger.jsonl from a backup that "
        f"has a line with the hash {anchor}, or ask the coordinator for what this site told "
        "(fedrad-aggregator ledger) and take it in with fedrad-site ledger adopt"
    )


def steps_that_fit(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> int:
    """Return how many more steps at this noise and rate the site could afford, up to 2^20.

    An exact charge has no price: 0. ``steps_that_fit // steps`` is the number of rounds.
    """
    if ask.charge.exact:
        return 0
    bounds = list(_bounds(settings, ask, lines))
    low, high = 0, 1
    while high < _MOST_STEPS and _fits(bounds, ask, steps=high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(bounds, ask, steps=middle) else (low, middle)
    return low


def room(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> str:
    """Return one sentence for the site's screen: what would still fit."""
    steps, wanted = steps_that_fit(settings, ask, lines), ask.charge.event.steps
    rounds = steps // wanted if wanted else 0
    return (
        f"at this noise {steps} more steps would fit, "
        f"which is {rounds} {'round' if rounds == 1 else 'rounds'} of {wanted}"
    )


def _problems(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> Iterator[str]:
    if not ask.charge.exact:
        yield from _privacy_problems(settings, ask)
    elif not ask.simulated:
        yield "the task is not private; only a simulation may run it"
    if ask.charge.stream == "train":
        yield from _training_problems(settings, ask, lines)


def _privacy_problems(settings: SiteSettings, ask: Ask) -> Iterator[str]:
    limits, charge, delta = settings.privacy, ask.charge, ask.task.privacy.delta
    if delta > limits.delta_limit:
        yield (
            f"the task's delta {delta:g} is over delta_limit {limits.delta_limit:g}; "
            "ask for a smaller delta"
        )
    for whose, value in (("the task's delta", delta), ("delta_limit", limits.delta_limit)):
        if value * charge.patients_agreed >= 1:
            yield (
                f"{whose} {value:g} is not below 1 / {charge.patients_agreed} patients; "
                "a smaller one promises something"
            )
    noise = charge.event.multiplier
    if charge.stream == "train" and noise < limits.min_noise:
        yield (
            f"noise multiplier {noise:g} is under min_noise {limits.min_noise:g}; "
            "ask for more noise or lower it in site.toml"
        )


def _training_problems(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> Iterator[str]:
    limits, charge = settings.privacy, ask.charge
    steps = charge.event.steps
    if steps > limits.max_steps:
        yield (
            f"{steps} steps in a round are over max_steps {limits.max_steps}; "
            "ask for fewer or raise it in site.toml"
        )
    charged = {reply_of(line) for line in ask.same_task(lines) if line.stream == "train"}
    before = len(charged - {charge.reservation})
    if before >= limits.max_rounds:
        yield (
            f"{before} rounds of this task are charged, max_rounds is {limits.max_rounds}; "
            "raise it in site.toml if the study may go on"
        )


def _refuse_few(settings: SiteSettings, stream: Stream, patients: int, smallest: int) -> None:
    if patients < smallest:
        raise NotReadyError(
            f"site {settings.site.name!r} is not ready: {patients} patients in "
            f"{stream}, min_patients is {smallest}; add cases or lower it in site.toml"
        )


def _refuse_overspending(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> None:
    event = ask.charge.event
    for one in _bounds(settings, ask, lines):
        if not one.allows(event):
            limit = one.limit
            error = BudgetExceededError(settings.site.name, one.after(event), limit.epsilon)
            error.add_note(f"{limit.name} at delta {limit.delta:g}; {one.how(event)}")
            raise error


def _fits(bounds: Sequence[Bound], ask: Ask, *, steps: int) -> bool:
    event = replace(ask.charge.event, steps=steps)
    return all(one.allows(event) for one in bounds)


def _bounds(settings: SiteSettings, ask: Ask, lines: Sequence[Line]) -> Iterator[Bound]:
    """Yield every limit with what counts under it, for every stream that is touched.

    In a simulation exact events are left out: the site knows that they are not private.
    """
    counted = [line for line in lines if not (ask.simulated and line.mechanism == "exact")]
    for limit, under in _limits(settings, ask, counted):
        for stream in touched(under, ask.charge.stream):
            yield bound(under, stream, limit=limit, plans=ask.plans, coming=ask.charge)


def _limits(
    settings: SiteSettings, ask: Ask, lines: Sequence[Line]
) -> Iterator[tuple[Limit, Sequence[Line]]]:
    """Yield each limit with the lines that count under it.

    The task's own is the promise of its contract, at the task's delta; the site's are
    promises over all revisions of the task and over everything, at the site's delta.
    """
    privacy, promised = settings.privacy, ask.task.privacy
    same = [line for line in lines if line.task_hash == ask.charge.task_hash]
    yield Limit(name=OWN, epsilon=promised.epsilon, delta=promised.delta), same
    own = privacy.per_task.get(ask.task.task.name)
    if own is not None:
        name = f"per_task.{ask.task.task.name}"
        yield Limit(name=name, epsilon=own, delta=privacy.delta_limit), ask.same_task(lines)
    name, limit = "epsilon_limit", privacy.epsilon_limit
    yield Limit(name=name, epsilon=limit, delta=privacy.delta_limit), lines
