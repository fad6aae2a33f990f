"""Compute something from what all sites sent, without those whose own values break it.

Sums come from elsewhere and may break any formula; one site must not stop what is said of the
others. What is computed, and who is told of a site that was left out, belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Found]):
    """What came out; kinds of errors are names of classes, for texts may name sites."""

    found: Found | None  # None: it fails even without the sites to blame
    blamed: Mapping[str, str]  # site: the kind of error that its values alone raise
    problem: str = ""  # the kind of error that no single site explains


def sparing(
    values: Mapping[str, Value], compute: Callable[[Mapping[str, Value]], Found]
) -> Outcome[Found]:
    """Compute from all sites' values; where that fails, from those that allow it alone.

    Args:
        values: What each site sent.
        compute: Changes nothing, for it is called again after any error.
    """
    found, problem = _attempt(values, compute)
    if not problem:
        return Outcome(found, {})
    alone = {site: _attempt({site: own}, compute)[1] for site, own in values.items()}
    blamed = {site: why for site, why in alone.items() if why}
    kept = {site: own for site, own in values.items() if site not in blamed}
    found, problem = _attempt(kept, compute)
    return Outcome(found, blamed, problem)


def _attempt(
    values: Mapping[str, Value], compute: Callable[[Mapping[str, Value]], Found]
) -> tuple[Found | None, str]:
    try:
        return compute(values), ""
    except Exception as error:  # noqa: BLE001  # whatever sums from elsewhere can break
        return None, type(error).__name__
