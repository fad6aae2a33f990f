"""The numbers of privacy for one site and one contract, computed as the ledger counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fedrad.contract import Contract
from fedrad.privacy.accounting import Event, attack_within, best_attack, epsilon, site_epsilon
from fedrad.privacy.ledger import Stream
from fedrad.protocol.checks import agreed_event, agreed_steps
from fedrad.task import Task
from site_client.settings import SiteSettings

_STREAMS: tuple[Stream, ...] = ("train", "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a whole contract charges at most to one part of the patients."""

    stream: str
    sigma: float  # noise multiplier
    q: float  # chance of a patient in a step
    steps: int
    epsilon: float
    attack: int  # percent of participants recognised at 1 % false alarms, rounded up


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The contract's cost beside this site's own limits."""

    rows: tuple[Row, ...]
    delta: float
    epsilon: float  # of the patients who pay most
    attack: int  # of them, percent
    limit: float  # site.toml's epsilon over all contracts
    task_limit: float
    within_limit: int  # percent recognised if nothing but the limit is known

    @property
    def private(self) -> bool:
        """Whether there is any promise; a site answers nothing without."""
        return math.isfinite(self.epsilon)


def promise(task: Task, contract: Contract, settings: SiteSettings) -> Promise:
    """Return what a contract costs this site's patients at most."""
    site, delta = settings.site.name, task.privacy.delta
    events = {stream: _event(stream, task, contract, site) for stream in _STREAMS}
    if contract.sites[site].kind != "train":
        del events["train"]
    rows = tuple(_row(stream, event, delta) for stream, event in events.items())
    limits = settings.privacy
    return Promise(
        rows=rows,
        delta=delta,
        epsilon=site_epsilon({name: [event] for name, event in events.items()}, delta),
        attack=max(row.attack for row in rows),
        limit=limits.epsilon_limit,
        task_limit=limits.per_task.get(task.task.name, limits.epsilon_limit),
        within_limit=_percent(attack_within(limits.epsilon_limit, limits.delta_limit)),
    )


def _event(stream: Stream, task: Task, contract: Contract, site: str) -> Event:
    once = agreed_event(stream, task, contract, site)
    return replace(once, steps=agreed_steps(stream, task))


def _row(stream: str, event: Event, delta: float) -> Row:
    return Row(
        stream=stream,
        sigma=event.sigma,
        q=event.q,
        steps=event.steps,
        epsilon=epsilon([event], delta),
        attack=_percent(best_attack([event])),
    )


def _percent(share: float) -> int:
    return math.ceil(share * 100 - 1e-9)
