"""The dashboard as people start it: TCP on the loopback, and a Unix socket for a proxy."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from histories import History, write_history, write_study

from aggregator.dashboard.places import places
from aggregator.home import Coordinator, make_folders, write_settings
from aggregator.store import Store
from fedrad.errors import SettingsError

START = [sys.executable, "-c", "from aggregator.cli import app; app()", "dashboard"]
ASK = "site=Carrick&action=ask-about-scanner&round=4&window=2025-12-01"


class OverSocket(http.client.HTTPConnection):
    """A connection over a Unix socket, as a proxy's."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Show a coordinator's home with a troubled study; nobody acts over the loopback."""
    home = tmp_path_factory.mktemp("h")
    make_folders(home)
    coordinator = Coordinator(name="the hub", address="fed.example.org:443")
    write_settings(home, coordinator, listen="127.0.0.1:8443")
    settings = (home / "aggregator.toml").read_text()
    assert "[dashboard]" in settings
    settings = settings.replace("[dashboard]", '[dashboard]\nsocket = "d.sock"')
    (home / "aggregator.toml").write_text(settings)
    history = History(name="lungs", sites=4, rounds=4, windows=8, trouble=True, figures="letters")
    write_study(home, history)
    write_history(home / "runs" / "lungs", history)
    command = [*START, "--home", str(home), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        assert list(said) == ["viewer", "socket"]
        yield home, said["viewer"]
        process.terminate()
        assert process.wait(20) == 0
    assert not Path(said["socket"]).is_socket()


def ask(
    connection: http.client.HTTPConnection, path: str, body: str | None = None, **headers: str
) -> tuple[int, str]:
    """Ask once; return status and text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request("POST" if body is not None else "GET", path, body, named)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def decision(home: Path) -> str:
    """Return what became of the proposal."""
    with Store(home / "runs" / "lungs" / "run.sqlite") as store:
        return str(store.rows("actions")[0]["decision"])


def test_over_the_socket_the_proxy_says_who_acts(hub: tuple[Path, str]) -> None:
    connection = OverSocket(hub[0] / "d.sock")
    who = {"X_Remote_User": "a.b", "X_Fedrad_Role": "operator"}
    _, page = ask(connection, "/runs/lungs/alarms", **who)
    token = re.search(r'name="token" value="([0-9a-f]{64})"', page)
    assert token
    body = f"token={token[1]}&{ASK}&decision=declined&reason=known"
    as_another = who | {"X_Remote_User": "c.d"}
    assert ask(connection, "/runs/lungs/decide", body, **as_another)[0] == 403
    as_viewer = who | {"X_Fedrad_Role": "viewer"}
    assert ask(connection, "/runs/lungs/decide", body, **as_viewer)[0] == 403
    assert decision(hub[0]) == "proposed"
    assert ask(connection, "/runs/lungs/decide", body, **who)[0] == 303
    assert decision(hub[0]) == "declined"
    audit = (hub[0] / "audit.jsonl").read_text()
    assert '"by":"a.b"' in audit


def test_over_the_socket_nobody_is_nobody(hub: tuple[Path, str]) -> None:
    connection = OverSocket(hub[0] / "d.sock")
    assert ask(connection, "/")[0] == 403
    assert ask(connection, "/", X_Remote_User="a", X_Fedrad_Role="admin")[0] == 403
    assert (hub[0] / "d.sock").stat().st_mode & 0o777 == 0o660


def test_over_tcp_the_same_headers_are_ignored(hub: tuple[Path, str]) -> None:
    port = int(re.search(r":(\d+)/", hub[1])[1])  # type: ignore[index]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    who = {"X_Remote_User": "a.b", "X_Fedrad_Role": "operator"}
    assert ask(connection, "/", **who)[0] == 403
    connection.request("GET", hub[1].partition(str(port))[2])
    answer = connection.getresponse()
    answer.read()
    cookie = str(answer.headers["set-cookie"]).partition(";")[0]
    status, page = ask(connection, "/runs/lungs/alarms", Cookie=cookie, **who)
    assert status == 200
    assert "<form" not in page
    assert "Carrick" not in page, "a viewer reads letters"
    body = f"token=x&{ASK}&decision=accepted&reason=a"
    assert ask(connection, "/runs/lungs/decide", body, Cookie=cookie, **who)[0] == 403


def test_a_program_reads_figures_with_the_viewers_key_and_changes_nothing(
    hub: tuple[Path, str],
) -> None:
    port = int(re.search(r":(\d+)/", hub[1])[1])  # type: ignore[index]
    connection, key = http.client.HTTPConnection("127.0.0.1", port), hub[1].partition("key=")[2]
    assert ask(connection, "/metrics")[0] == 403
    assert ask(connection, "/metrics", Authorization="Bearer x" + key)[0] == 403
    status, text = ask(connection, "/metrics", Authorization=f"Bearer {key}")
    assert status == 200
    assert 'study="lungs"' in text
    assert "Carrick" not in text
    body = f"token=x&{ASK}&decision=accepted&reason=a"
    found = ask(connection, "/runs/lungs/decide", body, Authorization=f"Bearer {key}")
    assert found[0] == 403


def test_it_listens_on_the_loopback_alone(hub: tuple[Path, str]) -> None:
    port = int(re.search(r":(\d+)/", hub[1])[1])  # type: ignore[index]
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    own = [line.split()[1] for line in listening if line.split()[1].endswith(f":{port:04X}")]
    assert {one.partition(":")[0] for one in own} == {"0100007F"}


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no run\.sqlite in it"):
        places(None, [tmp_path])
    with pytest.raises(SettingsError, match="name either"):
        places(tmp_path, [tmp_path])
