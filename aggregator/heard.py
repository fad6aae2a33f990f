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
    out_of_budget: frozenset[str]  # sites that refused to train for want of budget
    lines: tuple[tuple[int, str, tuple[Line, ...]], ...]  # round, site, lines, as they came


def read_heard(store: Store) -> Heard:
    """Return what replies told so far; nothing of a run that begins.

    Raises:
        DamagedStateError: The history cannot be read.
    """
    replies = {row["reply_id"]: row for row in store.rows("replies")}
    heads: dict[str, str] = {}
    told: list[tuple[int, str, tuple[Line, ...]]] = []
    for row in store.rows("events"):
        if row["kind"] != "reply":
            continue
        try:
            detail = json.loads(row["detail_json"])
            lines = tuple(parse_lines(detail["ledger_lines"]))
            head = replies[detail["reply_id"]]["ledger_head"]
        except (ValueError, KeyError, TypeError, ProtocolError):
            raise DamagedStateError(f"the history in {store.path} cannot be read") from None
        if head:
            heads[row["site"]] = head
        if lines:
            told.append((row["round"], row["site"], lines))
    spent = [row for row in replies.values() if row["reason_code"] == "budget"]
    poor = frozenset(row["site"] for row in spent if row["phase"] == "train")
    return Heard(heads=heads, out_of_budget=poor, lines=tuple(told))
