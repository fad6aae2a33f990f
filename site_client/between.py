"""Measure the newest model on this hospital's own patients while nothing is asked.

Between two releases its people see how the model does, exactly. Nothing leaves, so nothing is
charged; a question that comes is answered first: reading patients stops within one of them, and
the next quiet moment begins anew.
"""

from __future__ import annotations

from collections.abc import Callable

from site_client.training.source import PatientSource, Record

Asked = Callable[[], bool]


class QuestionCameError(Exception):
    """Somebody asks; what was begun is left."""


class Quiet:
    """A source that is read only while nothing is asked."""

    def __init__(self, source: PatientSource, asked: Asked) -> None:
        self._source, self._asked = source, asked

    def __len__(self) -> int:
        return len(self._source)

    def record(self, index: int, /) -> Record:
        """Return patient ``index``, counted from 0.

        Raises:
            QuestionCameError: Somebody asks.
        """
        leave_if(self._asked)
        return self._source.record(index)


def leave_if(asked: Asked) -> None:
    """Raise ``QuestionCameError`` if somebody asks."""
    if asked():
        raise QuestionCameError
