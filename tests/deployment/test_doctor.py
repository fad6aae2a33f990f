"""Whatever keeps a site from its coordinator has a line of its own, with the way out.

Real sockets throughout: the open gateway of ``conftest``, a hospital's proxy, and servers
with other certificates, clocks and manners on the loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from connect_proxy import ConnectProxy
from deployed import CLOCK, Federation
from joined import Person, approve_software
from strangers import Later, Silent, Stranger, authority

from aggregator import authority as hub_authority
from aggregator.home import read_coordinator
from fedrad import signatures
from fedrad.protocol import versions
from fedrad.protocol.versions import Speaker
from site_client.cli import app
from site_client.doctor.examine import Examined, examine
from site_client.doctor.screen import answer, as_text
from site_client.preflight.lines import Line
from site_client.settings_edit import put_values

pytestmark = pytest.mark.slow
IT = Person(name="Bo", role="IT")


@pytest.fixture
def home(door: Federation, tmp_path: Path) -> Path:
    """Copy an enrolled site whose software is approved."""
    found = tmp_path / "east"
    shutil.copytree(door.homes.home("east"), found)
    approve_software(found, IT, CLOCK)
    return found


@pytest.fixture
def hub_keys(door: Federation) -> Path:
    return door.hub / "keys"


def at(home: Path, address: str) -> Path:
    """Have the site believe that its coordinator is elsewhere."""
    text = (home / "site.toml").read_text()
    (home / "site.toml").write_text(re.sub(r'address = ".*"', f'address = "{address}"', text))
    return home


def line(home: Path, about: str, clock: object = CLOCK) -> Line:
    found = {one.about: one for one in examine(home, clock).lines}
    assert about in found, as_text(examine(home, clock), 100)
    return found[about]


def verdicts(found: Examined) -> dict[str, str]:
    return {one.about: one.verdict for one in found.lines}


def test_a_site_that_is_well_gets_through_every_step(home: Path) -> None:
    found = examine(home, CLOCK)
    assert found.exit_code == 0, as_text(found, 100)
    assert [one.about for one in found.lines][-7:] == [
        "certificate", "name", "port", "encryption", "clock", "enrolment", "version",
    ]  # fmt: skip
    assert {one.verdict for one in found.lines if not one.about.startswith("study")} == {"ok"}
    assert "TLSv1.3" in line(home, "encryption").found
    assert answer(found) == "east can take part."


def test_a_name_that_nobody_knows(home: Path) -> None:
    found = line(at(home, "no-such-host.invalid:443"), "name")
    assert (found.verdict, found.code) == ("no", 3)
    assert "no-such-host.invalid is not known here" in found.found
    assert "DNS" in found.do


def test_a_port_that_is_closed(home: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        found = line(at(home, f"localhost:{nobody.getsockname()[1]}"), "port")
    assert (found.verdict, found.code) == ("no", 3)
    assert "refuses port" in found.found


def test_a_firewall_that_drops(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose queue is full answers nothing, as a dropping firewall does."""
    monkeypatch.setattr("site_client.doctor.way_out.WAIT_S", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        found = line(at(home, f"localhost:{full.getsockname()[1]}"), "port")
        for other in others:
            other.close()
    assert "nothing comes back" in found.found
    assert "firewall drops it" in found.do


@pytest.fixture
def middlebox(tmp_path: Path) -> Iterator[Stranger]:
    """Open the encryption as a hospital's appliance does: its own authority, the right name."""
    server = Stranger(authority(tmp_path / "box", "Clinic Web Filter"))
    yield server
    server.close()


def test_a_middlebox_is_told_by_its_authority_and_gets_a_sentence(
    home: Path, middlebox: Stranger
) -> None:
    found = line(at(home, middlebox.address), "inspection")
    assert (found.verdict, found.code) == ("no", 3)
    assert "signed by 'CN=Clinic Web Filter fedrad authority'" in found.found
    assert "not by 'CN=The hub fedrad authority'" in found.found
    assert f'"Please exempt {middlebox.address} from TLS inspection' in found.do


def test_nothing_of_the_site_is_told_to_a_middlebox(home: Path, middlebox: Stranger) -> None:
    examine(at(home, middlebox.address), CLOCK)
    assert [asked.split(b"\r\n")[0] for asked in middlebox.asked] == [b"GET /health HTTP/1.1"]
    assert b"flwr" not in b"".join(middlebox.asked)


def test_an_authority_of_the_same_name_is_another_one(home: Path, tmp_path: Path) -> None:
    server = Stranger(authority(tmp_path / "again", "The hub"))
    found = line(at(home, server.address), "authority")
    server.close()
    assert (found.verdict, found.code) == ("no", 3)
    assert "another 'CN=The hub fedrad authority' than the one of the invitation" in found.found
    assert "fingerprint" in found.do


def trusting(home: Path, keys: Path) -> Path:
    """Have the site trust an authority of ours."""
    (home / "keys" / "coordinator-ca.pem").write_bytes((keys / "ca.pem").read_bytes())
    return home


def test_a_coordinators_certificate_that_ran_out(home: Path, tmp_path: Path) -> None:
    keys = authority(tmp_path / "old", "Old", clock=Later(timedelta(days=-9)), days=2)
    server = Stranger(keys)
    found = line(at(trusting(home, keys), server.address), "server")
    server.close()
    assert (found.verdict, found.code) == ("no", 3)
    assert "the coordinator's certificate expired" in found.found
    assert "fedrad-aggregator rotate" in found.do


def test_a_certificate_that_only_a_wrong_clock_refuses(home: Path, tmp_path: Path) -> None:
    """OpenSSL uses the machine's clock, so here the server's certificate lies in the future."""
    ahead = Later(timedelta(days=40))
    keys = authority(tmp_path / "new", "New", clock=ahead, days=30)
    server = Stranger(keys, clock=ahead)
    found = line(at(trusting(home, keys), server.address), "clock")
    server.close()
    assert (found.verdict, found.code) == ("no", 3)
    assert "the server says" in found.found
    assert "NTP" in found.do


def test_a_server_of_another_name(home: Path, tmp_path: Path) -> None:
    keys = authority(tmp_path / "other", "Other", host="other.example")
    server = Stranger(keys)
    found = line(at(trusting(home, keys), server.address), "server")
    server.close()
    assert "is for CN=other.example, not for localhost" in found.found


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n<h1>sign in</h1>", b"\x15\x03\x01"])
def test_a_port_that_speaks_no_tls(home: Path, said: bytes) -> None:
    server = Silent(said)
    found = line(at(home, server.address), "encryption")
    server.close()
    assert (found.verdict, found.code) == ("no", 3)
    assert "no TLS with" in found.found


def test_a_port_that_takes_the_connection_and_says_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("site_client.doctor.way_out.WAIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        found = line(at(home, f"localhost:{mute.getsockname()[1]}"), "encryption")
    assert "takes the connection and then says nothing" in found.found


@pytest.mark.parametrize(
    ("by", "verdict"),
    [
        (timedelta(hours=1), "no"),
        (timedelta(hours=-1), "no"),
        (timedelta(seconds=60), "ok"),
        (timedelta(seconds=-20), "no"),
    ],
)
def test_the_clock_is_compared_with_the_coordinators(
    home: Path, hub_keys: Path, by: timedelta, verdict: str
) -> None:
    """Flower takes a signature that is up to 300 s old, and none from 5 s ahead."""
    server = Stranger(hub_keys, clock=Later(by))
    found = line(at(home, server.address), "clock")
    server.close()
    assert found.verdict == verdict
    assert ("behind" if by > timedelta() else "ahead of") in found.found
    assert found.limit == "at most 5 s ahead, 300 s behind"


def through(home: Path, proxy: str, password: str = "") -> Path:
    """Have the site go out through a proxy."""
    values = {"address": proxy}
    if password:
        path = home / "keys" / "proxy.txt"
        path.write_text(f"{password}\n")
        path.chmod(0o600)
        values |= {"user": "site", "password_file": str(path)}
    put_values(home, "proxy", values)
    return home


def test_a_proxy_with_the_right_password_is_a_way_out(home: Path, door: Federation) -> None:
    proxy = ConnectProxy("site", "s3cret:/@")
    found = examine(through(home, proxy.address, "s3cret:/@"), CLOCK)
    proxy.close()
    assert found.exit_code == 0, as_text(found, 100)
    assert set(proxy.opened) == {read_coordinator(door.hub).coordinator.address}
    assert "name" not in verdicts(found)  # the proxy resolves it


def test_a_proxy_that_wants_another_password(home: Path) -> None:
    proxy = ConnectProxy("site", "s3cret")
    found = line(through(home, proxy.address, "wr0ng-one"), "proxy")
    proxy.close()
    assert (found.verdict, found.code) == ("no", 3)
    assert "wants another password (407); user 'site' was given" in found.found
    assert "wr0ng-one" not in as_text(examine(home, CLOCK), 100)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "forbids"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", "cannot reach"),
        (b"HTTP/1.1 407 X\r\n\r\n", "no user was given"),
        (b"SSH-2.0-x\r\n\r\n", "answers 'SSH-2.0-x'"),
        (b"", "answers 'nothing'"),
    ],
)
def test_a_proxy_that_refuses_says_how(home: Path, said: bytes, found: str) -> None:
    proxy = Silent(said)
    shown = line(through(home, proxy.address), "proxy")
    proxy.close()
    assert (shown.verdict, shown.code) == ("no", 3)
    assert found in shown.found


def test_a_proxy_that_is_not_there(home: Path) -> None:
    found = line(through(home, "localhost:9"), "proxy")
    assert "refuses port 9" in found.found
    assert "[proxy] of site.toml" in found.do


def test_a_site_with_a_key_that_nobody_enrolled(home: Path) -> None:
    (home / "keys" / "node.key").unlink()
    signatures.write_ssh_key(home / "keys" / "node.key", signatures.new_key())
    found = line(home, "enrolment")
    assert (found.verdict, found.code) == ("no", 4)
    assert "421" in found.found
    assert "fedrad-site accept" in found.do


def test_a_site_whose_certificate_the_gateway_refuses(home: Path, tmp_path: Path) -> None:
    """As after a revocation: the authority is none of the gateway's."""
    keys = authority(tmp_path / "former", "The hub")
    request = hub_authority.issue_hospital(
        tmp_path / "former", "east", _request(home), clock=CLOCK, days=2
    )
    (home / "keys" / "tls.pem").write_text(request)
    assert keys.is_dir()
    found = line(home, "enrolment")
    assert (found.verdict, found.code) == ("no", 4)
    assert "refuses this site's certificate" in found.found


def _request(home: Path) -> str:
    return str(json.loads((home / "request.json").read_text())["body"]["certificate_request"])


def test_a_coordinator_of_another_wire_protocol(home: Path, hub_keys: Path) -> None:
    other = Speaker(versions.ours().wire + 1, "2.0.0")
    server = Stranger(hub_keys, body=versions.to_text(other))
    found = line(at(home, server.address), "version")
    server.close()
    assert (found.verdict, found.code) == ("no", 1)
    assert "speaks wire protocol 2 (fedrad 2.0.0), this site 1" in found.found
    assert found.do == "update fedrad at this site"


def test_a_coordinator_of_another_patch_is_fine(home: Path, hub_keys: Path) -> None:
    server = Stranger(hub_keys, body=versions.to_text(Speaker(versions.ours().wire, "0.1.9")))
    found = line(at(home, server.address), "version")
    server.close()
    assert found.verdict == "ok"
    assert "0.1.9 there" in found.found


def test_software_that_it_did_not_approve(home: Path) -> None:
    put_values(home, "approval", {"software": ["0" * 64]})
    found = line(home, "software")
    assert (found.verdict, found.code) == ("no", 4)
    assert "is not the approved one (000000000000)" in found.found
    assert "approve --software" in found.do


def test_a_sites_own_certificate_near_and_past_its_end(home: Path) -> None:
    assert line(home, "certificate").verdict == "ok"
    near = line(home, "certificate", Later(timedelta(days=380)))
    assert (near.verdict, "join --rotate" in near.do) == ("warning", True)
    past = line(home, "certificate", Later(timedelta(days=500)))
    assert (past.verdict, past.code) == ("no", 4)


def test_keys_that_others_may_read_and_keys_that_are_gone(home: Path) -> None:
    (home / "keys" / "tls.key").chmod(0o644)
    assert line(home, "keys").found == "others on this machine may read tls.key"
    (home / "keys" / "tls.key").unlink()
    found = line(home, "keys")
    assert (found.verdict, found.code, found.found) == ("no", 5, "missing: tls.key")


def test_a_site_that_joined_nobody(home: Path) -> None:
    text = (home / "site.toml").read_text()
    (home / "site.toml").write_text(re.sub(r"\[coordinator\][^\[]*", "", text))
    found = examine(home, CLOCK)
    assert "fedrad-site join" in line(home, "joined").do
    assert "port" not in verdicts(found)
    assert found.exit_code == 4


def test_memory_and_a_gpu_that_are_not_there(home: Path) -> None:
    put_values(home, "resources", {"memory_gib": 1e6, "device": "cuda:7"})
    found = verdicts(examine(home, CLOCK))
    assert (found["memory"], found["device"]) == ("no", "no")
    assert "[resources] memory_gib 1e+06" in line(home, "memory").limit


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_cannot_be_written(home: Path) -> None:
    (home / "state").chmod(0o500)
    assert "cannot be written" in line(home, "disk").found


def test_a_disk_that_is_full(home: Path) -> None:
    """The home's state is a file system of 64 KiB without a free block."""
    mounted = home / "state"
    shutil.rmtree(mounted)
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(mounted)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        with suppress(OSError):
            (mounted / "filler").write_bytes(b"x" * 200_000)
        found = line(home, "disk")
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    assert found.verdict == "no"
    assert "No space left" in found.found


def test_the_command_prints_one_object_and_ends_with_its_code(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["doctor", "--home", str(at(home, "no-such-host.invalid:443")), "--json"])
    table = json.loads(capsys.readouterr().out)
    assert (ended.value.code, table["exit_code"], table["answer"]) == (3, 3, "no")
    assert "name" in {one["about"] for one in table["lines"] if one["code"] == 3}


def test_no_secret_is_shown(home: Path, door: Federation) -> None:
    through(home, "localhost:9", "pa55word-of-the-proxy")
    text = as_text(examine(home, CLOCK), 100) + repr(examine(home, CLOCK))
    assert "pa55word" not in text
    for path in (home / "keys").glob("*.key"):
        content = path.read_bytes()
        for part in [content.hex(), *content.decode("latin-1").splitlines()[1:-1]]:
            assert part[:20] not in text
