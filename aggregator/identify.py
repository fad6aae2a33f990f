"""Which node of a grid is which site of the contract.

A hospital's node carries the name it was enrolled under; one without a name is nobody.
Only nodes of a simulation runtime, which has no names, are asked: whoever knows the
contract can make any site's answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid

from aggregator.exchange import receive
from fedrad.clock import Clock
from fedrad.contract import Contract
from fedrad.errors import ProtocolError, RunError
from fedrad.protocol.checks import site_of
from fedrad.protocol.codec import decode_reply, encode_request
from fedrad.protocol.messages import Request

_WAIT_S = 0.1
_TRIES = 4


def identify_sites(
    grid: Grid, contract: Contract, *, clock: Clock, deadline_s: float
) -> dict[int, str]:
    """Return node id to site name for every site of the contract that is there, by name.

    Waits until as many nodes are there as the contract has sites, or ``deadline_s``.

    Raises:
        RunError: Two nodes have one site's name.
    """
    return _by_site(_enrolled(_wait_for_nodes(grid, contract, clock, deadline_s), contract))


def identify_simulated(
    grid: Grid, contract: Contract, *, clock: Clock, deadline_s: float
) -> dict[int, str]:
    """Do as ``identify_sites`` does, and ask the nodes that have no name.

    An answer's id tells the name, because that site's name went into it. That is no proof:
    never for nodes that are not this machine's own.

    Raises:
        RunError: Two nodes answer for one site.
    """
    nodes = _wait_for_nodes(grid, contract, clock, deadline_s)
    found = _enrolled(nodes, contract)
    unnamed = [number for number, name in nodes.items() if not name]
    if unnamed:
        found |= _ask(grid, contract, unnamed, clock=clock, deadline_s=deadline_s)
    return _by_site(found)


def _enrolled(nodes: Mapping[int, str], contract: Contract) -> dict[int, str]:
    return {number: name for number, name in nodes.items() if name in contract.sites}


def _by_site(found: dict[int, str]) -> dict[int, str]:
    """Return ``found`` in the order of the sites' names; refuse a name that is there twice."""
    _refuse_twins(found.values())
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _wait_for_nodes(
    grid: Grid, contract: Contract, clock: Clock, deadline_s: float
) -> dict[int, str]:
    end_s = clock.monotonic_s() + deadline_s
    while True:
        nodes = {int(node.node_id): str(node.name) for node in grid.get_nodes()}
        if len(nodes) >= len(contract.sites) or clock.monotonic_s() >= end_s:
            return nodes
        clock.sleep(_WAIT_S)


def _ask(
    grid: Grid, contract: Contract, nodes: Iterable[int], *, clock: Clock, deadline_s: float
) -> dict[int, str]:
    """Ask every node who it is; a node that says nothing is asked again. It costs nothing."""
    found: dict[int, str] = {}
    missing = list(nodes)
    for _ in range(_TRIES):
        found |= _ask_once(grid, contract, missing, clock=clock, deadline_s=deadline_s / _TRIES)
        missing = [node for node in missing if node not in found]
        if not missing:
            break
    return found


def _ask_once(
    grid: Grid, contract: Contract, nodes: Iterable[int], *, clock: Clock, deadline_s: float
) -> dict[int, str]:
    request = Request(
        study=contract.study,
        task_hash=contract.task_hash,
        round=0,
        phase="query",
        model_digest="",
        deadline_s=deadline_s,
    )
    messages = [
        Message(encode_request(request, ArrayRecord()), node, "query", group_id="0")
        for node in nodes
    ]
    ids = [message_id for message_id in grid.push_messages(messages) if message_id]
    asked = {message.metadata.message_id: message.metadata.dst_node_id for message in messages}
    found: dict[int, str] = {}
    for reply in receive(grid, ids, deadline_s, clock=clock):
        name = _name_in(reply, contract)
        if name:
            found[asked[reply.metadata.reply_to_message_id]] = name
    return found


def _name_in(reply: Message, contract: Contract) -> str:
    try:
        return site_of(decode_reply(reply), contract.sites)
    except ProtocolError:
        return ""


def _refuse_twins(names: Collection[str]) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise RunError(
            f"two nodes answer for site {twice[0]!r}; stop one of them and start the run again"
        )
