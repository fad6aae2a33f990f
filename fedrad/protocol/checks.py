"""Whether a decoded message may be used: its identity, its tensors, its sums.

Each check raises ``ProtocolError`` with what differs; none repairs anything. A message
that passes is one that this round asked for, from the site it was asked of, and fits the
model. Whether it is *good* is for aggregation and metrics to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from fedrad import parameters as tensors
from fedrad.errors import ParametersError, ProtocolError
from fedrad.parameters import Parameters
from fedrad.protocol.messages import SCHEMA, Block, Reply, Request, reply_id
from fedrad.task import Task

_NORM_FACTOR = 1e3  # an update this many times the model is a fault, not training


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


def check_blocks(blocks: tuple[Block, ...], task: Task, *, audit_sigma: float) -> None:
    """Refuse sums that the task does not know, or that are noised less than agreed.

    The blocks are one joint Gaussian mechanism. With noise of standard deviation s_b on a
    block of sensitivity d_b its noise multiplier is (sum of (d_b / s_b)^2)^(-1/2) [1]; that
    must be ``audit_sigma`` or more, however the site dealt the noise to its blocks.

    Args:
        blocks: What one site sent.
        task: Says which blocks there are and how long each is.
        audit_sigma: The site's noise multiplier in the contract; 0: exact sums.

    Raises:
        ProtocolError: Names the block and what is wrong with it.

    References:
        [1] Dong, Roth, Su, Gaussian Differential Privacy, JRSS B 2022, corollary 3.3.
    """
    sizes = block_sizes(task)
    names = [block.name for block in blocks]
    if len(set(names)) != len(names):
        raise ProtocolError("two blocks have one name")
    for block in blocks:
        _check_block(block, sizes)
    if audit_sigma > 0:
        _check_noise(blocks, audit_sigma)


def block_sizes(task: Task) -> dict[str, int]:
    """Return the length of every block that an evaluation of ``task`` may send."""
    bins = len(task.evaluation.edges) - 1
    if task.task.kind == "segmentation":
        sizes = {"n": 1, "dice_histogram": bins + 2, "dice_sum": 1}
        return sizes | ({"exact": 2} if task.exact else {})
    sizes = {"n": 1, "positives": 1, "operating": 4, "table": 2 * bins}
    return sizes | ({"exact": 1} if task.exact else {})


def _check_block(block: Block, sizes: Mapping[str, int]) -> None:
    if block.name not in sizes:
        raise ProtocolError(f"block {block.name!r} is not one of {', '.join(sizes)}")
    if block.values.shape != (sizes[block.name],):
        raise ProtocolError(
            f"block {block.name!r} has shape {block.values.shape}, not ({sizes[block.name]},)"
        )
    if not np.isfinite(block.values).all() and block.name != "exact":
        raise ProtocolError(f"block {block.name!r} holds a value that is not finite")
    if not (math.isfinite(block.sigma) and block.sigma >= 0):
        raise ProtocolError(f"block {block.name!r} has the noise {block.sigma}")
    if not (math.isfinite(block.sensitivity) and block.sensitivity >= 0):
        raise ProtocolError(f"block {block.name!r} has the sensitivity {block.sensitivity}")


def _check_noise(blocks: tuple[Block, ...], audit_sigma: float) -> None:
    if any(block.sigma == 0 or block.sensitivity == 0 for block in blocks):
        raise ProtocolError("a block is exact although the contract asks for noise")
    total = math.sqrt(sum((block.sensitivity / block.sigma) ** 2 for block in blocks))
    if total * audit_sigma > 1 + 1e-9:
        raise ProtocolError(
            f"the blocks' joint noise multiplier is {1 / total:.4g}, agreed are {audit_sigma:.4g}"
        )
