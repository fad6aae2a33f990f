"""Two doors: a key over the loopback, two headers over a socket; a token for each visitor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from fedrad.errors import SettingsError
from fedrad.screens.access import KeyDoor, ProxyDoor, ProxyHeaders, Visitor


def came_in(door: KeyDoor, role: str) -> Visitor:
    """Return who has the key of a role."""
    headers = Headers({"cookie": f"{door.cookie}={door.enter(door.keys[role])}"})
    visitor = door.visitor(headers)
    assert visitor is not None
    return visitor


def test_a_key_opens_for_its_role_and_names_who_acts() -> None:
    door = KeyDoor(8600, operator="Dr A")
    operator, viewer = came_in(door, "operator"), came_in(door, "viewer")
    assert (operator.name, operator.may_act) == ("Dr A", True)
    assert (viewer.name, viewer.may_act) == ("", False)


def test_without_a_name_nobody_acts_over_the_loopback() -> None:
    assert list(KeyDoor(8600).keys) == ["viewer"]


@given(st.text())
def test_no_other_key_opens(key: str) -> None:
    """Whatever is tried; the keys are made by chance at every start."""
    assert not KeyDoor(8600, operator="Dr A").enter(key)


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n")))
def test_no_other_cookie_is_anybody(session: str) -> None:
    door = KeyDoor(8600, operator="Dr A")
    assert door.visitor(Headers({"cookie": f"{door.cookie}={session}"})) is None


def test_a_viewers_session_cannot_be_made_an_operators() -> None:
    door = KeyDoor(8600, operator="Dr A")
    session = door.enter(door.keys["viewer"]).replace("viewer", "operator")
    assert door.visitor(Headers({"cookie": f"{door.cookie}={session}"})) is None


def test_no_header_says_anything_over_the_loopback() -> None:
    door = KeyDoor(8600, operator="Dr A")
    said = {"x-remote-user": "mallory", "x-fedrad-role": "operator"}
    assert door.visitor(Headers(said)) is None
    with_cookie = said | {"cookie": f"{door.cookie}={door.enter(door.keys['viewer'])}"}
    visitor = door.visitor(Headers(with_cookie))
    assert visitor is not None
    assert not visitor.may_act


def test_a_proxy_is_believed_about_name_and_role() -> None:
    door = ProxyDoor(ProxyHeaders())
    visitor = door.visitor(Headers({"x-remote-user": "a.b", "x-fedrad-role": "operator"}))
    assert visitor is not None
    assert (visitor.name, visitor.may_act) == ("a.b", True)
    looks = door.visitor(Headers({"x-remote-user": "a.b"}))
    assert looks is not None
    assert not looks.may_act


@pytest.mark.parametrize(
    "raw",
    [
        [],
        [(b"x-fedrad-role", b"operator")],
        [(b"x-remote-user", b" ")],
        [(b"x-remote-user", b"a"), (b"x-fedrad-role", b"admin")],
        [(b"x-remote-user", b"a"), (b"x-remote-user", b"b")],
        [(b"x-remote-user", b"a"), (b"x-fedrad-role", b"viewer"), (b"x-fedrad-role", b"operator")],
        [(b"x-remote-user", b"a" * 101)],
    ],
)
def test_a_proxy_that_is_not_clear_lets_nobody_in(raw: list[tuple[bytes, bytes]]) -> None:
    assert ProxyDoor(ProxyHeaders()).visitor(Headers(raw=raw)) is None


def test_a_token_fits_its_visitor_alone() -> None:
    door = KeyDoor(8600, operator="Dr A")
    first, second = came_in(door, "operator"), came_in(door, "operator")
    assert door.fits(first, door.token(first))
    assert not door.fits(first, door.token(second))
    assert not door.fits(first, "")
    assert not KeyDoor(8600, operator="Dr A").fits(first, door.token(first))


def test_a_headers_name_must_be_one() -> None:
    with pytest.raises(SettingsError, match="letters, digits"):
        ProxyHeaders(user="X User")
    with pytest.raises(SettingsError, match="different headers"):
        ProxyHeaders(user="X-Who", role="x-who")
