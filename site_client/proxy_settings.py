"""``[proxy]`` of ``site.toml``: the hospital's HTTP proxy, if its way out leads through one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedrad.enrolment import address_problems
from fedrad.errors import SettingsError
from fedrad.settings import refuse_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy that takes CONNECT, with Basic authentication if it asks for it."""

    address: str  # host:port
    user: str = ""
    password_file: Path | None = None  # its first line; readable by its owner alone

    def __post_init__(self) -> None:
        refuse_problems("proxy", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from address_problems("address", self.address)
        if ":" in self.user or not self.user.isprintable():
            yield "user must be one word without a colon"
        if bool(self.user) != (self.password_file is not None):
            yield "user and password_file belong together: give both, or neither"

    @property
    def url(self) -> str:
        """The proxy as an address of its own, without credentials."""
        return f"http://{self.address}"

    def password(self) -> str:
        """Read the password.

        Raises:
            SettingsError: The file cannot be read, is open to others, or is empty.
        """
        if self.password_file is None:
            return ""
        try:
            mode = self.password_file.stat().st_mode
            lines = self.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise self._unusable("cannot be read") from None
        if mode & 0o077:
            raise self._unusable("can be read by others; chmod 600 it")
        if not lines or not lines[0]:
            raise self._unusable("is empty")
        return lines[0]

    def _unusable(self, why: str) -> SettingsError:
        return SettingsError("proxy", (f"password_file {self.password_file} {why}",))
