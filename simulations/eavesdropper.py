"""Hostile hospitals that know what the honest ones of a round sent, on any engine.

The strongest adversary that papers assume: a hostile hospital's answer is held back until
everybody else's is there, and then made of theirs. It stands between the aggregator's program
and its grid; what a hostile hospital's own machine sent, and what was overheard of it for
``leaks``, is its honest answer. What is made of the others' updates is ``attacks``'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from fedrad.parameters import Parameters, digest
from fedrad.protocol.checks import site_of
from fedrad.protocol.codec import decode_reply, reply_records
from fedrad.protocol.messages import Reply
from simulations.attacks import INFORMED, informed


def among(server_app: ServerApp, names: Iterable[str], attacks: Mapping[str, str]) -> ServerApp:
    """Return an app that runs ``server_app`` on a grid with such hospitals.

    Args:
        server_app: The aggregator's.
        names: Of all sites.
        attacks: Site to attack; those that are not ``attacks.INFORMED`` are not touched here,
            and never overheard.
    """

    def main(grid: Grid, context: Context) -> None:
        server_app(EavesdroppingGrid(grid, names, attacks), context)

    app = ServerApp()
    app.main()(main)
    return app


class EavesdroppingGrid:
    """A grid on which some answers to a training round wait for all others."""

    def __init__(self, grid: Grid, names: Iterable[str], attacks: Mapping[str, str]) -> None:
        self._grid, self._names, self._attacks = grid, sorted(names), dict(attacks)
        self._waiting: dict[str, set[str]] = defaultdict(set)  # round -> questions out
        self._heard: dict[str, list[Parameters]] = defaultdict(list)  # round -> honest updates
        self._held: dict[str, list[tuple[Message, Reply, str]]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass questions on; return their ids."""
        sent = list(messages)
        asked = [(one.metadata.group_id, one.metadata.message_type) for one in sent]
        ids = list(self._grid.push_messages(sent))
        for message_id, (number, phase) in zip(ids, asked, strict=True):
            if phase == "train":
                self._waiting[number].add(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the answers that are there and need not wait."""
        ready = [r for r in self._grid.pull_messages(message_ids) if not self._holds(r)]
        for number in [n for n, held in self._held.items() if not self._waiting[n]]:
            ready += [self._made(number, *held) for held in self._held.pop(number)]
        return ready

    def _holds(self, message: Message) -> bool:
        """Take note of an answer; whether it has to wait."""
        number, question = message.metadata.group_id, message.metadata.reply_to_message_id
        if question not in self._waiting[number]:
            return False
        self._waiting[number].discard(question)
        if not message.has_content():
            return False
        reply = decode_reply(message)
        attack = self._attacks.get(site_of(reply, self._names), "")
        if reply.outcome == "done" and attack in INFORMED:
            self._held[number].append((message, reply, attack))
            return True
        if reply.outcome == "done" and not attack:
            self._heard[number].append(reply.update)
        return False

    def _made(self, number: str, message: Message, reply: Reply, attack: str) -> Message:
        heard = self._heard[number]
        if heard:
            update = informed(heard, attack)
            lie = replace(reply, update=update, update_digest=digest(update))
            message.content = reply_records(lie)
        return message
