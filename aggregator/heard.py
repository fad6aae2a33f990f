"""What sites told a run before it was cut: ledger heads, ledger lines, spent budgets.

Read from the run's database, so that a run which goes on asks with the anchors it had, and
adds up what was spent from the first round on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from aggregator.spending import parse_lines
from aggregator.store import Store
from fedrad.errors import DamagedStateError, ProtocolError
from fedrad.privacy.ledger import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What replies told so far."""

    heads: dict[str, str]  # site -> the last ledger head
    out_of_budget: frozenset[str]  # refused to train for want of budget since it last stopped
    lines: tuple[tuple[int, str, tuple[Line, ...]], ...]  # round, site, lines, as they came


def read_heard(store: Store) -> Heard:
    """Return what replies told so far; nothing of a run that begins.

    Raises:
        DamagedStateError: The history cannot be read.
    """
    replies = {row["reply_id"]: row for row in store.rows("replies")}
    heads: dict[str, str] = {}
    told: list[tuple[int, str, tuple[Line, ...]]] = []
    poor: set[str] = set()
    for row in store.rows("events"):
        if row["kind"] not in {"reply", "run-ended"}:
            continue
        try:
            detail = json.loads(row["detail_json"])
            if row["kind"] == "run-ended":  # who begins it again may have asked for more
                poor = set() if detail["status"] == "stopped" else poor
                continue
            lines = tuple(parse_lines(detail["ledger_lines"]))
            reply = replies[detail["reply_id"]]
        except (ValueError, KeyError, TypeError, ProtocolError):
            raise DamagedStateError(f"the history in {store.path} cannot be read") from None
        if reply["ledger_head"]:
            heads[row["site"]] = reply["ledger_head"]
        if lines:
            told.append((row["round"], row["site"], lines))
        if (reply["reason_code"], reply["phase"]) == ("budget", "train"):
            poor.add(row["site"])
    return Heard(heads=heads, out_of_budget=frozenset(poor), lines=tuple(told))
