"""How an error becomes a reply: an outcome, one word over the wire, one sentence at home.

The word tells nothing that depends on patients but "not-ready"; the sentence is for the site's
own screens.
"""

from __future__ import annotations

from fedrad.errors import (
    AlreadyChargedError,
    BudgetExceededError,
    ContractChangedError,
    DataError,
    DeclinedError,
    ExpiredError,
    FedradError,
    LedgerError,
    LostLinesError,
    NotReadyError,
    PrivacyError,
)
from fedrad.protocol.messages import Outcome, Reason

_HOW: dict[type[Exception], tuple[Outcome, Reason]] = {
    ContractChangedError: ("refused", "contract-changed"),
    ExpiredError: ("abstained", "declined"),
    DeclinedError: ("refused", "declined"),
    BudgetExceededError: ("refused", "budget"),
    NotReadyError: ("abstained", "not-ready"),
    DataError: ("abstained", "not-ready"),
    AlreadyChargedError: ("failed", "failed"),
    LostLinesError: ("refused", "declined"),
    LedgerError: ("failed", "failed"),
    PrivacyError: ("refused", "declined"),
    Exception: ("failed", "failed"),
}


def of(error: Exception) -> tuple[Outcome, Reason]:
    """Return the outcome and the reason of a reply to a request that ended in ``error``."""
    return next(how for kind, how in _HOW.items() if isinstance(error, kind))


def sentence(error: Exception) -> str:
    """Return what the site's own screen says; of an error that is not fedrad's, no value."""
    if isinstance(error, FedradError):
        return "; ".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, OSError):
        return f"the disk refused: {error.strerror or type(error).__name__}; make room and go on"
    return f"an unexpected {type(error).__name__}; the site's log shows where"
