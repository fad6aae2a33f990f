"""The site's Flower ClientApp: decode, answer, encode, and nothing else.

One factory serves every engine. It takes a way from Flower's context to the site's runtime,
so that the same app finds one hospital's home in a hospital and any site's in a simulation.
It is the edge of the site's program: Flower puts the text of an exception on the wire, so
none leaves here: what went wrong stays in the site's own log, without the text of any
library (``fedrad.logs``); what was spent is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedrad.errors import ProtocolError, RunError
from fedrad.logs import begin
from fedrad.parameters import Parameters
from fedrad.protocol.codec import content_bytes, decode_request, encode_reply
from fedrad.protocol.messages import Reply, Request
from site_client import correspondence
from site_client.round import Site, SiteRuntime

RuntimeOf = Callable[[Context], SiteRuntime]

_log = logging.getLogger(__name__)


def client_app(runtime_of: RuntimeOf, sites: dict[SiteRuntime, Site] | None = None) -> ClientApp:
    """Build the app; sites stay warm between messages of one process.

    Args:
        runtime_of: From a message's context to the site that answers it.
        sites: Where they stay, for a caller who has a use for them between messages.
    """
    begin()
    sites = {} if sites is None else sites

    def answer(message: Message, context: Context) -> Message:
        runtime = runtime_of(context)
        site = sites.setdefault(runtime, Site(runtime))
        try:
            request, model = decode_request(message)
        except ProtocolError as error:
            correspondence.not_answered(runtime.home, content_bytes(message), str(error))
            raise
        correspondence.received(runtime.home, request, content_bytes(message))
        reply = _answered(site, request, model)
        answer = encode_reply(reply, message)
        correspondence.sent(runtime.home, reply, content_bytes(answer))
        return answer

    app = ClientApp()
    for register in (app.train, app.evaluate, app.query):
        register()(answer)
    return app


def _answered(site: Site, request: Request, model: Parameters) -> Reply:
    try:
        try:
            return site.answer(request, model)
        except Exception as error:  # noqa: BLE001  # the edge of a site's program
            _log.error("a request could not be answered", exc_info=True)
            return site.give_up(request, error)
    except Exception as error:  # noqa: BLE001  # site.toml itself cannot be used
        raise RunError(f"the site cannot answer ({type(error).__name__}); see its log") from None
