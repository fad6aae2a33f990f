"""Certificates over real TLS: who is let in by them, and what the institution's must fit."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from joined import CLOCK, Joined, Later, open_hub

from aggregator import authority
from aggregator.authority import Given
from aggregator.home import Coordinator, Ports, key_path, read_coordinator
from aggregator.opening import open_home
from aggregator.registry import read_sites
from fedrad.errors import SettingsError


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Joined:
    made = open_hub(tmp_path_factory.mktemp("joined"))
    made.enrol()
    made.accept("east")
    return made


def shake(hub: Path, site: ssl.SSLContext, *, name: str = "localhost", crl: bool = False) -> str:
    """Let a client shake hands with the gateway's certificates; return whom the server saw."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(key_path(hub, authority.SERVER), key_path(hub, authority.SERVER_KEY))
    server.load_verify_locations(key_path(hub, authority.CA))
    server.verify_mode = ssl.CERT_REQUIRED
    if crl:
        server.load_verify_locations(key_path(hub, authority.CRL))
        server.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    here, there = socket.socketpair()
    seen: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as secured:
                seen.append(
                    dict(part[0] for part in secured.getpeercert()["subject"])["commonName"]
                )
                secured.sendall(b"!")
        except (ssl.SSLError, OSError) as error:
            seen.append(f"refused: {error}")
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with site.wrap_socket(here, server_hostname=name) as secured:
            secured.recv(1)
    except (ssl.SSLError, OSError) as error:
        here.close()
        thread.join()
        return seen[0] if seen and seen[0].startswith("refused") else f"client: {error}"
    thread.join()
    return seen[0]


def client(home: Path, *, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(home / "keys" / "coordinator-ca.pem"))
    if certificate is None:
        context.load_cert_chain(home / "keys" / "tls.pem", home / "keys" / "tls.key")
    elif certificate != Path():
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def test_an_enrolled_site_and_the_gateway_know_each_other(joined: Joined) -> None:
    assert shake(joined.hub, client(joined.home("east"))) == "east"


def test_no_certificate_and_one_of_another_authority_are_refused(
    joined: Joined, tmp_path: Path
) -> None:
    assert "refused" in shake(joined.hub, client(joined.home("east"), certificate=Path()))
    other = open_hub(tmp_path)
    other.enrol()
    stranger = tmp_path / "s.pem"
    stranger.write_text(read_sites(other.hub)["east"].certificate)
    stranger.with_suffix(".key").write_bytes((other.home("east") / "keys" / "tls.key").read_bytes())
    assert "refused" in shake(joined.hub, client(joined.home("east"), certificate=stranger))


def test_a_servers_certificate_is_for_its_own_name_and_no_ones_client(joined: Joined) -> None:
    said = shake(joined.hub, client(joined.home("east")), name="elsewhere.example")
    assert "alert bad certificate" in said  # the hospital's side refused
    server = joined.hub / "keys" / "server.pem"
    assert "refused" in shake(joined.hub, client(joined.home("east"), certificate=server))


def test_an_expired_and_a_revoked_certificate_are_refused(joined: Joined, tmp_path: Path) -> None:
    home = joined.home("north")
    request = joined.request("north").certificate_request
    old = authority.issue_hospital(joined.hub, "north", request, clock=Later(-90), days=30)
    (tmp_path / "n.pem").write_text(old)
    (tmp_path / "n.key").write_bytes((home / "keys" / "tls.key").read_bytes())
    expired = client(joined.home("east"), certificate=tmp_path / "n.pem")
    assert "certificate has expired" in shake(joined.hub, expired)
    good = read_sites(joined.hub)["north"]
    (tmp_path / "n.pem").write_text(good.certificate)
    context = client(joined.home("east"), certificate=tmp_path / "n.pem")
    assert shake(joined.hub, context, crl=True) == "north"
    authority.write_crl(joined.hub, good.serials, CLOCK)
    assert "certificate revoked" in shake(joined.hub, context, crl=True)
    authority.write_crl(joined.hub, (), CLOCK)


def test_openssl_agrees_on_serial_subject_and_purpose(joined: Joined, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    site = read_sites(joined.hub)["east"]
    (tmp_path / "c.pem").write_text(site.certificate)
    said = subprocess.check_output(
        ["openssl", "x509", "-in", "c.pem", "-noout", "-serial", "-subject", "-purpose"],
        cwd=tmp_path,
        text=True,
    )
    assert f"serial={site.serials[0]}" in said
    assert "CN" in said
    assert "SSL client : Yes" in said
    assert "SSL server : No" in said


def institution(folder: Path, host: str) -> Given:
    """Make certificate files as an institution would give them: another authority's."""
    open_home(
        folder,
        Coordinator(name="Institution", address=f"{host}:443"),
        CLOCK,
        listen="127.0.0.1:1",
    )
    names = (authority.SERVER, authority.SERVER_KEY, authority.CA)
    certificate, key, ca = (key_path(folder, name) for name in names)
    return Given(certificate=certificate, key=key, ca=ca)


def test_an_institutions_certificates_are_taken_where_they_fit(tmp_path: Path) -> None:
    given = institution(tmp_path / "it", "fed.example.org")
    who = Coordinator(name="hub", address="fed.example.org:443")
    open_home(tmp_path / "hub", who, CLOCK, listen="0.0.0.0:443", given=given)
    trusted = key_path(tmp_path / "hub", authority.SERVER_CA).read_bytes()
    assert trusted == given.ca.read_bytes()
    assert trusted != key_path(tmp_path / "hub", authority.CA).read_bytes()


@pytest.mark.parametrize("wrong", ["host", "key", "ca", "expired", "no file", "no pem"])
def test_an_institutions_certificates_that_do_not_fit_are_refused(
    tmp_path: Path, wrong: str
) -> None:
    given = institution(tmp_path / "it", "fed.example.org")
    other = institution(tmp_path / "other", "fed.example.org")
    host = "other.example.org" if wrong == "host" else "fed.example.org"
    parts = {"certificate": given.certificate, "key": given.key, "ca": given.ca}
    if wrong in ("key", "ca"):
        parts[wrong] = getattr(other, wrong)
    elif wrong == "no file":
        parts["key"] = tmp_path / "none"
    elif wrong == "no pem":
        parts["ca"] = tmp_path / "it" / "aggregator.toml"
    clock = Later(500) if wrong == "expired" else CLOCK
    who = Coordinator(name="hub", address=f"{host}:443")
    with pytest.raises(SettingsError):
        open_home(tmp_path / "hub", who, clock, listen="0.0.0.0:443", given=Given(**parts))
    assert not (tmp_path / "hub" / "aggregator.toml").exists()
    open_home(tmp_path / "hub", who, CLOCK, listen="0.0.0.0:443")  # an interrupted init, again


def test_init_writes_settings_that_read_back_with_their_defaults(joined: Joined) -> None:
    settings = read_coordinator(joined.hub)
    assert settings.coordinator == Coordinator(name="The hub", address="localhost:8443")
    assert settings.ports == Ports()
    text = (joined.hub / "aggregator.toml").read_text().replace("# ", "")
    assert "hospital_days = 397" in text


def test_a_second_init_changes_nothing(joined: Joined) -> None:
    before = key_path(joined.hub, authority.CA).read_bytes()
    who = Coordinator(name="x", address="y:1")
    with pytest.raises(SettingsError, match="home already"):
        open_home(joined.hub, who, CLOCK, listen="0.0.0.0:443")
    assert key_path(joined.hub, authority.CA).read_bytes() == before


@pytest.mark.parametrize("address", ["host", "host:0", "host:70000", "a b:1", "http://x:1", ":1"])
def test_an_address_is_one_host_and_one_port(address: str) -> None:
    with pytest.raises(SettingsError, match="address must be host:port"):
        Coordinator(name="x", address=address)


def test_a_name_with_quotes_survives_the_settings_file(tmp_path: Path) -> None:
    who = Coordinator(name='The "hub" \\ Zürich', address="[::1]:443")
    open_home(tmp_path / "hub", who, CLOCK, listen="[::]:443")
    assert read_coordinator(tmp_path / "hub").coordinator == who
    server = authority.read_certificate(key_path(tmp_path / "hub", authority.SERVER))
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert str(names.get_values_for_type(x509.IPAddress)[0]) == "::1"
