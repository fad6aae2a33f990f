"""A whole study over real processes: mutual TLS, approved contract, privacy on, DICOM in.

One federation for all tests of this file; they run in order.
"""

from __future__ import annotations

import io
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from deployed import PROGRAM, SITES, STUDY, Federation, make_homes, need_nginx
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid

from aggregator.checkpoints import latest_round
from aggregator.deployment.runs import status_table
from aggregator.deployment.state import only_server
from aggregator.deployment.superlink import control, runtime, secret
from aggregator.exchange import receive
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder
from fedrad.clock import SystemClock
from fedrad.errors import RunError
from fedrad.flower.bundle import bundle
from fedrad.flower.serving import serve
from fedrad.flower.tasks import TaskSource
from fedrad.protocol.messages import SCHEMA
from site_client import audit
from site_client.node.start import keep_site
from site_client.settings_edit import put_values

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    need_nginx()
    homes = make_homes(
        tmp_path_factory.mktemp("federation"), "federation.rounds=1", "evaluation.every_rounds=1"
    )
    for site in SITES:
        put_values(homes.home(site), "resources", {"message_mib": 1.0})
    running = Federation(homes)
    running.open()
    running.until_online()
    yield running
    running.close()


def command(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", PROGRAM.format(module=module), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=280, check=False)


def rows(federation: Federation, table: str) -> pd.DataFrame:
    with Store(run_folder(federation.hub, STUDY) / DATABASE) as store:
        return store.frame(table)


def test_a_study_runs_over_mutual_tls_and_ends_with_a_report(federation: Federation) -> None:
    ended = command("aggregator", "run", "--home", str(federation.hub), "--json")
    assert ended.returncode == 0, ended.stderr + federation.logs()
    table = json.loads(ended.stdout)
    assert table["outcome"] == "completed"
    assert latest_round(run_folder(federation.hub, STUDY)) == 1
    assert Path(table["report"]).stat().st_size > 10_000
    assert "round 1 is committed" in ended.stderr


def test_every_site_trained_and_paid_and_is_known_by_its_key(federation: Federation) -> None:
    replies = rows(federation, "replies")
    trained = replies[(replies["phase"] == "train") & (replies["outcome"] == "done")]
    assert sorted(trained["site"]) == sorted(SITES)
    assert (rows(federation, "privacy")["epsilon"] > 0).all()
    for site in SITES:
        ledger = (federation.homes.home(site) / "ledger.jsonl").read_text().splitlines()
        assert {json.loads(line)["kind"] for line in ledger} >= {"reserve", "commit"}


def test_status_and_sites_tell_what_is_there(federation: Federation) -> None:
    table = status_table(federation.hub)
    assert date.fromisoformat(table["certificates_until"]) > datetime.now(UTC).date() + timedelta(
        days=300
    )
    assert (table["running"], table["state"]) == (True, "open")
    assert {row["site"]: row["node"] for row in table["sites"]} == dict.fromkeys(SITES, "online")
    about = {"study": STUDY, "sites": sorted(SITES), "round": 1, "rounds": 1}
    about |= {"stands_on": 1, "quarantined": []}
    assert table["studies"] == [about]


def test_a_second_server_of_one_home_is_refused(federation: Federation) -> None:
    with pytest.raises(RunError, match="runs already"), only_server(federation.hub):
        pass


def test_a_second_program_of_one_site_is_refused(federation: Federation) -> None:
    with pytest.raises(RunError, match="runs already"):
        keep_site(federation.homes.home("east"), SimpleNamespace(asked=False))


def test_no_site_listens_beyond_the_loopback(federation: Federation) -> None:
    """Sockets of the sites' processes in the kernel's tables; 0A is LISTEN."""
    own = {inode for pid in federation.pids("node.connector") for inode in sockets(pid)}
    rows = [line.split() for name in ("tcp", "tcp6") for line in table(name)]
    hosts = {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in own}
    assert hosts == {"0100007F"}


def test_no_secret_is_an_argument_or_in_the_environment_of_a_program(
    federation: Federation,
) -> None:
    """Others on the machine may read arguments; both end in crash reports and listings."""
    secrets = set(_secrets(federation.homes.folder))
    assert len(secrets) > 4 * 3  # of each home: keys, split key, what its programs share
    shown = b""
    for pid in federation.pids(""):
        shown += b"".join(
            Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")
        )
    for program in (b"nginx", b"superlink", b"connector", b"runner", b"FLWR_HOME="):
        assert program in shown
    assert not [secret for secret in secrets if secret in shown]


def _secrets(folder: Path) -> Iterator[bytes]:
    """Yield what is secret in every home: the second line of a key file, or all of it."""
    for path in (*folder.rglob("*.key"), *folder.rglob("*.secret")):
        content = path.read_bytes()
        yield content.splitlines()[1] if content.startswith(b"-----") else content.strip()


def sockets(pid: int) -> set[str]:
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:")}


def table(name: str) -> list[str]:
    return Path(f"/proc/net/{name}").read_text().splitlines()[1:]


CODE = """
import socket
from pathlib import Path
Path({path!r}).write_text("run")
socket.create_connection(("127.0.0.1", {port})).close()
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
app = ClientApp()
server = ServerApp()
"""


def hostile(path: Path, port: int, kind: str = "serverapp") -> bytes:
    """Return a bundle whose import writes a file and opens a connection."""
    project = bundle(1)
    with zipfile.ZipFile(io.BytesIO(project)) as archive:
        text = archive.read("pyproject.toml").decode()
    text = text.replace('"installed:only"', '"evil:server"', 1)
    text = text.replace('"installed:only"', '"evil:app"').replace("serverapp", kind, 1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("pyproject.toml", text)
        archive.writestr("evil.py", CODE.format(path=str(path), port=port))
    return buffer.getvalue()


class Doorbell:
    """A socket that notes whether anybody connected."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.rung = self._socket.getsockname()[1], False
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self._socket.accept()
        self.rung = True


def ended(federation: Federation, run: int) -> tuple[str, str]:
    """Wait for the end of a run; return its outcome and why."""
    connection = control(federation.hub)
    try:
        federation.until(lambda: _run(connection, run).status == "finished")
        found = _run(connection, run)
    finally:
        connection.close()
    return found.outcome, found.details


def _run(connection, run: int):
    return next(one for one in connection.runs() if one.run_id == run)


def unpacked(federation: Federation, name: str) -> list[Path]:
    return [path for path in federation.homes.folder.rglob("*") if name in path.name]


def test_a_hostile_bundle_is_not_run_at_the_coordinator(
    federation: Federation, tmp_path: Path
) -> None:
    bell = Doorbell()
    run = federation.run_bundle(hostile(tmp_path / "mark", bell.port))
    outcome, details = ended(federation, run)
    assert outcome == "failed"
    assert "is not the one that this coordinator starts" in details
    assert not (tmp_path / "mark").exists()
    assert not bell.rung
    assert not unpacked(federation, "evil")


def ask_everybody(replies: list[Message], grid: Grid, context: Context, *, size: int = 1) -> None:
    content = RecordDict({"c": ConfigRecord({"x": random.Random(1).randbytes(size)})})
    asked = [Message(content, node, "train", group_id="1") for node in grid.get_node_ids()]
    replies.extend(receive(grid, grid.push_messages(asked), 60.0, clock=SystemClock()))


def test_a_hostile_bundle_is_refused_by_every_site_before_it_is_unpacked(
    federation: Federation, tmp_path: Path
) -> None:
    """Whoever holds the coordinator takes the task and asks the sites to run its bundle."""
    bell, replies = Doorbell(), []
    launcher = federation.children["hub"].process
    launcher.send_signal(signal.SIGSTOP)  # it would refuse the task first
    try:
        federation.run_bundle(hostile(tmp_path / "mark", bell.port))
        offer = TaskSource(runtime(federation.hub), secret(federation.hub)).acquire()
        assert offer is not None
        serve(runtime(federation.hub), offer.token, lambda _: partial(ask_everybody, replies))
    finally:
        launcher.send_signal(signal.SIGCONT)
    assert [reply.has_error() for reply in replies] == [True] * len(SITES)
    assert all("is not the one without code" in reply.error.reason for reply in replies)
    assert not (tmp_path / "mark").exists()
    assert not bell.rung
    assert not unpacked(federation, "evil")
    asked = {reply.metadata.reply_to_message_id for reply in replies}
    for site in SITES:
        note = _refusals(federation.homes.home(site))[-1]
        assert note["message"] in asked
        assert note["bundle"] == offer.bundle_digest


def _refusals(home: Path) -> list[dict[str, Any]]:
    return [note for note in audit.read(home) if note["kind"] == "task refused"]


def test_a_message_that_a_site_does_not_take_is_refused_before_it_fills_its_memory(
    federation: Federation,
) -> None:
    """The study's own bundle, and more bytes than ``message_mib`` lets in."""
    replies, launcher = [], federation.children["hub"].process
    launcher.send_signal(signal.SIGSTOP)
    try:
        connection = control(federation.hub)
        connection.start_run(STUDY, SCHEMA)
        connection.close()
        offer = TaskSource(runtime(federation.hub), secret(federation.hub)).acquire()
        assert offer is not None
        flood = partial(ask_everybody, replies, size=2 << 20)
        serve(runtime(federation.hub), offer.token, lambda _: flood)
    finally:
        launcher.send_signal(signal.SIGCONT)
    assert [reply.has_error() for reply in replies] == [True] * len(SITES)
    reasons = [reply.error.reason for reply in replies]
    assert all("the site refuses: an answer of 2097" in reason for reason in reasons), reasons
    for site in SITES:
        log = (federation.homes.home(site) / "logs" / "node.log").read_text()
        assert "[resources] message_mib says how much" in log
