"""The rounds of a study: ask, wait, check, write, fold, commit, evaluate.

Flower's ``Strategy`` with a ``start`` of its own: a quorum and a deadline instead of
waiting for ever, replies taken one at a time, every accepted one on disk and in the store
before the next. Whatever a site answers is recorded with its outcome; nothing that a site
does raises here. A round below the quorum is void and leaves the model as it was.

A run that was cut goes on in the middle of its round: who has answered is not asked again,
and a site that is asked again sends the answer that it kept.

What comes after its round was closed is ``lateness``'s to judge: discarded, or carried once.
A measured round that makes the model worse at several sites is held (``hold``): the model
goes back to the round before it, and the round stays in the history, used up.
A site whose replies were bad too often is not asked until a person lifts it (``quarantine``).
A site that refuses to train for want of budget is not asked to train again before the run has
stopped and a person begins it anew. It is still asked for evaluations, which other patients pay
for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from aggregator import checkpoints, quarantine
from aggregator.exchange import TTL_MARGIN_S, receive
from aggregator.hold import fall_at, hold
from aggregator.intake import Intake
from aggregator.lateness import Lateness
from aggregator.lineage import read_lineage
from aggregator.members import Members
from aggregator.resume import Cut, Standing, stand
from aggregator.scoring import Scoring
from aggregator.setup import RunSetup
from aggregator.store import Store
from fedrad.errors import RunError
from fedrad.hours import parse_hours, until_worked_s
from fedrad.protocol.codec import encode_arrays, encode_request
from fedrad.protocol.messages import Phase, Request
from fedrad.task import is_evaluation_round


class FedradStrategy(Strategy):  # type: ignore[misc]  # Flower is followed without types
    """One run of one study over its ``members``, from where it stands."""

    def __init__(self, setup: RunSetup, store: Store, members: Members, standing: Standing) -> None:
        self._setup, self._store, self._members = setup, store, members
        self._intake, self._scoring = Intake(setup, store), Scoring(setup, store)
        self._lateness = Lateness(setup, store, self._intake)
        self._course = standing.course
        self._last = standing.last  # the last round that is over
        self._cut = standing.cut

    def start(self, grid: Grid, initial_arrays: ArrayRecord, *_: Any, **__: Any) -> Result:
        """Run all rounds that are still to run and return the final arrays.

        Args:
            grid: Where the sites are.
            initial_arrays: Flower's argument; where the run stands has the model.
            *_: Flower's further arguments: the task file has their values.
            **__: As before.

        Raises:
            RunError: Too few sites can still train, or spare rounds ran out. What was
                finished is recorded and evaluated.
        """
        del initial_arrays
        if self._last == 0 and self._cut is None:
            self._course.write(0, {})
        if self._cut is not None:
            self._go_on(grid, self._cut)
        for number in itertools.count(self._last + 1):
            if self._course.committed == self._setup.task.federation.rounds:
                break
            self._members.look(grid, number)
            self._refuse_hopeless(grid, number)
            self._store.start_round(number)
            self._round(grid, number)
        return Result(arrays=encode_arrays(self._course.released))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one request to train per site that may still have budget."""
        del config, grid
        return self._messages("train", server_round, arrays, self._trainers())

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Take replies one at a time, then fold them in the order of the sites' names.

        Returns:
            The next model, or ``None`` if fewer than the quorum were accepted.
        """
        accepted = dict(self._cut.accepted) if self._cut else {}
        late = dict(self._cut.late) if self._cut else {}
        like = self._course.moving
        for reply in replies:
            if self._lateness.knows(reply):
                here = accepted.keys() | late.keys()
                late |= self._lateness.take(reply, like, server_round, here=here)
            else:
                accepted |= self._intake.take_update(reply, like)
            del reply  # its update lies on disk: a model less in memory while the next one comes
        self._lateness.missed(self._intake.close())
        if len(accepted) < self._setup.task.federation.quorum:
            self._store.record_round(server_round, "void")
            return None, MetricRecord({"accepted": len(accepted)})
        if self._cut is None or not self._cut.closed:
            self._store.record_round(server_round, "received")
        late = {site: digest for site, digest in late.items() if site not in accepted}
        if not self._fold(server_round, accepted, late):
            self._store.record_round(server_round, "void")
            return None, MetricRecord({"accepted": len(accepted)})
        return encode_arrays(self._course.model), MetricRecord({"accepted": len(accepted)})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one request to evaluate per site."""
        del config, grid
        return self._messages("evaluate", server_round, arrays, self._members.asked)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Record the sums of every site and the figures computed from them."""
        blocks = dict(self._cut.blocks) if self._cut else {}
        for reply in replies:
            blocks |= self._intake.take_blocks(reply)
        self._intake.close()
        self._scoring.record(server_round, blocks)
        return MetricRecord({"sites": len(blocks)})

    def summary(self) -> None:
        """Say nothing: a run describes itself in its store."""

    def _go_on(self, grid: Grid, cut: Cut) -> None:
        """Finish the round in which the run was cut."""
        if cut.phase == "train":
            self._round(grid, cut.number)
        else:
            self._evaluate(grid, cut.number)
        self._last = cut.number

    def _round(self, grid: Grid, number: int) -> None:
        plan, progress = self._setup.task.federation, self._setup.progress
        progress.round_started(number, committed=self._course.committed, rounds=plan.rounds)
        arrays = encode_arrays(self._course.model)
        replies = self._replies(grid, self.configure_train(number, arrays, ConfigRecord(), grid))
        del arrays  # a model less in memory while answers come
        folded, _ = self.aggregate_train(number, replies)
        self._cut = None
        self._members.enforce()
        progress.round_closed(number, "void" if folded is None else "committed")
        if folded is not None and is_evaluation_round(self._setup.task, self._course.committed):
            self._evaluate(grid, number)

    def _evaluate(self, grid: Grid, number: int) -> None:
        arrays = encode_arrays(self._course.released)
        replies = self._replies(grid, self.configure_evaluate(number, arrays, ConfigRecord(), grid))
        del arrays
        self.aggregate_evaluate(number, replies)
        self._cut = None
        self._judge(number)
        self._members.enforce()
        self._setup.progress.evaluation_done(number)

    def _judge(self, number: int) -> None:
        """Close a measured round; go back to the one before if the gate holds it."""
        fall = fall_at(self._setup, self._store, number)
        if fall is None:
            self._store.record_round(number, "evaluated")
            return
        hold(self._store, number, fall, model_digest=self._course.digest)
        stand(self._setup, self._store, self._course)
        self._setup.progress.round_closed(number, "held")

    def _messages(
        self, phase: Phase, number: int, arrays: ArrayRecord, nodes: dict[int, str]
    ) -> list[Message]:
        messages = []
        course = self._course
        digest = course.released_digest if phase == "evaluate" else course.digest
        answered = self._cut.answered if self._cut else frozenset()
        for node, site in nodes.items():
            if site in answered:
                continue
            deadline_s = self._deadline_s(site)
            request = Request(
                study=self._setup.contract.study,
                task_hash=self._setup.contract.task_hash,
                round=number,
                phase=phase,
                model_digest=digest,
                deadline_s=deadline_s,
                ledger_head=self._intake.heads.get(site, ""),
            )
            content = encode_request(request, arrays)
            ttl_s = deadline_s * self._rounds_alive + TTL_MARGIN_S
            message = Message(content, node, phase, ttl=ttl_s, group_id=str(number))
            self._intake.expect(node, request, site)
            messages.append(message)
        return messages

    def _deadline_s(self, site: str) -> float:
        """Return the seconds from now in which a site's promised hours hold the deadline."""
        plan, terms = self._setup.task.federation, self._setup.contract.sites[site]
        hours = parse_hours(terms.hours or plan.hours)
        return until_worked_s(hours, self._setup.clock.now(), plan.deadline_s)

    @property
    def _rounds_alive(self) -> int:
        """For how many deadlines a question may be answered."""
        plan = self._setup.task.federation
        return 1 + plan.staleness if plan.late == "carry" else 1

    def _replies(self, grid: Grid, messages: Iterable[Message]) -> Iterator[Message]:
        asked = list(messages)
        del messages
        number = max((int(message.metadata.group_id) for message in asked), default=0)
        trains = any(message.metadata.message_type == "train" for message in asked)
        late = self._lateness.ids(number) if asked else []
        if hasattr(grid, "keep"):  # a grid that forgets what is out when it is asked anew
            grid.keep(late)
        ids = [message_id for message_id in grid.push_messages(asked) if message_id]
        self._intake.sent(asked)
        asked.clear()  # what is asked again the grid keeps itself
        also, each = late if trains else (), self._intake.deadlines
        wait_s = self._setup.task.federation.deadline_s
        yield from receive(grid, ids, wait_s, clock=self._setup.clock, also=also, each=each)

    def _fold(self, number: int, accepted: dict[str, str], late: dict[str, str]) -> bool:
        """Make the next model from what lies on disk and commit the round, if enough is left.

        The quorum is one of updates of this very round.
        """
        every = accepted | late
        updates = self._course.measure(number, every, late=late)
        self._note_set_aside(number, sorted(every.keys() - updates.files.keys()))
        if len(updates.files.keys() - late.keys()) < self._setup.task.federation.quorum:
            return False
        weights = self._course.fold(number, updates)
        digest, model = checkpoints.accepted_digest(every.items()), self._course.digest
        self._store.record_fold(number, weights, accepted=digest, model=model, late=late)
        self._course.write(number, every)
        self._store.record_round(number, "committed")
        return True

    def _note_set_aside(self, number: int, sites: Iterable[str]) -> None:
        times = self._setup.task.federation.rule.ceiling
        problem = f"the update is longer than {times:g} times the median of this round's updates"
        for site in sites:
            self._store.record_event(
                quarantine.SET_ASIDE, number, site=site, detail={"problem": problem}
            )

    def _trainers(self) -> dict[int, str]:
        able = set(self._setup.contract.trainers) - self._intake.out_of_budget
        return {node: site for node, site in self._members.asked.items() if site in able}

    def _refuse_hopeless(self, grid: Grid, number: int) -> None:
        """End the run if round ``number`` cannot be, evaluating what nobody measured yet."""
        reason = self._hopeless(number)
        if reason:
            changed = self._course.changed
            if read_lineage(self._store).states.get(changed) == "committed":
                self._evaluate(grid, changed)
            raise RunError(f"the run stops after {number - 1} rounds: {reason}")

    def _hopeless(self, number: int) -> str:
        plan, able = self._setup.task.federation, self._trainers()
        if len(able) < plan.quorum:
            spent = ", ".join(sorted(self._intake.out_of_budget)) or "none"
            shut = ", ".join(sorted(self._members.quarantined))
            return (
                f"{len(able)} sites can still train and the quorum is {plan.quorum}; "
                f"out of budget: {spent}" + (f"; in quarantine: {shut}" if shut else "")
            )
        if number > plan.rounds + plan.spare_rounds:
            return (
                f"{self._course.committed} of {plan.rounds} rounds reached the quorum of "
                f"{plan.quorum} sites and all {plan.spare_rounds} spare rounds are used up"
            )
        return ""
