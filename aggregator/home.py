"""The coordinator's home: ``aggregator.toml``, keys, and a folder for everything it writes.

Only names, settings and permissions live here. Certificates are ``authority``'s, hospitals
``registry``'s, studies ``studies``'s. Private keys lie in ``keys/`` and leave it never.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedrad import durable
from fedrad.enrolment import address_problems
from fedrad.errors import SettingsError
from fedrad.settings import read_settings, refuse_problems

FILE = "aggregator.toml"
AUDIT = "audit.jsonl"
FOLDERS = ("keys", "sites", "studies", "runs", "superlink", "gateway")
_WITH_LOOPBACK = ("0.0.0.0", "127.0.0.1", "localhost", "[::]")  # noqa: S104  # read, not bound
_PRIVATE_FOLDER = 0o700
_CONTENT = """\
# The coordinator's settings. Every line that starts with # shows what holds without it.

[coordinator]
name = {name}
address = {address}          # what hospitals reach: one host, one port

[gateway]
listen = {listen}            # where it answers here
# body_mib = 8                       # largest request; Flower's largest is 5.3 MB
# requests_per_s = 50                # of one hospital

[ports]                              # on loopback only
# superlink = 9443
# health = 9450

[certificates]
# hospital_days = 397
# server_days = 397

[dashboard]                          # fedrad-aggregator dashboard
# port = 8600                        # on loopback only
# socket = "dashboard.sock"          # for the institution's own proxy, which says who asks:
# user_header = "X-Remote-User"
# role_header = "X-Fedrad-Role"      # viewer or operator

[trackers]                           # told released numbers while start runs; letters, always
# mlflow = "https://mlflow.example.org"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """``[coordinator]``: who this is and where hospitals find it."""

    name: str
    address: str  # host:port

    def __post_init__(self) -> None:
        refuse_problems("coordinator", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not 0 < len(self.name) <= 100 or not self.name.isprintable():
            yield f"name must be one line of up to 100 characters, got {self.name!r}"
        yield from address_problems("address", self.address)

    @property
    def host(self) -> str:
        """The address's host, without the brackets of IPv6."""
        return self.address.rpartition(":")[0].strip("[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """``[gateway]``: the one port that hospitals reach."""

    listen: str = "0.0.0.0:443"
    body_mib: int = 8
    requests_per_s: int = 50

    def __post_init__(self) -> None:
        refuse_problems("gateway", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from address_problems("listen", self.listen)
        if not 6 <= self.body_mib <= 1024:
            yield f"body_mib must lie between 6 and 1024, got {self.body_mib}"
        if not 1 <= self.requests_per_s <= 10_000:
            yield f"requests_per_s must lie between 1 and 10000, got {self.requests_per_s}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """``[ports]``: where Flower's server listens on loopback."""

    superlink: int = 9443
    health: int = 9450

    def __post_init__(self) -> None:
        refuse_problems("ports", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not all(0 < port < 65536 for port in (self.superlink, self.health)):
            yield f"ports must lie between 1 and 65535, got {self.superlink} and {self.health}"
        elif self.superlink == self.health:
            yield f"superlink and health need different ports, got {self.superlink} twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """``[certificates]``: for how many days they are good."""

    hospital_days: int = 397
    server_days: int = 397

    def __post_init__(self) -> None:
        refuse_problems("certificates", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not all(1 <= days <= 3650 for days in (self.hospital_days, self.server_days)):
            yield "hospital_days and server_days must lie between 1 and 3650"


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSettings:
    """``[dashboard]``: where screens are shown, and how a proxy says who looks."""

    port: int = 8600
    socket: str = ""  # relative to the home; empty: none
    user_header: str = "X-Remote-User"
    role_header: str = "X-Fedrad-Role"

    def __post_init__(self) -> None:
        refuse_problems("dashboard", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not 0 < self.port < 65536:
            yield f"port must lie between 1 and 65535, got {self.port}"
        headers = (self.user_header, self.role_header)
        if not all(name and name.replace("-", "").isalnum() and name.isascii() for name in headers):
            yield f"a header's name is letters, digits and -, got {list(headers)}"
        elif self.user_header.lower() == self.role_header.lower():
            yield f"user_header and role_header must differ, got {self.user_header!r} twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """``[trackers]``: who else is told released numbers."""

    mlflow: str = ""  # a tracking URI; empty: nobody

    def __post_init__(self) -> None:
        refuse_problems("trackers", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.mlflow and (not self.mlflow.isprintable() or ":" not in self.mlflow):
            yield f"mlflow must be a tracking URI such as https://..., got {self.mlflow!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """The whole of ``aggregator.toml``."""

    coordinator: Coordinator
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    ports: Ports = field(default_factory=Ports)
    certificates: CertificateSettings = field(default_factory=CertificateSettings)
    dashboard: DashboardSettings = field(default_factory=DashboardSettings)
    trackers: TrackerSettings = field(default_factory=TrackerSettings)

    def __post_init__(self) -> None:
        refuse_problems("ports", self)

    def problems(self) -> Iterator[str]:
        """Yield a line if the gateway would want a port of Flower's server."""
        host, _, port = self.gateway.listen.rpartition(":")
        taken = (self.ports.superlink, self.ports.health)
        if host in _WITH_LOOPBACK and int(port) in taken:
            yield (
                f"the gateway listens on {self.gateway.listen} and Flower's server wants port "
                f"{port} on the loopback; give [gateway] listen or [ports] another number"
            )


def read_coordinator(home: Path) -> CoordinatorSettings:
    """Read ``home/aggregator.toml``.

    Raises:
        SettingsError: Every problem of the file at once, or that there is none.
    """
    if not (home / FILE).exists():
        line = "the file does not exist; fedrad-aggregator init --home writes one"
        raise SettingsError(str(home / FILE), (line,))
    return read_settings(CoordinatorSettings, home / FILE)


def make_folders(home: Path) -> None:
    """Make the home's folders, readable by their owner alone, and the secret of its programs."""
    for folder in (home, *(home / name for name in FOLDERS)):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(_PRIVATE_FOLDER)
    write_secret(key_path(home, "superexec.secret"), secrets.token_hex(32).encode("ascii"))


def write_settings(home: Path, coordinator: Coordinator, *, listen: str) -> None:
    """Write ``aggregator.toml`` with its defaults as comments; raises ``SettingsError``."""
    GatewaySettings(listen=listen)
    text = _CONTENT.format(
        name=_quoted(coordinator.name),
        address=_quoted(coordinator.address),
        listen=_quoted(listen),
    )
    durable.write_bytes(home / FILE, text.encode("utf-8"))


def key_path(home: Path, name: str) -> Path:
    """Return where a key or certificate lies."""
    return home / "keys" / name


def write_secret(path: Path, content: bytes) -> None:
    """Write what only this home's owner may read."""
    durable.write_bytes(path, content)
    path.chmod(0o600)


def is_address(host: str) -> bool:
    """Whether a host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)  # a printable line is the same in TOML
