"""Taking an invitation in: every bad one has its own reason, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from joined import CLOCK, HOSPITALS, Joined, Later, forge, open_hub

from aggregator.membership import rotate
from fedrad import signatures
from fedrad.errors import DamagedStateError, EnrolmentError
from site_client import joining
from site_client.acceptance import read_offer, refuse_stranger, take_in
from site_client.approvals import APPROVAL, _opened
from site_client.settings import read_site
from site_client.study import study_folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hospitals that were invited and did nothing yet; copied for each test."""
    made = open_hub(tmp_path_factory.mktemp("template"))
    made.enrol()
    return made.folder


@pytest.fixture
def joined(template: Path, tmp_path: Path) -> Joined:
    return Joined(Path(shutil.copytree(template, tmp_path / "j")))


def test_an_invitation_brings_certificates_the_address_and_a_proposal(joined: Joined) -> None:
    joined.accept("east")
    home, settings = joined.home("east"), read_site(joined.home("east"))
    assert settings.coordinator is not None
    assert settings.coordinator.address == "localhost:8443"
    assert settings.coordinator.key == joined.fingerprint
    assert (home / "keys" / "tls.pem").exists()
    assert (home / "keys" / "coordinator-ca.pem").exists()
    assert [path.name for path in study_folder(home, "demo").iterdir()] == ["proposed.json"]


def test_a_letter_that_was_overtaken_brings_no_old_certificate_back(joined: Joined) -> None:
    """Else a replayed e-mail would put a revoked certificate back and cut the site off."""
    installed = joined.home("east") / "keys" / "tls.pem"
    joined.accept("east")
    newer = certificate_of(datetime.now(UTC))
    installed.write_bytes(newer)
    with pytest.raises(EnrolmentError, match="take the last file that your coordinator sent"):
        joined.accept("east")
    assert installed.read_bytes() == newer


def certificate_of(begin: datetime) -> bytes:
    key, name = ec.generate_private_key(ec.SECP384R1()), x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=9))
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM)


def kind(body: dict) -> None:
    body["contract"]["sites"]["east"] |= {"kind": "evaluate", "train_sigma": 0.0}


def patients(body: dict) -> None:
    body["contract"]["sites"]["east"]["patients_agreed"] = 150


def hours(body: dict) -> None:
    body["contract"]["sites"]["east"]["hours"] = "22:00-06:00"


def unconditional(body: dict) -> None:
    body["contract"]["conditions"] = None


def expired(body: dict) -> None:
    body["contract"]["conditions"]["expires"] = "2020-01-01"


def resealed(joined: Joined, change: Callable[[dict], None]) -> Path:
    """Return an invitation that a coordinator gone bad wrote with a digest that fits."""
    from fedrad.signatures import digest

    def both(body: dict) -> None:
        change(body)
        body["study_digest"] = digest({"task": body["task"], "contract": body["contract"]})

    return forge(joined.invitation("east"), both, key_of=joined.hub)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (kind, "wants this site to evaluate; this site offered to train"),
        (patients, "says 150 patients of this site; offered were 120"),
        (hours, "says hours '22:00-06:00' of this site; promised were ''"),
        (unconditional, "says no expiry and no recipients"),
        (expired, "its contract expired on 2020-01-01"),
        (lambda b: b["link"].update(certificate=b["link"]["ca"]), "not for this site's key"),
        (lambda b: b["link"].update(ca="-----BEGIN CERTIFICATE-----"), "cannot be read"),
        (lambda b: b["link"].update(address="evil"), "address must be host:port"),
        (lambda b: b.update(request="a" * 64), "answers another request than this home's"),
    ],
)
def test_what_its_own_coordinator_may_not_write_is_refused(
    joined: Joined, change: Callable[[dict], None], reason: str
) -> None:
    before = (joined.home("east") / "site.toml").read_bytes()
    with pytest.raises(EnrolmentError, match=reason):
        read_offer(joined.home("east"), resealed(joined, change), CLOCK)
    assert (joined.home("east") / "site.toml").read_bytes() == before


def test_an_invitation_for_another_site_is_refused(joined: Joined) -> None:
    with pytest.raises(EnrolmentError, match="it is for site 'north'; this is 'east'"):
        joined.accept("east", joined.invitation("north"))


def test_an_invitation_for_an_older_request_is_refused(joined: Joined) -> None:
    joined.join("east", patients=90)
    with pytest.raises(EnrolmentError, match="answers another request"):
        joined.accept("east")


def test_a_site_that_never_asked_accepts_nothing(joined: Joined) -> None:
    (joined.home("east") / "request.json").unlink()
    with pytest.raises(EnrolmentError, match="never asked to join"):
        joined.accept("east")


def test_a_wrong_or_empty_fingerprint_is_refused(joined: Joined) -> None:
    offer = read_offer(joined.home("east"), joined.invitation("east"), CLOCK)
    for heard in ("", "AAAA-AAAA-AAAA-AAAA-AAAA", joined.fingerprint[:-5]):
        with pytest.raises(EnrolmentError, match="does not come from your coordinator"):
            refuse_stranger(offer, heard)
    refuse_stranger(offer, joined.fingerprint.lower().replace("-", " "))


def test_a_known_coordinator_is_not_asked_for_again_and_another_is_refused(
    joined: Joined, tmp_path: Path
) -> None:
    joined.accept("east")
    joined.enrol(study="second")
    again = read_offer(joined.home("east"), joined.invitation("east", "second"), CLOCK)
    assert again.known
    impostor = open_hub(tmp_path / "impostor")
    for name in HOSPITALS:
        shutil.copy(joined.home(name) / "request.json", impostor.home(name) / "request.json")
    impostor.enrol()
    with pytest.raises(EnrolmentError, match="this site's coordinator is"):
        read_offer(joined.home("east"), impostor.invitation("east"), CLOCK)


def test_a_certificate_of_another_time_names_both_dates(joined: Joined) -> None:
    for days in (-2, 500):
        with pytest.raises(EnrolmentError, match="is good from .* here it is"):
            read_offer(joined.home("east"), joined.invitation("east"), Later(days))


def test_a_renewal_moves_new_keys_in_and_what_they_signed_goes_on(joined: Joined) -> None:
    home = joined.home("east")
    joined.accept("east")
    joined.approve("east")
    old = signatures.public_text(joining.node_key(home))
    path = rotate(joined.hub, joining.rotate_keys(home, CLOCK).request, CLOCK)
    joined.accept("east", path)
    assert signatures.public_text(joining.node_key(home)) != old
    assert _opened(home, study_folder(home, "demo") / APPROVAL).name == "Dr Ada"
    assert not list((home / "keys" / "next").iterdir())
    joined.accept("east", path)  # as after an interruption


def test_a_renewal_that_stops_between_two_files_is_finished_by_the_next_call(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = joined.home("east")
    joined.accept("east")
    joined.approve("east")
    path = rotate(joined.hub, joining.rotate_keys(home, CLOCK).request, CLOCK)
    for stop in range(1, 4):
        copy = Path(shutil.copytree(joined.folder, joined.folder.parent / f"stop-{stop}"))
        interrupted, calls = Joined(copy), iter(range(1, 99))
        moved = Path.replace

        def replace(self: Path, target: Path, calls=calls, moved=moved, stop=stop) -> Path:
            waiting = "next" in self.parts or self.name == joining.NEXT_REQUEST
            if waiting and next(calls) == stop:
                raise KeyboardInterrupt
            return moved(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", replace)
            with pytest.raises(KeyboardInterrupt):
                interrupted.accept("east", path)
        interrupted.accept("east", path)
        there = interrupted.home("east")
        _opened(there, study_folder(there, "demo") / APPROVAL)
        assert interrupted.request("east").digest == rotate_digest(path)


def rotate_digest(path: Path) -> str:
    from fedrad.enrolment import read_invitation

    return read_invitation(path).request


def test_a_node_key_that_others_may_read_stops_everything(joined: Joined) -> None:
    joined.accept("east")
    (joined.home("east") / "keys" / "node.key").chmod(0o644)
    with pytest.raises(DamagedStateError, match="chmod 600"):
        joined.approve("east")


def test_taking_in_twice_changes_nothing_more(joined: Joined) -> None:
    joined.accept("east")
    text = (joined.home("east") / "site.toml").read_text()
    offer = read_offer(joined.home("east"), joined.invitation("east"), CLOCK)
    take_in(joined.home("east"), offer, CLOCK)
    assert (joined.home("east") / "site.toml").read_text() == text
