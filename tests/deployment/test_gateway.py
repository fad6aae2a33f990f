"""Who may not come in is refused at the gateway, over real sockets, each with its own status."""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from connect_proxy import ConnectProxy
from deployed import CLOCK, SITES, Federation, make_doors, need_nginx
from joined import Later

from aggregator import authority
from aggregator.deployment.gateway import FLEET_PATHS
from aggregator.home import read_coordinator
from aggregator.membership import revoke
from aggregator.registry import read_sites
from fedrad import signatures
from fedrad.flower.door import NodeOptions, http_client, tls_context
from fedrad.flower.keys import bytes_of_key, header_of_key
from fedrad.flower.lookup import private
from site_client.joining import node_key
from site_client.node.connector import node_options
from site_client.settings import read_site

pytestmark = pytest.mark.slow
FLEET = "/v1/fleet/pull-messages"
KEY = "flwr-public-key"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Open a coordinator with three enrolled hospitals; none is started."""
    need_nginx()
    running = Federation(make_doors(tmp_path_factory.mktemp("hub")))
    running.start("hub", "aggregator", running.hub)
    running.until(lambda: _answers(running))
    yield running
    running.close()


def _answers(hub: Federation) -> bool:
    try:
        with client(hub) as door:
            return door.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def options(hub: Federation, site: str = "east") -> NodeOptions:
    home = hub.homes.home(site)
    return node_options(home, read_site(home), port=1)


def client(hub: Federation, given: NodeOptions | None = None) -> httpx.Client:
    door = http_client(given or options(hub))
    door.base_url = f"https://{read_coordinator(hub.hub).coordinator.address}"
    return door


def header(hub: Federation, site: str = "east") -> dict[str, str]:
    key = header_of_key(read_sites(hub.hub)[site].node_key)
    return {KEY: key, "content-type": "application/protobuf"}


def with_certificate(hub: Federation, tmp_path: Path, pem: str, key: Path) -> httpx.Client:
    path = tmp_path / "client.pem"
    path.write_text(pem)
    return client(hub, replace(options(hub), certificate=path, key=key))


def test_an_enrolled_hospital_reaches_the_server_behind_the_gateway(hub: Federation) -> None:
    """The answer to a call without a signature is Flower's own, not the gateway's."""
    with client(hub) as door:
        answer = door.post(FLEET, headers=header(hub), content=b"")
    assert answer.status_code == 401
    assert "nginx" not in answer.text


def test_nobody_comes_in_without_a_certificate(hub: Federation) -> None:
    address = read_coordinator(hub.hub).coordinator.address
    context = ssl.create_default_context(cafile=str(options(hub).ca))
    answer = httpx.get(f"https://{address}/health", verify=context, trust_env=False)
    assert answer.status_code == 400
    assert "No required SSL certificate" in answer.text


def test_nobody_comes_in_over_plain_http(hub: Federation) -> None:
    address = read_coordinator(hub.hub).coordinator.address
    answer = httpx.get(f"http://{address}/health", trust_env=False)
    assert answer.status_code == 400
    assert "plain HTTP request" in answer.text


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_nobody_comes_in_over_tls_before_1_2(hub: Federation, newest: ssl.TLSVersion) -> None:
    given = tls_context(options(hub))
    given.minimum_version, given.maximum_version = ssl.TLSVersion.TLSv1, newest
    given.set_ciphers("ALL:@SECLEVEL=0")  # what OpenSSL itself would not speak any more
    host, _, port = read_coordinator(hub.hub).coordinator.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        if newest is ssl.TLSVersion.TLSv1_2:
            given.wrap_socket(raw, server_hostname=host).close()
            return
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            given.wrap_socket(raw, server_hostname=host)


def test_a_certificate_of_another_authority_opens_nothing(hub: Federation, tmp_path: Path) -> None:
    stranger = make_doors(tmp_path / "stranger")
    own = options(Federation(stranger))
    given = replace(options(hub), certificate=own.certificate, key=own.key)
    with client(hub, given) as door:
        answer = door.post(FLEET, headers=header(hub), content=b"")
    assert answer.status_code == 400
    assert "SSL certificate error" in answer.text


def test_a_certificate_that_ran_out_opens_nothing(hub: Federation, tmp_path: Path) -> None:
    request = hub.homes.request("east").certificate_request
    early = Later(-30)
    pem = authority.issue_hospital(hub.hub, "east", request, clock=early, days=2)
    with with_certificate(hub, tmp_path, pem, options(hub).key) as door:
        answer = door.post(FLEET, headers=header(hub), content=b"")
    assert answer.status_code == 400
    assert authority.last_day(pem) < CLOCK.now() - timedelta(days=1)


def test_a_servers_certificate_is_none_for_a_hospital(hub: Federation) -> None:
    keys = hub.hub / "keys"
    given = replace(options(hub), certificate=keys / "server.pem", key=keys / "server.key")
    with client(hub, given) as door:
        assert door.get("/health").status_code == 400


def test_a_good_certificate_that_nobody_enrolled_opens_nothing(
    hub: Federation, tmp_path: Path
) -> None:
    request = hub.homes.request("east").certificate_request
    pem = authority.issue_hospital(hub.hub, "east", request, clock=CLOCK, days=2)
    with with_certificate(hub, tmp_path, pem, options(hub).key) as door:
        assert door.post(FLEET, headers=header(hub), content=b"").status_code == 421


def test_a_certificate_does_not_open_the_door_for_another_hospitals_key(hub: Federation) -> None:
    with client(hub) as door:
        assert door.post(FLEET, headers=header(hub, "north"), content=b"").status_code == 421


def through(hub: Federation, proxy: ConnectProxy, password: str) -> NodeOptions:
    given = replace(options(hub), proxy=f"http://{proxy.address}", proxy_user="site")
    return replace(given, proxy_password=password)


def test_a_hospitals_way_out_leads_through_its_proxy_with_a_password(hub: Federation) -> None:
    """One destination; the proxy sees no certificate and no content."""
    proxy = ConnectProxy("site", "s3cret:/@")
    with client(hub, through(hub, proxy, "s3cret:/@")) as door:
        assert door.post(FLEET, headers=header(hub), content=b"").status_code == 401
    assert proxy.opened == [read_coordinator(hub.hub).coordinator.address]
    proxy.close()


def test_a_proxy_that_refuses_is_told_apart(hub: Federation) -> None:
    proxy = ConnectProxy("site", "s3cret")
    with client(hub, through(hub, proxy, "wrong")) as door, pytest.raises(httpx.ProxyError):
        door.post(FLEET, headers=header(hub), content=b"")
    assert (proxy.opened, proxy.refused) == ([], 1)
    proxy.close()


def test_a_proxy_of_the_environment_is_not_used(
    hub: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out is what site.toml says."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with client(hub) as door:
        assert door.post(FLEET, headers=header(hub), content=b"").status_code == 401


def test_a_key_that_nobody_enrolled_is_refused(hub: Federation) -> None:
    line = signatures.public_text(signatures.new_key())
    with client(hub) as door:
        assert door.post(FLEET, headers={KEY: header_of_key(line)}).status_code == 421
        assert door.post(FLEET).status_code == 421


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/acquire-task",
        "/docs",
        "/openapi.json",
        "/",
        "/v1/fleet/../control/start-run",
        "/health/x",
    ],
)
def test_a_hospital_reaches_no_path_but_its_own(hub: Federation, path: str) -> None:
    """Who reached the control path could start runs and register nodes."""
    with client(hub) as door:
        request = door.build_request("POST", "/", headers=header(hub), content=b"")
        request.extensions["target"] = path.encode()
        assert door.send(request).status_code in {403, 404}


@pytest.mark.parametrize("path", ["register-node", "unregister-node", "nothing", ""])
def test_a_hospital_reaches_no_fleet_path_that_its_node_does_not_need(
    hub: Federation, path: str
) -> None:
    assert path not in FLEET_PATHS
    with client(hub) as door:
        assert door.post(f"/v1/fleet/{path}", headers=header(hub)).status_code == 404
        assert door.get(FLEET, headers=header(hub)).status_code == 405


def test_a_message_over_the_limit_is_refused(hub: Federation) -> None:
    limit = read_coordinator(hub.hub).gateway.body_mib << 20
    with client(hub) as door:
        answer = door.post(FLEET, headers=header(hub), content=b"x" * (limit + 1))
    assert answer.status_code == 413


def test_a_client_that_speaks_slowly_is_cut_off(hub: Federation) -> None:
    host, _, port = read_coordinator(hub.hub).coordinator.address.partition(":")
    context = ssl.create_default_context(cafile=str(options(hub).ca))
    context.load_cert_chain(options(hub).certificate, options(hub).key)
    with (
        socket.create_connection((host, int(port))) as raw,
        context.wrap_socket(raw, server_hostname=host) as door,
    ):
        door.sendall(b"POST /v1/fleet/pull-messages HTTP/1.1\r\nHost: x\r\n")
        door.settimeout(120)
        assert not door.recv(100)  # closed, without a word


def test_strangers_who_begin_a_handshake_and_stop_shut_no_hospital_out(hub: Federation) -> None:
    """They need no certificate for it, and no limit of requests counts them."""
    host, _, port = read_coordinator(hub.hub).coordinator.address.partition(":")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    with ExitStack() as strangers:
        for _ in range(1200):
            door = strangers.enter_context(socket.create_connection((host, int(port)), timeout=5))
            door.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert _answers(hub)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def with_limits(hub: Federation, rate: int, burst: int) -> str:
    """Give the gateway another limit of requests; return its configuration before."""
    path = hub.hub / "gateway" / "nginx.conf"
    before = path.read_text()
    after = before.replace("rate=50r/s", f"rate={rate}r/s")
    path.write_text(after.replace("burst=100 ", f"burst={burst} "))
    os.kill(int((path.parent / "nginx.pid").read_text()), signal.SIGHUP)
    return before


def test_requests_beyond_the_rate_are_told_to_come_again(hub: Federation) -> None:
    """503 is what Flower tries again; it would give up after 429."""
    before = with_limits(hub, rate=1, burst=3)
    try:
        hub.until(lambda: 503 in statuses(hub, 8))
        assert statuses(hub, 8) <= {401, 503}
    finally:
        (hub.hub / "gateway" / "nginx.conf").write_text(before)
        with_limits(hub, rate=50, burst=100)
    hub.until(lambda: statuses(hub, 8) == {401})


def statuses(hub: Federation, number: int) -> set[int]:
    """Return what south is answered to so many requests in a row."""
    with client(hub, options(hub, "south")) as door:
        return {door.post(FLEET, headers=header(hub, "south")).status_code for _ in range(number)}


def caller_of(hub: Federation, site: str):
    """Return Flower's own client with a hospital's key and certificate."""
    fleet = private("flwr.supernode.fleet_http_client", "FleetHttpClient")
    sign = private("flwr.supernode.node_auth_http_interceptor", "NodeAuthHttpInterceptor")
    version = private("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor")
    key = node_key(hub.homes.home(site))
    address = read_coordinator(hub.hub).coordinator.address
    caller = fleet(
        f"https://{address}",
        interceptors=[version(component_name="SuperNode"), sign(key, key.public_key())],
    )
    caller._client = client(hub, options(hub, site))
    return caller


def activate(hub: Federation, site: str) -> int:
    """Activate a hospital's node as its program does; return its id.

    Raises:
        HTTPStatusError: It is refused.
    """
    request = private("flwr.proto.fleet_pb2", "ActivateNodeRequest")
    pem = bytes_of_key(signatures.public_text(node_key(hub.homes.home(site))))
    asked = request(public_key=pem, heartbeat_interval=30)
    return caller_of(hub, site).ActivateNode(asked).node_id


def test_a_site_that_was_cloned_is_refused_while_the_first_is_there(hub: Federation) -> None:
    activate(hub, "north")
    with pytest.raises(httpx.HTTPStatusError):
        activate(hub, "north")


def test_a_site_cannot_answer_in_the_name_of_another(hub: Federation) -> None:
    """Flower itself believes what a reply says of its sender."""
    fleet, message, node = (
        private("flwr.proto.fleet_pb2", "PushMessagesRequest"),
        private("flwr.proto.message_pb2", "Message"),
        private("flwr.proto.node_pb2", "Node"),
    )
    own, reply = activate(hub, "east"), message()
    reply.metadata.src_node_id = own + 1
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        caller_of(hub, "east").PushMessages(fleet(node=node(node_id=own), messages_list=[reply]))


def test_a_revoked_hospital_is_out_within_seconds(hub: Federation) -> None:
    """Its certificate is on the list, its key is no node's, and the others go on."""
    with client(hub, options(hub, "south")) as door:
        assert door.post(FLEET, headers=header(hub, "south")).status_code in {401, 503}
    revoke(hub.hub, "south", CLOCK)
    hub.until(lambda: _refused(hub, "south"))
    assert _answers(hub)
    hub.until(lambda: "south" not in registered(hub))


def _refused(hub: Federation, site: str) -> bool:
    with client(hub, options(hub, site)) as door:
        return door.post(FLEET, headers=header(hub, site)).status_code == 400


def registered(hub: Federation) -> set[str]:
    from aggregator.deployment.superlink import control

    connection = control(hub.hub)
    try:
        return {node.name for node in connection.nodes()}
    finally:
        connection.close()


def test_the_gateway_and_the_server_come_back_when_they_are_killed(hub: Federation) -> None:
    for program in ("nginx: master", "aggregator.deployment.superlink"):
        hub.kill(program)
        hub.until(lambda: _answers(hub))
    assert set(SITES) - {"south"} <= registered(hub)


def test_the_server_behind_the_gateway_listens_on_the_loopback_only(hub: Federation) -> None:
    """Tables of the kernel: addresses are hexadecimal, 0A is LISTEN."""
    ports = read_coordinator(hub.hub).ports
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = [row[1].split(":") for row in rows if row[3] == "0A"]
    hosts = [host for host, port in listening if int(port, 16) in {ports.superlink, ports.health}]
    assert len(hosts) == 2
    assert set(hosts) <= {"0100007F", "0000000000000000FFFF00000100007F"}  # the same, in IPv6
