"""Two models in one message, to be compared on the same patients; and whether sums are of that.

The request names the digest of both together, so that a comparison with another model in use is
another question. Counting is ``gate``'s business; whom to ask is the aggregator's.
"""

from __future__ import annotations

from fedrad.agreed_sums import Agreed, check_released
from fedrad.errors import ProtocolError
from fedrad.parameters import Parameters
from fedrad.protocol.messages import Block
from fedrad.shift.gate import OUTLINES
from fedrad.site_report import COMPARISON, COMPARISON_OUTLINES
from fedrad.task import Task

BEFORE, AFTER = "in-use/", "new/"
SIZES = {"disagreement": 4, "labels": 2}
OUTLINED = dict.fromkeys(OUTLINES, 1)


def may_compare(task: Task) -> bool:
    """Whether the task grants comparisons: it has windows."""
    return task.monitoring is not None


def together(before: Parameters, after: Parameters) -> Parameters:
    """Return both models as one set of tensors.

    Args:
        before: The model in use.
        after: The new one, of the same parameters.
    """
    pair = {BEFORE: before, AFTER: after}
    return {f"{whose}{name}": model[name] for whose, model in pair.items() for name in model}


def apart(both: Parameters) -> tuple[Parameters, Parameters]:
    """Return the model in use and the new one.

    Raises:
        ProtocolError: A tensor belongs to neither, or the two are not of the same parameters.
    """
    found: dict[str, Parameters] = {BEFORE: {}, AFTER: {}}
    for name, tensor in both.items():
        whose = next((prefix for prefix in found if name.startswith(prefix)), "")
        if not whose:
            raise ProtocolError("a tensor of a comparison belongs to neither model")
        found[whose][name.removeprefix(whose)] = tensor
    if not found[BEFORE] or found[BEFORE].keys() != found[AFTER].keys():
        raise ProtocolError("a comparison needs two models of the same parameters")
    return found[BEFORE], found[AFTER]


def check_comparison(blocks: tuple[Block, ...], task: Task, *, audit_sigma: float) -> None:
    """Refuse sums that are no comparison, other noise than agreed, or no sums of patients.

    Raises:
        ProtocolError: Names the block and what is wrong with it.
    """
    check_released(blocks, _agreed(task), sigma=audit_sigma)


def _agreed(task: Task) -> dict[str, Agreed]:
    if task.task.kind == "segmentation":
        return {
            name: Agreed(OUTLINED[name], OUTLINES[name], share)
            for name, share in COMPARISON_OUTLINES.items()
        }
    return {name: Agreed(SIZES[name], 1.0, share) for name, share in COMPARISON.items()}
