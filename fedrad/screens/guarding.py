"""Every request passes here first: who asks, for which host, with which token.

An ASGI middleware. What nobody may do is refused before any page is looked up; what a page
answers leaves with a policy under which a browser loads and sends nothing elsewhere. Forms are
the only way to change something: only an operator's, with the token of the page it came from.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedrad.screens.access import Door, Visitor

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
ENTER, STATIC, TOKEN = "/enter", "/static/", "token"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MOST_BYTES = 1 << 16  # of a form
_CLOSED = (
    "This page opens with the whole address that the command printed, key included; the key is "
    "another after every start."
)
_FOREIGN = "This form is not from a page that was shown to you; load the page again."


class Guarded:
    """An application behind a door."""

    def __init__(self, app: ASGIApp, door: Door, hosts: Collection[str] = ()) -> None:
        """Guard ``app``.

        Args:
            app: What answers.
            door: Who may ask.
            hosts: Names under which it may be asked for, without port; empty: any. Another
                name is a foreign page that turned its own name to this machine.
        """
        self._app, self._door, self._hosts = app, door, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on, one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = await self._refusal(scope, receive) or self._app

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await answer(scope, receive, safely)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """Return what is answered instead of the page; ``None``: the page may be asked."""
        headers = Headers(scope=scope)
        if self._hosts and _host(headers) not in self._hosts:
            return PlainTextResponse("another host is asked for", status_code=421)
        if scope["path"] == ENTER:
            return self._entered(scope)
        reads = scope["method"] in ("GET", "HEAD")
        if reads and scope["path"].startswith(STATIC):
            return None
        visitor = self._door.visitor(headers)
        if visitor is None:
            return PlainTextResponse(_CLOSED, status_code=403)
        scope.setdefault("state", {}).update(visitor=visitor, token=self._door.token(visitor))
        return None if reads else await self._refused_form(scope, receive, visitor)

    async def _refused_form(
        self, scope: Scope, receive: Receive, visitor: Visitor
    ) -> Response | None:
        """Return why a form is refused; else leave its fields in the request's state."""
        if scope["method"] != "POST":
            return PlainTextResponse("not possible here", status_code=405)
        if not visitor.may_act:
            return PlainTextResponse("a viewer looks; an operator acts", status_code=403)
        if Headers(scope=scope).get("sec-fetch-site", "same-origin") != "same-origin":
            return PlainTextResponse(_FOREIGN, status_code=403)
        fields = await _fields(Request(scope, receive))
        if fields is None:
            return PlainTextResponse("this is no form of these pages", status_code=400)
        if not self._door.fits(visitor, fields.pop(TOKEN, "")):
            return PlainTextResponse(_FOREIGN, status_code=403)
        scope["state"]["fields"] = fields
        return None

    def _entered(self, scope: Scope) -> Response:
        keys = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])
        session = self._door.enter(keys[0])
        if not session:
            return PlainTextResponse(_CLOSED, status_code=403)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(self._door.cookie, session, httponly=True, samesite="strict")
        return answer


def visitor_of(request: Request) -> Visitor:
    """Return who asks for a page that was passed on."""
    visitor: Visitor = request.state.visitor
    return visitor


def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that was passed on, the token left out."""
    fields: dict[str, str] = request.state.fields
    return fields


async def _fields(request: Request) -> dict[str, str] | None:
    """Return a form's fields, each once; ``None`` where it is none of ours."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            return None
    try:
        found = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        return None
    return {name: values[0] for name, values in found.items()}


def _host(headers: Headers) -> str:
    host = headers.get("host", "").lower()
    return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
