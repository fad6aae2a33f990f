"""Messages on a virtual clock: how long they take, and what becomes of them on the way.

A grid for the coordinator's real program. Nothing passes while a program works: sites answer
at the instant at which a question reaches them, and time goes on only while the coordinator
waits. A message takes 1 to 4 s, by a hash of the schedule's seed and its name, so that replies
come in every order.
"""

from __future__ import annotations

import heapq
import itertools
import uuid
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from flwr.app import Message

from fedrad import flower
from fedrad.errors import ProtocolError
from fedrad.parameters import digest
from fedrad.protocol.codec import decode_reply, reply_records
from simulations.faults.events import BAD, BUSY, Answered, Asked, Clone, Offline, Schedule
from simulations.faults.machines import Machine, clone
from simulations.faults.study import CANARY, DEADLINE_S, Truth
from simulations.grid import LocalGrid
from simulations.worker import FIRST_NODE

LONGEST_S = 40_000.0  # of virtual time: far more than all deadlines of all rounds
_TWICE_S, _SLOW_S = 7.0, 25.0


class Hung(BaseException):
    """The coordinator still waits after ``LONGEST_S``."""


class VirtualClock:
    """Time that passes only while somebody sleeps; the wall clock may jump."""

    def __init__(self) -> None:
        self.elapsed_s, self.jumped_s = 0.0, 0.0
        self.waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """Return the wall time."""
        passed = timedelta(seconds=self.elapsed_s + self.jumped_s)
        return datetime(2026, 1, 1, tzinfo=UTC) + passed

    def monotonic_s(self) -> float:
        """Return the seconds since the schedule began."""
        return self.elapsed_s

    def sleep(self, wait_s: float) -> None:
        """Let time pass, with everything that happens meanwhile, in order.

        Raises:
            Hung: Too much of it passed.
        """
        end_s = self.elapsed_s + wait_s
        while self.waiting and self.waiting[0][0] <= end_s:
            at_s, _, happen = heapq.heappop(self.waiting)
            self.elapsed_s = max(self.elapsed_s, at_s)
            happen()
        self.elapsed_s = end_s
        if end_s > LONGEST_S:
            raise Hung

    def after(self, wait_s: float, happen: Callable[[], None]) -> None:
        """Let something happen in ``wait_s`` seconds."""
        heapq.heappush(self.waiting, (self.elapsed_s + wait_s, next(self._order), happen))


class Network:
    """Everything between the coordinator's grid and the machines."""

    def __init__(
        self, schedule: Schedule, clock: VirtualClock, machines: dict[str, Machine], truth: Truth
    ) -> None:
        self._seed, self._clock, self._machines = schedule.seed, clock, machines
        self._truth = truth
        self._left = list(schedule.events)  # what has not happened yet
        self._offline = [e for e in schedule.events if isinstance(e, Offline)]
        self._last: dict[str, list[Message]] = {}  # site -> its training replies, oldest first
        self._sent = itertools.count()
        self._busy: dict[str, int] = {}  # site -> the round that it still works on
        self.arrived: dict[str, list[Message]] = {}
        self.leaks: list[str] = []
        self.cloned: list[Machine] = []

    def ask(self, site: str, message: Message) -> None:
        """Take a question of the coordinator's."""
        fault = self._next(Asked, site, message)
        how = fault.how if isinstance(fault, Asked) else ""
        self._carry(message, how, lambda: self._deliver(site, message))

    def _deliver(self, site: str, message: Message) -> None:
        machine, now_s = self._machines[site], self._clock.elapsed_s
        if machine.down_until_s > now_s:
            self._clock.after(machine.down_until_s - now_s, lambda: self._deliver(site, message))
            return
        number = int(message.metadata.group_id)
        if any(e.site == site and e.first <= number <= e.last for e in self._offline):
            return
        if self._busy.get(site) == number - 1:
            return
        twin = self._next(Clone, site, message)
        if isinstance(twin, Clone):
            self.cloned.append(clone(machine, machine.home.parent))
            self._machines[self.cloned[-1].name] = self.cloned[-1]
            self._ask_clone(self.cloned[-1], message, 0.5 if twin.first else 9.0)
        self._let_answer(machine, message)

    def _ask_clone(self, machine: Machine, message: Message, wait_s: float) -> None:
        reply = machine.answer(message, self._clock.elapsed_s)
        if reply is not None:
            self._clock.after(wait_s, lambda: self._arrive(message, reply))

    def _let_answer(self, machine: Machine, message: Message) -> None:
        fault = self._next(Answered, machine.site, message)
        how = fault.how if isinstance(fault, Answered) else ""
        if how == BUSY:
            self._busy[machine.site] = int(message.metadata.group_id)
        machine.raises = machine.raises or how == "raise"
        reply = machine.answer(message, self._clock.elapsed_s)
        if reply is None:
            return
        self._listen(machine, reply)
        if how in BAD and reply.has_content():
            reply = self._spoiled(machine.site, how, message, reply)
        if message.metadata.message_type == "train" and reply.has_content():
            self._last.setdefault(machine.site, []).append(reply)
        self._carry(message, how, lambda: self._arrive(message, reply))

    def _carry(self, message: Message, how: str, happen: Callable[[], None]) -> None:
        meta = message.metadata
        name = f"{self._seed} {meta.dst_node_id} {meta.message_type} {meta.group_id} {how}"
        takes_s = 1.0 + 3.0 * (zlib.crc32(f"{name} {next(self._sent)}".encode()) / 2**32)
        takes_s += {"late": DEADLINE_S, BUSY: DEADLINE_S, "slow": _SLOW_S}.get(how, 0.0)
        if how != "lost":
            self._clock.after(takes_s, happen)
        if how == "doubled":
            self._clock.after(takes_s + _TWICE_S, happen)

    def _arrive(self, message: Message, reply: Message) -> None:
        self.arrived.setdefault(message.metadata.message_id, []).append(reply)

    def _next(self, kind: type[Any], site: str, message: Message) -> object:
        """Return the first event of a kind that waits for this message, and strike it out."""
        meta = message.metadata
        here = (site, int(meta.group_id), meta.message_type)
        for event in [event for event in self._left if isinstance(event, kind)]:
            found: Any = event
            if (found.site, found.round, getattr(event, "phase", "train")) == here:
                self._left.remove(event)
                return event
        return None

    def _listen(self, machine: Machine, reply: Message) -> None:
        """Look for the canary in the words that leave a machine."""
        said = reply.error.reason if reply.has_error() else str(reply.content["fedrad"])
        if CANARY in str(said):
            self.leaks.append(machine.site)

    def _spoiled(self, site: str, how: str, message: Message, reply: Message) -> Message:
        if how in ("replay", "twin"):
            others = [name for name in self._last if (name == site) == (how == "replay")]
            found = [old for name in others for old in self._last[name]]
            return Message(found[0].content, reply_to=message) if found else reply
        try:
            said = decode_reply(reply)
        except ProtocolError:
            return reply
        if not said.update:
            return reply
        if how == "digest":
            return Message(reply_records(replace(said, update_digest="f" * 64)), reply_to=message)
        update = said.update | {"a": _SPOILED[how](said.update["a"])}
        if how == "loud":
            update = {name: tensor * 40 for name, tensor in said.update.items()}
            self._truth.made(site, said.round, update)
        changed = replace(said, update=update, update_digest=digest(update))
        return Message(reply_records(changed), reply_to=message)


_SPOILED: dict[str, Callable[[Any], Any]] = {
    "nan": lambda tensor: np.full_like(tensor, np.nan),
    "huge": lambda tensor: np.full_like(tensor, 1e30),
    "shape": lambda tensor: tensor[:1],
    "loud": lambda tensor: tensor,
}


class VirtualGrid(LocalGrid):
    """The coordinator's end of the network; messages stay objects, no bytes are made."""

    poll_s = 1.0

    def __init__(self, sites: Iterable[str], network: Network) -> None:
        self._names, self._network = sorted(sites), network
        super().__init__(self._names, Nobody())

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; return their ids."""
        ids = []
        for message in messages:
            ids.append(uuid.uuid4().hex)
            flower.stamp_message(message, ids[-1])
            site = self._names[message.metadata.dst_node_id - FIRST_NODE]
            self._network.ask(site, message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived."""
        return [reply for key in message_ids for reply in self._network.arrived.pop(key, [])]


class Nobody:
    """A delivery that is never used: the network is one of its own."""

    def submit(self, jobs: Iterable[Any]) -> None:
        """Take nothing."""

    def collect(self, message_id: str) -> bytes | None:
        """Return nothing."""
