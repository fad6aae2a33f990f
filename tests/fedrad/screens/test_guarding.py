"""Every request is refused before a page is looked up, or leaves with a strict policy."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from fedrad.screens.access import KeyDoor, ProxyDoor, ProxyHeaders
from fedrad.screens.guarding import LOOPBACK, Guarded, fields_of, visitor_of

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Tried:
    """An application that notes what reached it, behind a door."""

    def __init__(self, role: str = "operator") -> None:
        self.acted: list[dict[str, str]] = []
        self.door = KeyDoor(8600, operator="Dr A")

        def page(request: Request) -> Response:
            return PlainTextResponse(request.state.token)

        def act(request: Request) -> Response:
            self.acted.append(fields_of(request) | {"by": visitor_of(request).name})
            return PlainTextResponse("done")

        routes = [Route("/", page), Route("/act", act, methods=["POST"])]
        app = Guarded(Starlette(routes=routes), self.door, LOOPBACK)
        self.client = TestClient(app, base_url="http://127.0.0.1:8600", follow_redirects=True)
        if role:
            self.client.get(f"/enter?key={self.door.keys[role]}")  # type: ignore[index]

    def post(self, token: str, **headers: str) -> int:
        """Send a form with a token; return the status."""
        body = f"token={token}&reason=because"
        return self.client.post("/act", content=body, headers=FORM | headers).status_code


def test_a_form_with_its_token_acts_under_the_operators_name() -> None:
    tried = Tried()
    assert tried.post(tried.client.get("/").text) == 200
    assert tried.acted == [{"reason": "because", "by": "Dr A"}]


@pytest.mark.parametrize("token", ["", "0" * 64, "x"])
def test_a_forged_or_missing_token_cannot_act(token: str) -> None:
    tried = Tried()
    assert tried.post(token) == 403
    assert not tried.acted


def test_a_viewer_cannot_act_even_with_a_token() -> None:
    tried = Tried("viewer")
    assert tried.post(tried.client.get("/").text) == 403
    assert not tried.acted


def test_nobody_without_a_key_sees_or_does_anything() -> None:
    tried = Tried("")
    assert tried.client.get("/").status_code == 403
    assert tried.client.get("/enter?key=guess").status_code == 403
    assert tried.post("") == 403


def test_a_form_from_another_site_cannot_act() -> None:
    tried = Tried()
    assert tried.post(tried.client.get("/").text, **{"sec-fetch-site": "cross-site"}) == 403
    assert not tried.acted


def test_a_role_header_over_tcp_is_ignored() -> None:
    headers = {"x-remote-user": "mallory", "x-fedrad-role": "operator"}
    tried = Tried("viewer")
    assert tried.post(tried.client.get("/", headers=headers).text, **headers) == 403
    assert Tried("").client.get("/", headers=headers).status_code == 403


def test_another_host_name_is_a_foreign_pages_trick() -> None:
    tried = Tried()
    assert tried.client.get("/", headers={"host": "evil.example:8600"}).status_code == 421
    assert tried.client.get("/", headers={"host": "localhost:8600"}).status_code == 200
    assert tried.client.get("/", headers={"host": "[::1]:8600"}).status_code == 200


def test_json_or_a_large_body_is_no_form() -> None:
    tried = Tried()
    token = tried.client.get("/").text
    sent = tried.client.post("/act", json={"token": token})
    assert sent.status_code == 400
    assert tried.post(token + "&pad=" + "x" * 70_000) == 400
    assert tried.client.put("/act", content="x").status_code == 405


def test_everything_leaves_with_a_policy_that_loads_nothing_from_elsewhere() -> None:
    tried = Tried()
    for path in ("/", "/nothing", "/enter?key=x"):
        headers = tried.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_session_is_no_business_of_scripts_or_other_sites() -> None:
    tried = Tried("")
    answer = tried.client.get(f"/enter?key={tried.door.keys['viewer']}", follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert answer.headers["location"] == "/"


def test_behind_a_proxy_the_host_is_the_proxys_business() -> None:
    def name(request: Request) -> Response:
        return PlainTextResponse(visitor_of(request).name)

    app = Guarded(Starlette(routes=[Route("/", name)]), ProxyDoor(ProxyHeaders()))
    client = TestClient(app, base_url="https://fed.example.org")
    assert client.get("/", headers={"x-remote-user": "a.b"}).text == "a.b"
    assert client.get("/").status_code == 403
