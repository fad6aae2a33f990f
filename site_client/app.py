"""The site's Flower ClientApp: decode, answer, encode, and nothing else.

One factory serves every engine. It takes a way from Flower's context to the site's runtime,
so that the same app finds one hospital's home in a hospital and any site's in a simulation.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedrad.protocol.codec import decode_request, encode_reply
from site_client.round import Site, SiteRuntime

RuntimeOf = Callable[[Context], SiteRuntime]


def client_app(runtime_of: RuntimeOf) -> ClientApp:
    """Build the app; sites stay warm between messages of one process.

    Args:
        runtime_of: From a message's context to the site that answers it.
    """
    sites: dict[SiteRuntime, Site] = {}

    def answer(message: Message, context: Context) -> Message:
        runtime = runtime_of(context)
        site = sites.setdefault(runtime, Site(runtime))
        request, model = decode_request(message)
        return encode_reply(site.answer(request, model), message)

    app = ClientApp()
    for register in (app.train, app.evaluate, app.query):
        register()(answer)
    return app
