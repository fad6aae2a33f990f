"""Turn templates into answers: one look for all screens, everything in a page escaped.

A page is drawn once for all who may see the same and are shown the same data; only the token of
its forms is each visitor's own. Files of the look come from this package, from memory.
"""

from __future__ import annotations

import html
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from importlib import resources
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from fedrad.screens.guarding import visitor_of

_TOKEN, _NAME = "\x02token\x03", "\x02name\x03"  # no characters of a page: the visitor's own
_KINDS = {"page.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_KEPT = 64  # pages
_FRESH_S = 5.0  # a page says times; an older one is drawn anew


class Pages:
    """The templates of one package over those of this one."""

    def __init__(self, package: str, filters: Mapping[str, Callable[..., Any]]) -> None:
        """Load templates.

        Args:
            package: Whose ``templates`` folder it is.
            filters: What its templates may call.
        """
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader(
                [
                    jinja2.PackageLoader(package, "templates"),
                    jinja2.PackageLoader("fedrad.screens", "templates"),
                ]
            ),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= filters
        self._kept: OrderedDict[Hashable, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def answer(
        self, request: Request, template: str, context: Mapping[str, Any], *, status: int = 200
    ) -> Response:
        """Draw a page for whoever asks."""
        return self._finished(request, self._drawn(request, template, context), status)

    def kept(
        self, request: Request, stamp: Hashable, draw: Callable[[], tuple[str, Mapping[str, Any]]]
    ) -> Response:
        """Return a page that may have been drawn for another visitor of the same role.

        Args:
            request: Who asks for what.
            stamp: What differs when the data do.
            draw: Returns the template and its context; called where nothing was kept.
        """
        key = (stamp, str(request.url.path), str(request.url.query), visitor_of(request).role)
        with self._lock:  # the others wait for the first, and take its page
            drawn_s, body = self._kept.get(key, (0.0, ""))
            if not body or time.monotonic() - drawn_s > _FRESH_S:
                body = self._drawn(request, *draw())
                self._kept[key] = time.monotonic(), body
                self._kept.move_to_end(key)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return self._finished(request, body, 200)

    def _drawn(self, request: Request, template: str, context: Mapping[str, Any]) -> str:
        visitor = visitor_of(request)
        about = {"role": visitor.role, "may_act": visitor.may_act, "token": _TOKEN}
        about |= {"path": request.url.path, "visitor": _NAME}
        return self._environment.get_template(template).render({**about, **context})

    @staticmethod
    def _finished(request: Request, body: str, status: int) -> Response:
        name = html.escape(visitor_of(request).name)
        own = body.replace(_TOKEN, request.state.token).replace(_NAME, name)
        return HTMLResponse(own, status_code=status)


def static(request: Request) -> Response:
    """Return one file of the look."""
    name = request.path_params["name"]
    if name not in _KINDS:
        return PlainTextResponse("there is no such file", status_code=404)
    content = resources.files("fedrad.screens").joinpath("static", name).read_bytes()
    return Response(content, media_type=_KINDS[name])
