"""Who looks at a screen, and whether they may act: two doors, one for each way in.

Over the loopback it is whoever has a key that the command printed; over a Unix socket, the
institution's own proxy says who, in two headers. Each door knows its own way alone: a header
over the loopback is no claim, because nothing reads it. A token ties a form to the visitor that
it was shown to. What is asked is ``guarding``'s business.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Literal, Protocol

from starlette.datastructures import Headers

from fedrad.settings import refuse_problems

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "operator")
LONGEST_NAME = 100
_HEADER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """One person in front of a screen."""

    name: str  # empty: unknown, as of everybody who may only look over the loopback
    role: Role
    session: str  # what a token is tied to; a secret over the loopback

    @property
    def may_act(self) -> bool:
        """Whether this person may change anything."""
        return self.role == "operator"


class Door(Protocol):
    """One way in."""

    cookie: str  # the name of the cookie that a key buys; empty: no key opens this door

    def visitor(self, headers: Headers) -> Visitor | None:
        """Return who asks; ``None``: nobody who may."""

    def enter(self, key: str) -> str:
        """Return the session that a key opens; empty: none."""

    def token(self, visitor: Visitor) -> str:
        """Return what a form shown to this visitor must bring back."""

    def fits(self, visitor: Visitor, token: str) -> bool:
        """Whether a form was shown to this visitor."""


class _Tokens:
    """Tokens under a secret of this process: a restart makes every form a stranger's."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def token(self, visitor: Visitor) -> str:
        """Return what a form shown to this visitor must bring back."""
        return self._sealed(f"form {visitor.session}")

    def fits(self, visitor: Visitor, token: str) -> bool:
        """Whether a form was shown to this visitor."""
        return hmac.compare_digest(self.token(visitor).encode(), token.encode())

    def _sealed(self, text: str) -> str:
        return hmac.new(self._secret, text.encode("utf-8"), hashlib.sha256).hexdigest()


class KeyDoor(_Tokens):
    """The loopback: a key for each role, made anew at every start.

    Attributes:
        keys: Role to key; the operator's only where a person is named who acts.
    """

    def __init__(self, port: int, operator: str = "") -> None:
        super().__init__()
        self.cookie = f"fedrad-{port}"  # browsers tell hosts apart by name, not by port
        self._operator = operator
        roles = ROLES if operator else ("viewer",)
        self.keys: dict[Role, str] = {role: secrets.token_urlsafe(24) for role in roles}

    def enter(self, key: str) -> str:
        """Return the session that a key opens; empty: none."""
        for role, known in self.keys.items():
            if hmac.compare_digest(known.encode(), key.encode()):
                begun = f"{role}.{secrets.token_hex(16)}"
                return f"{begun}.{self._sealed(begun)}"
        return ""

    def visitor(self, headers: Headers) -> Visitor | None:
        """Return whose cookie this is, or a viewer who shows a key; no header says more."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":  # a program that reads /metrics keeps no cookies
            known = hmac.compare_digest(self.keys["viewer"].encode(), key.strip().encode())
            return Visitor(name="", role="viewer", session=f"bearer {key}") if known else None
        session = _cookie(headers, self.cookie)
        begun, _, seal = session.rpartition(".")
        if not begun or not hmac.compare_digest(self._sealed(begun).encode(), seal.encode()):
            return None
        role: Role = "operator" if begun.startswith("operator.") else "viewer"
        name = self._operator if role == "operator" else ""
        return Visitor(name=name, role=role, session=session)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeaders:
    """How the institution's proxy says who asks."""

    user: str = "X-Remote-User"
    role: str = "X-Fedrad-Role"

    def __post_init__(self) -> None:
        refuse_problems("headers", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for name in (self.user, self.role):
            if not name or not set(name.lower()) <= _HEADER:
                yield f"a header's name is letters, digits and -, got {name!r}"
        if self.user.lower() == self.role.lower():
            yield f"user and role need different headers, got {self.user!r} twice"


class ProxyDoor(_Tokens):
    """A Unix socket behind the institution's proxy: what it says is believed, word for word."""

    cookie = ""

    def __init__(self, headers: ProxyHeaders) -> None:
        super().__init__()
        self._headers = headers

    def enter(self, key: str) -> str:
        """Return no session: no key opens this door."""
        del key
        return ""

    def visitor(self, headers: Headers) -> Visitor | None:
        """Return whom the proxy names: a viewer, unless it says operator.

        A header that is there twice, or a role that is none, is nobody: such a request passed a
        proxy that does not do its work.
        """
        names, roles = headers.getlist(self._headers.user), headers.getlist(self._headers.role)
        if len(names) != 1 or len(roles) > 1:
            return None
        name = names[0].strip()
        role = next((known for known in ROLES if known == (roles or ["viewer"])[0]), None)
        if not name or len(name) > LONGEST_NAME or not name.isprintable() or role is None:
            return None
        return Visitor(name=name, role=role, session=f"{role} {name}")


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return found[name].value if name in found else ""
