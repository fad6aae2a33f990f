"""One site's part in one round, from request to reply.

The order is the promise: refuse what the site did not approve or cannot afford, then read
the archive and prepare its images, then charge the ledger, then let the model meet a
patient, then keep the answer, then settle, then let it go. A site that died is asked again:
an answer that was kept is settled and sent, work that died before is charged and done afresh.
After the charge nothing that comes of a patient decides whether there is an answer. Refusals
and abstentions are ordinary replies whose wire reason is one word; the sentence behind it
stays in the site's own ``audit.jsonl``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

import fedrad
from fedrad import seeds
from fedrad.clock import Clock, SystemClock
from fedrad.errors import (
    BudgetExceededError,
    FedradError,
    LedgerError,
)
from fedrad.models.networks import build
from fedrad.parameters import Parameters, digest, load_whole
from fedrad.privacy.ledger import Charge, as_table
from fedrad.privacy.mechanisms import noise_source
from fedrad.progress import Say, silent
from fedrad.protocol.messages import Block, Reply, Request, reply_id
from fedrad.shift.agreed import SHARES
from fedrad.site_report import noised
from fedrad.starting_weights import refuse_other_start
from site_client import audit, guard, outbox, outcomes, own_figures, own_part, pairs, study, windows
from site_client.approvals import refuse_unapproved
from site_client.augmentation import augmenter
from site_client.between import Asked, QuestionCameError, Quiet, leave_if
from site_client.dataset import load_split
from site_client.device import device_of
from site_client.journal import Journal
from site_client.measure import exact_of_split, measure_split
from site_client.patients import Split
from site_client.settings import SiteSettings, read_site
from site_client.study import Duty, accept
from site_client.training.local_parameters import only_accounted
from site_client.training.loop import StepPlan, no_pause, train_round
from site_client.training.readiness import refuse_untrainable
from site_client.training.source import PatientSource, kept_features
from site_client.windows import WindowPatients
from site_client.withdrawal import apply_lists, evict, stamp

if TYPE_CHECKING:
    from torch import nn

Patients = TypeVar("Patients", bound=PatientSource)
_NOISE = {"evaluate": "audit"}  # phase -> what a simulation draws its noise for
_STREAM: dict[str, Split] = {  # phase -> whose patients
    "train": "train",
    "evaluate": "audit",
    "compare": "audit",
    **dict.fromkeys(SHARES, "window"),
}


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Patients of one split as they are kept between rounds."""

    stamp: tuple[tuple[int, int], ...]
    source: PatientSource
    roster: str


@dataclass(frozen=True, slots=True)
class _Made:
    """A question to train, and what was made of its model."""

    duty: Duty
    update: Parameters


@dataclass(frozen=True, slots=True)
class SiteRuntime:
    """Where a site lives and, in simulation only, the seed of its randomness.

    ``simulation_seed`` is ``None`` in a hospital: sampling and noise then come from the
    operating system, and tasks that are not private are refused.
    """

    home: Path
    simulation_seed: int | None = None
    pause: Callable[[], None] = no_pause  # between two steps; waits while the site is closed
    looks: bool = False  # whether somebody calls ``Site.look`` in quiet moments

    @property
    def simulated(self) -> bool:
        """Whether this is a simulation."""
        return self.simulation_seed is not None


class Site:
    """One site answering requests; it keeps its datasets and its network between them."""

    def __init__(self, runtime: SiteRuntime, clock: Clock | None = None) -> None:
        self.runtime, self._home = runtime, runtime.home
        self._clock = clock or SystemClock()
        self._journal = Journal(runtime.home, self._clock)
        self._modules: dict[str, nn.Module] = {}
        self._sources: dict[tuple[str, Split], _Loaded] = {}
        self._newest: Duty | None = None  # with the newest model, to be looked at
        self._made: _Made | None = None

    def answer(self, request: Request, model: Parameters) -> Reply:
        """Answer one request.

        Args:
            request: What is asked.
            model: The global parameters that came with it; empty for a query.

        Returns:
            The kept reply if this very question was answered before, else a new one. A
            deliberate error, or a disk that refuses, becomes a refusal, an abstention or a
            failure. Each carries every ledger line of the task after the request's anchor,
            so that what lost replies cost is told too.

        Raises:
            SettingsError: The site's own ``site.toml`` cannot be used.
        """
        settings = read_site(self._home)
        torch.set_num_threads(settings.resources.threads)
        try:
            duty = accept(self._home, settings, request, model)
            refuse_unapproved(self._home, duty, self._clock.now())
            blank = self._blank(request, settings)
            before = outbox.kept(self._home, blank.reply_id)
            if before is not None:
                return self._again(before, request.ledger_head)
            reply = self._told(self._phases[request.phase](duty, blank), request.ledger_head)
            self._let_go(reply)
        except (FedradError, OSError) as error:
            return self._answer_without(request, settings, error)
        return reply

    def give_up(self, request: Request, error: Exception) -> Reply:
        """Return the reply of a site whose program failed; what was charged stays told.

        Raises:
            SettingsError: The site's own ``site.toml`` cannot be used.
        """
        return self._answer_without(request, read_site(self._home), error)

    def look(self, asked: Asked) -> None:
        """Measure the newest model for this site's own screen, in a quiet moment.

        Args:
            asked: Whether somebody asks; then what was begun is left, and the next call begins
                anew.
        """
        newest, made = self._newest, self._made
        if newest is None:
            return
        try:
            if made and made.duty is not newest:  # released since, with this site's part in it
                own_part.keep_own(self._home, made.duty, made.update)
            self._measure(self._still(newest), asked)
            if made and made.duty is newest:
                own_part.keep_own(self._home, made.duty, made.update)
        except QuestionCameError:
            return
        except (FedradError, OSError) as error:
            sentence = f"round {newest.request.round}: the model was not measured for this screen"
            self._warn(f"{sentence}: {outcomes.sentence(error)}")
        self._newest = self._made = None

    def _still(self, duty: Duty) -> Duty:
        """Look up anew what was accepted a while ago: people may have changed their minds.

        Raises:
            FedradError: It would not be accepted now.
        """
        again = accept(self._home, read_site(self._home), duty.request, duty.model)
        refuse_unapproved(self._home, again, self._clock.now())
        return again

    def _measure(self, duty: Duty, asked: Asked) -> None:
        source = Quiet(self._source(duty, "audit", say=partial(_leave, asked)), asked)
        module = self._module(duty)
        blocks = measure_split(module, source, duty.task)
        without: tuple[Block, ...] = ()
        if others := own_part.without_own(self._home, duty):
            load_whole(module, others)
            without = measure_split(module, source, duty.task)
        own_figures.keep_sums(self._home, duty.request, blocks, self._clock, without=without)

    @property
    def _phases(self) -> dict[str, Callable[[Duty, Reply], Reply]]:
        whole: dict[str, Callable[[Duty, Reply], Reply]] = dict.fromkeys(SHARES, self._window)
        whole |= {"train": self._train, "evaluate": self._evaluate, "query": _query}
        return whole | {"compare": self._compare}

    def _train(self, duty: Duty, reply: Reply) -> Reply:
        module = self._module(duty)
        with only_accounted(module, duty.model, task=duty.task):
            augment = augmenter(duty.task.recipe.augment)
            refuse_untrainable(module, duty.task)
            charge = duty.charge(reply.reply_id, "train")
            source = self._paid(duty, charge, partial(self._source, duty, "train"))
            plan = self._plan(duty)
            trained = train_round(module, source, duty.task, plan=plan, augment=augment)
        made = replace(
            reply,
            update=trained.update,
            update_digest=digest(trained.update),
            steps=trained.steps,
        )
        outbox.keep(self._home, made)
        self._journal.settle(made.reply_id, steps=made.steps)
        if self.runtime.looks:
            self._newest, self._made = duty, _Made(duty, trained.update)
        if trained.skipped:
            self._warn(
                f"round {reply.round}: {trained.skipped} gradients of patients were not finite "
                "and were left out; if it happens again, look at their images or lower the "
                "learning rate"
            )
        return made

    def _evaluate(self, duty: Duty, reply: Reply) -> Reply:
        module = self._module(duty)
        charge = duty.charge(reply.reply_id, "audit")
        source = self._paid(duty, charge, partial(self._source, duty, "audit"))
        blocks = measure_split(module, source, duty.task)
        with suppress(OSError):  # a full disk keeps no figures for the site's own screen
            own_figures.keep_sums(self._home, duty.request, blocks, self._clock)
        self._newest = duty if self.runtime.looks else None
        if charge.exact:
            blocks = (*blocks, exact_of_split(module, source, duty.task))
        return self._released(duty, reply, blocks, charge)

    def _compare(self, duty: Duty, reply: Reply) -> Reply:
        both = pairs.each(duty)
        for one in both:
            self._module(one)  # what does not fit is refused before the charge
        charge = duty.charge(reply.reply_id, "audit")
        source = self._paid(duty, charge, partial(self._source, duty, "audit"))
        before, after = (pairs.scored(self._module(one), source, one) for one in both)
        return self._released(duty, reply, pairs.sums(before, after, source, duty), charge)

    def _window(self, duty: Duty, reply: Reply) -> Reply:
        windows.refuse_not_due(duty, self._clock)
        module = self._module(duty)
        charge = duty.charge(reply.reply_id, "window")
        patients = self._paid(duty, charge, partial(self._window_patients, duty))
        return self._released(duty, reply, windows.window_sums(module, patients, duty), charge)

    def _released(
        self, duty: Duty, reply: Reply, blocks: tuple[Block, ...], charge: Charge
    ) -> Reply:
        """Return the reply that carries sums, noised unless the task is exact, and keep it."""
        if not charge.exact:
            rng = self._noise(duty, f"{_NOISE.get(reply.phase, reply.phase)} noise")
            blocks = noised(blocks, sigma=charge.event.multiplier, rng=rng)
        made = replace(reply, blocks=blocks)
        outbox.keep(self._home, made)
        return made

    def _again(self, kept: Reply, anchor: str) -> Reply:
        """Return a kept answer; the charge of one that the site died on is settled first."""
        if kept.phase == "train":
            self._journal.settle(kept.reply_id, steps=kept.steps)
        reply = self._told(kept, anchor)
        self._note("sent again", reply)
        return reply

    def _paid(self, duty: Duty, charge: Charge, load: Callable[[], Patients]) -> Patients:
        """Return the patients that answering reads, with the charge on disk.

        What needs no patient is checked before the archive is read, and again with nobody
        in between the check and the charge.
        """
        ask = self._check(duty, charge)
        source = load()
        guard.check_patients(duty.settings, ask, len(source))
        with self._journal.exclusive():
            self._check(duty, charge)
            self._spend(duty, charge)
        return source

    def _check(self, duty: Duty, charge: Charge) -> guard.Ask:
        lines = self._journal.lines()
        for anchor in (duty.request.ledger_head, audit.last_head(self._home)):
            guard.check_anchor(anchor, lines)
        known = study.charged(self._home, duty.settings, lines=len(lines))
        ask = guard.Ask(
            task=duty.task,
            charge=charge,
            simulated=self.runtime.simulated,
            revisions=known.revisions(duty.task.task.name, lines),
            charged=known.plans,
        )
        try:
            guard.check_round(duty.settings, ask, lines)
        except BudgetExceededError as error:
            error.add_note(guard.room(duty.settings, ask, lines))
            raise
        return ask

    def _spend(self, duty: Duty, charge: Charge) -> None:
        study.note_charge(self._home, duty)
        request = duty.request
        if charge.stream == "train":
            self._journal.reserve(charge)
        elif outbox.moved_on(self._home, request):
            self._journal.release(charge)  # never again: its answer was acknowledged
        else:
            self._journal.release_afresh(charge)

    def _told(self, reply: Reply, anchor: str) -> Reply:
        """Return the reply with every line of its task that the aggregator has not seen."""
        with self._journal.exclusive():
            lines, head = self._journal.lines(), self._journal.head
        seen = next((n for n, line in enumerate(lines, 1) if line.hash == anchor), 0)
        of_task = (line for line in lines[seen:] if line.task_hash == reply.task_hash)
        return replace(reply, events=tuple(map(as_table, of_task)), ledger_head=head)

    def _source(self, duty: Duty, split: Split, *, say: Say = silent) -> PatientSource:
        """Return the split's patients, keeping what a fixed stem made of their images.

        They are looked up anew when the hospital changes a setting, a label or a list of
        patients, or moves its archive; new images count from the next start.
        """
        key, now = (duty.request.task_hash, split), tuple(stamp(self._home, duty.settings))
        if key not in self._sources or self._sources[key].stamp != now:
            if apply_lists(self._home, duty.settings, self._clock).left:
                self._sources.clear()
            dataset = load_split(self._home, duty.task, split, say=say)
            for sentence in (*dataset.warnings, *guard.few(duty.settings, split, len(dataset))):
                self._warn(f"{duty.task.task.name}, {split} patients: {sentence}")
            source = kept_features(self._network(duty), dataset, duty.task)
            self._sources[key] = _Loaded(now, source, dataset.roster)
            if not self.runtime.simulated:  # a simulation tries tasks that no site approved
                evict(self._home, duty.settings.approval.studies)
        return self._sources[key].source

    def _window_patients(self, duty: Duty) -> WindowPatients:
        """Return the patients of the window that is asked for; each window is looked up anew."""
        if apply_lists(self._home, duty.settings, self._clock).left:
            self._sources.clear()
        found = windows.load_window(self._home, duty, self._journal.lines())
        self._sources[duty.request.task_hash, "window"] = _Loaded((), found, found.roster)
        return found

    def _network(self, duty: Duty) -> nn.Module:
        key = duty.request.task_hash
        if key not in self._modules:
            self._modules[key] = build(duty.task, seed=0)
        return self._modules[key].to(device_of(duty.settings.resources.device))

    def _module(self, duty: Duty) -> nn.Module:
        module, model = self._network(duty), duty.model
        refuse_other_start(duty.task, duty.contract, duty.request, model=model, module=module)
        load_whole(module, model)
        return module

    def _plan(self, duty: Duty) -> StepPlan:
        private = duty.task.privacy.enabled
        training = duty.task.training
        return StepPlan(
            q=duty.sampling_rate,
            sigma=duty.terms.train_sigma if private else 0.0,
            steps=training.steps,
            expected_batch_patients=duty.expected_batch,
            max_grad_norm=duty.task.privacy.max_grad_norm,
            batches=self._chance(duty, "batches"),
            noise=self._noise(duty, "step noise") if private else None,
            proximal=duty.task.federation.strategy.proximal,
            pause=self.runtime.pause,
        )

    def _chance(self, duty: Duty, purpose: str) -> np.random.Generator:
        seed = self.runtime.simulation_seed
        if seed is None:
            return noise_source()
        return seeds.stream(seed, duty.settings.site.name, duty.request.round, purpose)

    def _noise(self, duty: Duty, purpose: str) -> np.random.Generator:
        seed = self.runtime.simulation_seed
        if seed is None:
            return noise_source()
        return noise_source(seeds.key(seed, duty.settings.site.name, duty.request.round, purpose))

    def _let_go(self, reply: Reply) -> None:
        """Note what is about to leave, and of whom; forget what that acknowledges."""
        loaded = self._sources.get((reply.task_hash, _STREAM.get(reply.phase, "test")))
        self._note("answered", reply, **({"roster": loaded.roster} if loaded else {}))
        if reply.phase in ("train", "evaluate"):  # the others acknowledge no round
            outbox.forget_before(self._home, reply.study, reply.round)

    def _answer_without(self, request: Request, settings: SiteSettings, error: Exception) -> Reply:
        """Return the reply to a request that was not answered; what was charged stays told."""
        outcome, reason = outcomes.of(error)
        without = replace(self._blank(request, settings), outcome=outcome, reason_code=reason)
        if request.task_hash in settings.approval.studies:
            with suppress(LedgerError):
                without = self._told(without, request.ledger_head)
        with suppress(OSError):  # a full disk keeps no note
            self._note("declined", without, sentence=outcomes.sentence(error))
        return without

    def _blank(self, request: Request, settings: SiteSettings) -> Reply:
        head = ""
        with suppress(LedgerError):  # a damaged ledger refuses where something is charged
            head = self._journal.head
        return Reply(
            study=request.study,
            task_hash=request.task_hash,
            round=request.round,
            phase=request.phase,
            model_digest=request.model_digest,
            reply_id=reply_id(request, settings.site.name),
            outcome="done",
            ledger_head=head,
            fedrad_version=fedrad.__version__,
        )

    def _warn(self, sentence: str) -> None:
        with suppress(OSError):  # a full disk keeps no note
            audit.record(self._home, self._clock, "warning", sentence=sentence)

    def _note(self, kind: str, reply: Reply, **detail: str) -> None:
        audit.record(
            self._home,
            self._clock,
            kind,
            study=reply.study,
            round=reply.round,
            phase=reply.phase,
            model_digest=reply.model_digest,
            outcome=reply.outcome,
            reason=reply.reason_code,
            update_digest=reply.update_digest,
            ledger_head=reply.ledger_head,
            **detail,
        )


def _leave(asked: Asked, _: str) -> None:
    leave_if(asked)


def _query(duty: Duty, reply: Reply) -> Reply:
    del duty
    return reply
