"""A SuperLink whose database is busy: a caller waits and asks again, and no reply is lost.

Flower keeps every piece of a model in one SQLite file, which takes one writer at a time. While
pieces of a large model are written, others wait; Flower's five seconds were too few at 500 MB,
and the study's program got a status that it does not ask again for. Here they wait longer, and
who waited in vain is told so (503), which Flower's clients ask again for. Replies are claimed
and taken out in one transaction: after a failure in between nobody could have had them.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import OperationalError

from fedrad.flower.lookup import private

_extensions = private("flwr.superlink", "extensions")
_configure = private("flwr.superlink.extensions", "configure_app")
_handlers = private("flwr.superlink.servicer.runtime", "runtime_handlers")
_pull_messages = private("flwr.superlink.servicer.runtime.runtime_handlers", "pull_messages")
_mixin = private("flwr.supercore", "sql_mixin")
_PRAGMAS = private("flwr.supercore.sql_mixin", "SQLITE_PRAGMAS")

WAIT_S = 20  # for the one writer; less than the 30 s that Flower's clients wait for an answer
_log = logging.getLogger(__name__)


def wait_for_the_database() -> None:
    """Let this process's SuperLink do so; before it opens its database."""
    others = [pragma for pragma in _PRAGMAS if pragma[0] != "busy_timeout"]
    _mixin.SQLITE_PRAGMAS = (("busy_timeout", str(WAIT_S * 1000)), *others)
    _handlers.pull_messages = pull_at_once
    _extensions.configure_app = _configure_app


def pull_at_once(request: Any, state: Any, task: Any) -> Any:
    """Give the replies that have come, in one transaction."""
    with state.session():
        return _pull_messages(request, state, task)


def _configure_app(app: FastAPI) -> None:
    app.add_exception_handler(OperationalError, not_now)
    _configure(app)


def not_now(request: Request, error: Exception) -> Response:
    """Answer a call that the database refused: locked, or its disk is full."""
    cause = getattr(error, "orig", None) or error
    _log.error("%s was put off: the database says %s", request.url.path, cause)
    return Response("the database is busy; ask again", status_code=503)
