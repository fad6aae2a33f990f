"""Every deliberate error of fedrad, so that a caller can catch what it can answer.

The tree::

    FedradError
    ├── SettingsError          a file that a person wrote cannot be used
    ├── DataError              images or labels that cannot be used
    │   ├── ArchiveError       an archive that is missing or cannot be read
    │   └── LabelError         labels that are missing or do not fit the images
    ├── ModelError             a network that cannot be trained as asked
    ├── ParametersError        tensors that do not fit the model
    │   └── NonFiniteUpdateError
    ├── PrivacyError           privacy that would not hold
    │   ├── BudgetExceededError
    │   ├── NotReadyError      a refusal that depends on patients
    │   ├── DeclinedError      a study that the site never accepted
    │   │   ├── ContractChangedError
    │   │   └── ExpiredError
    │   ├── AlreadyChargedError
    │   └── LedgerError        a ledger that does not verify
    │       └── LostLinesError
    ├── EnrolmentError         a request, invitation or approval that cannot be accepted
    ├── ProtocolError          a message that cannot be accepted
    ├── RunError               a run that cannot start or go on
    ├── UnreachableError       another program that does not answer
    └── DamagedStateError      files of fedrad's own that do not verify

Values go into ``args`` and the text into ``__str__``: an error survives pickling between
processes. Exit codes are those of the commands (docs/architecture.md).
"""

from __future__ import annotations

from typing import ClassVar


class FedradError(Exception):
    """Any deliberate error; ``exit_code`` is what a command ends with."""

    exit_code: ClassVar[int] = 1


class SettingsError(FedradError):
    """A file that a person wrote has problems; all of them are named at once."""

    exit_code = 2

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        super().__init__(source, problems)
        self.source, self.problems = source, problems

    def __str__(self) -> str:
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{self.source} cannot be used:\n{lines}"


class DataError(FedradError):
    """Images or labels that cannot be used."""


class ArchiveError(DataError):
    """An archive that is missing or cannot be read."""

    exit_code = 3


class LabelError(DataError):
    """Labels that are missing or do not fit the images."""


class ModelError(FedradError):
    """A network that cannot be trained as asked."""

    exit_code = 2


class ParametersError(FedradError):
    """Tensors that do not fit the model they are meant for."""


class NonFiniteUpdateError(ParametersError):
    """An update holds NaN or an infinity."""

    def __init__(self, tensor: str) -> None:
        super().__init__(tensor)
        self.tensor = tensor

    def __str__(self) -> str:
        return f"tensor {self.tensor!r} holds a value that is not finite; lower the learning rate"


class PrivacyError(FedradError):
    """Privacy that would not hold."""

    exit_code = 4


class BudgetExceededError(PrivacyError):
    """A step would take a site past the privacy it agreed to spend."""

    def __init__(self, site: str, after: float, limit: float) -> None:
        super().__init__(site, after, limit)
        self.site, self.after, self.limit = site, after, limit

    def __str__(self) -> str:
        return (
            f"site {self.site!r} declines: the round would bring epsilon to {self.after:.2f}, "
            f"over its limit of {self.limit:.2f}; ask for fewer steps or more noise"
        )


class NotReadyError(PrivacyError):
    """A refusal whose reason depends on patients: the wire says only "not-ready"."""


class AlreadyChargedError(PrivacyError):
    """A reply that was charged and settled before is asked for again."""

    def __init__(self, reservation: str, stream: str) -> None:
        super().__init__(reservation, stream)
        self.reservation, self.stream = reservation, stream

    def __str__(self) -> str:
        return (
            f"reply {self.reservation} was charged to {self.stream} and settled before; "
            "send the kept reply again, or sit this round out"
        )


class DeclinedError(PrivacyError):
    """A request of a study, task or contract that the site did not accept."""


class ContractChangedError(DeclinedError):
    """A request whose task or contract is not the one that the site accepted."""


class ExpiredError(DeclinedError):
    """A request of a study whose contract has run out."""


class LedgerError(PrivacyError):
    """A privacy ledger that does not verify."""

    exit_code = 5


class LostLinesError(LedgerError):
    """A ledger without a line that the aggregator saw: it was deleted or rolled back."""


class EnrolmentError(FedradError):
    """A request, an invitation or an approval that cannot be accepted."""

    exit_code = 4


class ProtocolError(FedradError):
    """A message that cannot be accepted."""


class MessageTooLargeError(ProtocolError):
    """A message, or an answer, of more bytes than are taken."""


class RunError(FedradError):
    """A run that cannot start or go on."""


class UnreachableError(FedradError):
    """Another program, here or elsewhere, that does not answer."""

    exit_code = 3


class DamagedStateError(FedradError):
    """Files of fedrad's own that do not verify."""

    exit_code = 5
