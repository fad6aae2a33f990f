"""Whether a decoded message may be used: its identity, its tensors, its sums.

Each check raises ``ProtocolError`` with what differs; none repairs anything. A message
that passes is one that this round asked for, from the site it was asked of, and fits the
model. Whether it is *good* is for aggregation and metrics to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from fedrad import parameters as tensors
from fedrad.contract import Contract
from fedrad.errors import ParametersError, ProtocolError
from fedrad.parameters import Parameters
from fedrad.privacy.accounting import Event, Mechanism
from fedrad.privacy.ledger import SCHEMA as LEDGER_SCHEMA
from fedrad.privacy.ledger import Line, Stream, digest
from fedrad.protocol.messages import SCHEMA, Block, Reply, Request, reply_id
from fedrad.task import Task, is_evaluation_round

_NORM_FACTOR = 1e3  # an update this many times the model is a fault, not training
_LARGEST = 1e9  # of a sum, its noise or its sensitivity: more than any count of patients
_LONGEST_TEXT = 128  # characters of a text in a ledger line
_SAME = 1e-9  # two noises or rates that differ by less are one


def check_request(request: Request, parameters: Parameters, *, task_hash: str) -> None:
    """Refuse a request that this site cannot have agreed to.

    Raises:
        ProtocolError: Another schema or task, or a model that is not the one named.
    """
    if request.schema != SCHEMA:
        raise ProtocolError(f"schema {request.schema} is not {SCHEMA}, the one this fedrad speaks")
    if request.task_hash != task_hash:
        raise ProtocolError("the request names another task than the one agreed")
    if request.phase != "query" and tensors.digest(parameters) != request.model_digest:
        raise ProtocolError("the model is not the one that the request names")


def check_identity(reply: Reply, request: Request, site: str) -> None:
    """Refuse a reply to anything but ``request``, or from anyone but ``site``.

    Raises:
        ProtocolError: Names the first field that differs.
    """
    for name in ("schema", "study", "task_hash", "round", "phase", "model_digest"):
        if getattr(reply, name) != getattr(request, name):
            raise ProtocolError(f"the reply's {name} is not that of the request")
    if reply.reply_id != reply_id(request, site):
        raise ProtocolError(f"the reply was not made by site {site!r} for this request")


def site_of(reply: Reply, sites: Iterable[str]) -> str:
    """Return the one of ``sites`` whose name is in the reply's id; empty if none is."""
    asked = Request(
        schema=reply.schema,
        study=reply.study,
        task_hash=reply.task_hash,
        round=reply.round,
        phase=reply.phase,
        model_digest=reply.model_digest,
        deadline_s=0.0,
    )
    return next((site for site in sites if reply_id(asked, site) == reply.reply_id), "")


def check_update(reply: Reply, like: Parameters, *, max_norm: float) -> None:
    """Refuse an update that does not fit the model or cannot be the result of training.

    Raises:
        ProtocolError: Digest, names, shapes, dtypes, a value that is not finite, or a joint
            norm above ``max_norm``.
    """
    try:
        tensors.refuse_misfit(reply.update, like)
        tensors.refuse_non_finite(reply.update)
    except ParametersError as error:
        raise ProtocolError(str(error)) from None
    if tensors.digest(reply.update) != reply.update_digest:
        raise ProtocolError("the update differs from its digest")
    norm = tensors.joint_norm(reply.update)
    if norm > max_norm:
        raise ProtocolError(f"the update's norm {norm:.3g} is over the ceiling {max_norm:.3g}")


def norm_ceiling(model: Parameters) -> float:
    """Return the largest joint norm that an update of ``model`` may have."""
    return _NORM_FACTOR * (1 + tensors.joint_norm(model))


def check_sums(blocks: tuple[Block, ...], sizes: Mapping[str, int]) -> None:
    """Refuse sums that are not of these names and lengths; ``exact`` may be missing.

    Whether their noise and their counts are as agreed is for ``agreed_sums`` to say.

    Raises:
        ProtocolError: Names the block and what is wrong with it.
    """
    names = [block.name for block in blocks]
    if len(set(names)) != len(names):
        raise ProtocolError("two blocks have one name")
    for block in blocks:
        _check_block(block, sizes)
    missing = sorted(set(sizes) - {"exact"} - set(names))
    if missing:
        raise ProtocolError(f"there is no block {missing[0]!r} among {len(names)} blocks")


def agreed_event(stream: Stream, task: Task, contract: Contract, site: str) -> Event:
    """Return what one charge to ``stream`` may cost at most: one round, or one release."""
    terms = contract.sites[site]
    if stream == "train":
        sigma = terms.train_sigma if task.privacy.enabled else 0.0
        q = contract.sampling_rate(site, task.training.expected_batch_patients)
        return _event("subsampled-gaussian", sigma=sigma, q=q, steps=task.training.steps)
    released = terms.window_sigma if stream == "window" else terms.audit_sigma
    return _event("gaussian", sigma=0.0 if task.exact else released, q=1.0, steps=1)


def agreed_steps(stream: Stream, task: Task) -> int:
    """Return how many steps, or releases, a whole contract charges a patient of ``stream``.

    A window's patients pay for that window alone, whatever others there are.
    """
    rounds, watched = task.federation.rounds, task.monitoring
    if stream == "train":
        return task.training.steps * (rounds + task.federation.spare_rounds)
    if stream == "window" and watched is not None:
        return watched.releases
    if stream != "audit":
        return 1
    scheduled = sum(is_evaluation_round(task, number) for number in range(1, rounds + 1))
    compared = watched.comparisons if watched is not None else 0
    return max(1, min(scheduled, task.privacy.audit_releases)) + compared


def check_line(line: Line, task: Task, contract: Contract, *, site: str) -> None:
    """Refuse a ledger line that charges anything but what the contract agreed for ``site``.

    Whether lines follow one another is the site's ledger's business; here nothing may be
    charged at another noise or rate, or for more steps, than one round or release has.

    Raises:
        ProtocolError: Names the line and the first field that differs.
    """
    if line.stream == "train" and contract.sites[site].kind != "train":
        raise ProtocolError("a ledger line charges training at a site that trains nothing")
    agreed = agreed_event(line.stream, task, contract, site)
    holds = {
        "schema": line.schema == LEDGER_SCHEMA,
        "time": _is_short(line.time),
        "reservation": _is_short(line.reservation),
        "task_hash": line.task_hash == contract.task_hash,
        "patients_agreed": line.patients_agreed == contract.sites[site].patients_agreed,
        "mechanism": line.mechanism == agreed.mechanism,
        "sigma": abs(line.sigma - agreed.sigma) <= _SAME,
        "sensitivity": line.sensitivity == agreed.sensitivity,
        "q": abs(line.q - agreed.q) <= _SAME,
        "steps": line.steps <= agreed.steps,
        "prev": _is_short(line.prev),
    }
    wrong = [name for name, held in holds.items() if not held]
    if wrong:
        raise ProtocolError(f"a ledger line's {wrong[0]} is not that of the contract")
    if line.hash != digest(line):
        raise ProtocolError("a ledger line's hash is not that of its content")


def block_sizes(task: Task) -> dict[str, int]:
    """Return the length of every block that an evaluation of ``task`` may send."""
    bins = len(task.evaluation.edges) - 1
    if task.task.kind == "segmentation":
        sizes = {"n": 1, "dice_histogram": bins + 2, "dice_sum": 1}
        return sizes | ({"exact": 2} if task.exact else {})
    sizes = {"n": 1, "positives": 1, "operating": 4, "table": 2 * bins}
    return sizes | ({"exact": 1} if task.exact else {})


def _event(noisy: Mechanism, *, sigma: float, q: float, steps: int) -> Event:
    return Event(mechanism=noisy if sigma > 0 else "exact", sigma=sigma, q=q, steps=steps)


def _is_short(text: str) -> bool:
    return text.isascii() and len(text) <= _LONGEST_TEXT


def _check_block(block: Block, sizes: Mapping[str, int]) -> None:
    if block.name not in sizes:
        raise ProtocolError(f"block {block.name!r} is not one of {', '.join(sizes)}")
    if block.values.shape != (sizes[block.name],):
        raise ProtocolError(
            f"block {block.name!r} has shape {block.values.shape}, not ({sizes[block.name]},)"
        )
    values = block.values[~np.isnan(block.values)] if block.name == "exact" else block.values
    if not np.isfinite(values).all():
        raise ProtocolError(f"block {block.name!r} holds a value that is not finite")
    if np.abs(values).max(initial=0.0) > _LARGEST:
        raise ProtocolError(f"block {block.name!r} holds a value over {_LARGEST:g}")
    for name, value in (("noise", block.sigma), ("sensitivity", block.sensitivity)):
        if not 0 <= value <= _LARGEST:
            raise ProtocolError(f"block {block.name!r} has the {name} {value}")
