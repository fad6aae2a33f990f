"""Ask sites that owe an answer for sums, one question at a time, and take what comes.

What is asked and what the sums become belongs to the caller; whose a reply is, to ``intake``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

from aggregator.exchange import TTL_MARGIN_S, receive
from aggregator.intake import Intake, RowsOf
from aggregator.setup import RunSetup
from fedrad.parameters import Parameters, digest
from fedrad.protocol.codec import encode_arrays, encode_request
from fedrad.protocol.messages import Block, Phase, Request


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a phase of a round about a model; ``rows`` are what an answer becomes."""

    round: int
    phase: Phase
    model: Parameters
    rows: RowsOf


def ask_sums(
    setup: RunSetup, intake: Intake, *, grid: Grid, nodes: Mapping[int, str], question: Question
) -> dict[str, tuple[Block, ...]]:
    """Ask once and wait for the task's deadline; return each site's sums that were accepted.

    Args:
        setup: The run.
        intake: Takes every answer and every silence.
        grid: Where the sites are.
        nodes: Whom to ask: node id to site.
        question: What.
    """
    messages = list(_messages(setup, intake, nodes, question))
    ids = [message_id for message_id in grid.push_messages(messages) if message_id]
    intake.sent(messages)
    sums: dict[str, tuple[Block, ...]] = {}
    for reply in receive(grid, ids, setup.task.federation.deadline_s, clock=setup.clock):
        sums |= intake.take_sums(reply, question.rows)
    intake.close()
    return sums


def _messages(
    setup: RunSetup, intake: Intake, nodes: Mapping[int, str], question: Question
) -> Iterator[Message]:
    arrays, wait_s = encode_arrays(question.model), setup.task.federation.deadline_s
    named = digest(question.model)
    for node, site in nodes.items():
        request = Request(
            study=setup.contract.study,
            task_hash=setup.contract.task_hash,
            round=question.round,
            phase=question.phase,
            model_digest=named,
            deadline_s=wait_s,
            ledger_head=intake.heads.get(site, ""),
        )
        intake.expect(node, request, site)
        content, ttl_s = encode_request(request, arrays), wait_s + TTL_MARGIN_S
        yield Message(content, node, "query", ttl=ttl_s, group_id=str(question.round))
