"""Hospitals of a simulation that lie: what their app sends in the place of an honest update.

Everything else about them is real: they keep a ledger, pay for their rounds and answer in
form. A hospital that lies in its labels has an archive to match and needs nothing here; one that
knows what the others sent is ``eavesdropper``'s.
What an update does to the model is the aggregator's business, and what is shown of it that
of ``contest``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedrad import seeds
from fedrad.parameters import digest
from fedrad.protocol.codec import decode_reply, decode_request, reply_records
from fedrad.protocol.messages import Reply
from simulations.attacks import CHANGED, CLAIMED, REPEATED, changed


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileApps:
    """Builds the sites' app of a simulation in which some lie; called once in each process."""

    honest: Callable[[], ClientApp]
    names: tuple[str, ...]  # of all sites, by ``partition-id``
    attacks: tuple[tuple[str, str], ...]  # site, attack
    seed: int

    def __call__(self) -> ClientApp:
        """Return what answers in the place of the app, with the same call."""
        return cast("ClientApp", _Lying(self))


class _Lying:
    def __init__(self, plan: HostileApps) -> None:
        self._plan, self._app = plan, plan.honest()
        self._attacks = dict(plan.attacks)
        self._first: dict[str, Reply] = {}  # a site's first update, told again for ever

    def __call__(self, message: Message, context: Context) -> Message:
        answer = self._app(message, context)
        site = self._plan.names[int(cast("Any", context.node_config["partition-id"]))]
        attack = self._attacks.get(site, "")
        if attack not in (*CHANGED, *REPEATED, CLAIMED) or message.metadata.message_type != "train":
            return answer
        request, _ = decode_request(message)
        reply = decode_reply(answer)
        if reply.outcome == "done":
            noise = seeds.stream(self._plan.seed, site, request.round, "lie")
            first = self._first.setdefault(site, reply)
            answer.content = reply_records(spoiled(reply, first, attack, noise))
        return answer


def spoiled(reply: Reply, first: Reply, attack: str, rng: np.random.Generator) -> Reply:
    """Return what a hostile site sends.

    Args:
        reply: Its honest reply.
        first: Its reply to the first round that it trained in.
        attack: One of ``CHANGED``; or ``stale``: the first update under this round's name;
            or ``replay``: the whole first reply; or ``CLAIMED``: a thousand times the steps.
        rng: Where "gaussian" draws.
    """
    if attack == "replay":
        return first
    if attack == CLAIMED:
        return replace(reply, steps=1000 * reply.steps)
    update = first.update if attack == "stale" else changed(reply.update, attack, rng)
    return replace(reply, update=update, update_digest=digest(update))
