"""What a site's program says about itself: its own sentences, never a library's.

Libraries quote what they stumble over: a parser's warning holds the value of an element, an
error's text the name of a patient. ``begin`` puts itself between them and every handler of
this process: a library's log record, warning and error keep their kind and place and lose
their text. Own records pass, because their messages are constants and their values counts or
pseudonyms. Where logs go is the operator's choice.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from fedrad.errors import FedradError

OWN = ("fedrad", "site_client", "aggregator", "simulations", "flwr", "__main__")
SILENCED = "a message of a library: its text is not kept, it may quote a file"
_log = logging.getLogger(__name__)
_NOTHING_RAISED = (None, None, None)


def begin() -> None:
    """Let no text of a library into this process's logs, warnings and crash reports.

    May be called again. It also forbids core files: they would hold the memory of a process
    that reads patients.
    """
    logging.setLogRecordFactory(_QuietRecord)
    warnings.showwarning = _show_warning
    sys.excepthook = _report
    sys.unraisablehook = lambda found: _report(found.exc_type, found.exc_value, found.exc_traceback)
    threading.excepthook = lambda found: _report(
        found.exc_type, found.exc_value, found.exc_traceback
    )
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def describe(error: BaseException) -> str:
    """Return a traceback without what a library said: places, kinds, and own sentences.

    Returns:
        Lines from the outermost call to the error; causes first, as Python prints them.
    """
    return "\n".join(_lines(error, set()))


class _QuietRecord(logging.LogRecord):
    """A log record without the text of a library."""

    def __init__(  # noqa: PLR0913, PLR0917  # the signature that logging calls
        self,
        name: str,
        level: int,
        pathname: str,
        lineno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        sinfo: str | None = None,
        **more: Any,
    ) -> None:
        if not _is_own(name):
            msg, args = SILENCED, ()
        super().__init__(name, level, pathname, lineno, msg, args, None, func, sinfo, **more)
        if exc_info and exc_info != _NOTHING_RAISED:
            self.exc_text = describe(exc_info[1])


def _is_own(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in OWN


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "then:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {_place(frame.filename)}:{frame.lineno} in {frame.name}"
    yield _said(error)


def _said(error: BaseException) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, FedradError):
        return "; ".join([f"{kind}: {error}", *getattr(error, "__notes__", ())])
    if isinstance(error, OSError) and error.strerror:
        return f"{kind}: {error.strerror}"
    return f"{kind} (its text is not kept)"


def _place(filename: str) -> str:
    # The package and the module: where it is installed is nobody's business.
    return "/".join(Path(filename).parts[-3:])


def _show_warning(  # noqa: PLR0913, PLR0917  # the signature that warnings calls
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del message, file, line
    place = f"{_place(filename)}:{lineno}"
    _log.warning("a library warned", extra={"kind": category.__name__, "place": place})


def _report(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    del kind, trace
    if error is not None and not isinstance(error, SystemExit):
        print(describe(error), file=sys.stderr)  # noqa: T201  # what Python's own hook does
