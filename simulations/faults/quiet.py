"""A run without faults that accepts the same sets: what I6 compares bits with.

The real coordinator's program, in a fresh folder, over sites that send the very updates which
a schedule's rounds accepted, at once and once, and are silent otherwise.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from flwr.app import Message

from aggregator.app import server_app
from fedrad import flower
from fedrad.errors import RunError
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.protocol.messages import Reply, reply_id
from simulations.engines import server_context
from simulations.faults.events import SITES
from simulations.faults.history import Left, read
from simulations.faults.network import Nobody, VirtualClock
from simulations.faults.play import History, quiet_logs
from simulations.faults.study import STEPS
from simulations.grid import LocalGrid
from simulations.worker import FIRST_NODE

Sets = Mapping[int, Mapping[str, str]]  # round -> site -> digest of its update


def comparable(left: Left) -> bool:
    """Whether a quiet run can have the same rounds: none lost or left, nothing late carried."""
    return not any(map(left.kinds, ("lost", "late-carried", "held", "rolled-back")))


def models(left: Left) -> dict[int, str]:
    """Return the digest of the model of every round that changed it."""
    return {int(row["round"]): str(row["model_digest"]) for row in left.changing}


def play_quietly(left: Left, folder: Path) -> dict[int, str]:
    """Run the accepted sets of ``left`` in ``folder`` and return its models, as ``models``."""
    history, clock = left.history, VirtualClock()
    sets = {int(row["round"]): left.accepted(row["round"]) for row in left.tables["rounds"]}
    grid = _Obedient(history, sets)
    setup = history.plan.setup(folder / "run", clock=clock)
    with (
        quiet_logs(),
        suppress(RunError),
    ):  # its spare rounds may be used up, as the schedule's were
        server_app(setup)(grid, server_context(grid.run.run_id))
    again = History(
        schedule=history.schedule, plan=history.plan, folder=folder, truth=history.truth
    )
    return models(read(again))


class _Obedient(LocalGrid):
    """Sites that send what they are told to."""

    poll_s = 30.0

    def __init__(self, history: History, sets: Sets) -> None:
        self._truth, self._sets = history.truth, sets
        self._names = sorted(SITES)
        self._ready: dict[str, Message] = {}
        super().__init__(self._names, Nobody())

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Answer at once whatever is to be answered."""
        ids = []
        for message in messages:
            ids.append(uuid.uuid4().hex)
            flower.stamp_message(message, ids[-1])
            site = self._names[message.metadata.dst_node_id - FIRST_NODE]
            number, phase = int(message.metadata.group_id), message.metadata.message_type
            digest = self._sets.get(number, {}).get(site, "")
            if phase == "train" and digest:
                self._ready[ids[-1]] = self._reply(message, site, digest)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return what is ready."""
        return [self._ready.pop(key) for key in message_ids if key in self._ready]

    def _reply(self, message: Message, site: str, digest: str) -> Message:
        request, _ = decode_request(message)
        reply = Reply(
            study=request.study,
            task_hash=request.task_hash,
            round=request.round,
            phase=request.phase,
            model_digest=request.model_digest,
            reply_id=reply_id(request, site),
            outcome="done",
            update=self._truth.updates[digest][2],
            update_digest=digest,
            steps=STEPS,
        )
        return encode_reply(reply, message)
