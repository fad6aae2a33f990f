"""Requests and invitations as files: what they carry, and what a changed one says."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from joined import HOSPITALS, Joined, forge, open_hub

from fedrad import enrolment, signatures
from fedrad.contract import read_contract
from fedrad.enrolment import read_invitation, read_request, study_digest
from fedrad.errors import EnrolmentError
from fedrad.task import read_task

SPOILED = [
    ({"schema": 2}, "schema 2 is not 1.*update the older side"),
    ({"protocol": 99}, "speaks wire protocol 99"),
    ({"site": "../../etc"}, "site must be up to 64 letters"),
    ({"site": "hospital-B"}, "not what contracts call others"),
    ({"site": "a" * 65}, "site must be up to 64 letters"),
    ({"site": "ost\x1b[2J"}, r"site must be up to 64 letters.*\?"),
    ({"kind": "admin"}, "kind must be one of 'train', 'evaluate'"),
    ({"patients_agreed": 123}, "rounded down"),
    ({"patients_agreed": 0}, "between 1 and"),
    ({"patients_agreed": True}, "whole number"),
    ({"patients_agreed": 10**30}, "between 1 and"),
    ({"app_digest": "zz"}, "64 hexadecimal digits"),
    ({"fedrad_version": "1 and a sentence"}, "short text"),
    ({"certificate_request": "-----BEGIN PRIVATE KEY-----"}, "without a private key"),
    ({"certificate_request": "-----BEGIN CERTIFICATE REQUEST-----\nAA"}, "cannot be read"),
    ({"extra": 1}, "extra is not a known key"),
    ({"node_key": "ssh-rsa AAAA"}, "public key is not an OpenSSH line"),
]


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Joined:
    """Three hospitals that were invited; read-only."""
    made = open_hub(tmp_path_factory.mktemp("joined"))
    made.enrol()
    return made


@pytest.mark.parametrize(("change", "reason"), SPOILED)
def test_a_request_outside_its_limits_is_refused_although_its_own_key_signed_it(
    joined: Joined, change: dict, reason: str
) -> None:
    home = joined.home("east")
    path = forge(home / "request.json", lambda body: body.update(change), key_of=home)
    with pytest.raises(EnrolmentError, match=reason):
        read_request(path)


@pytest.mark.parametrize("field", ["patients_agreed", "time", "fedrad_version"])
def test_one_changed_field_of_a_request_breaks_its_signature(joined: Joined, field: str) -> None:
    def change(body: dict) -> None:
        body[field] = 130 if field == "patients_agreed" else "2026"

    with pytest.raises(EnrolmentError, match="the request's signature does not hold"):
        read_request(forge(joined.home("east") / "request.json", change))


def test_a_request_with_anothers_certificate_request_or_one_key_for_both_is_refused(
    joined: Joined,
) -> None:
    other = joined.request("north").certificate_request
    home = joined.home("east")
    path = forge(
        home / "request.json", lambda body: body.update(certificate_request=other), key_of=home
    )
    with pytest.raises(EnrolmentError, match="for another name than 'east'"):
        read_request(path)


def test_an_invitation_holds_its_study_and_each_change_breaks_it(joined: Joined) -> None:
    answer = read_invitation(joined.invitation("east"))
    task, contract = answer.offer()
    assert study_digest(task, contract) == answer.study_digest
    assert answer.request == joined.request("east").digest
    for name in ("study", "site", "request", "created"):
        text = "2026" if name == "created" else "a" * 64
        with pytest.raises(EnrolmentError, match="the invitation's signature does not hold"):
            read_invitation(
                forge(joined.invitation("east"), lambda body, n=name, t=text: body.update({n: t}))
            )


def test_an_invitation_of_mixed_parts_is_refused_even_where_it_is_signed(joined: Joined) -> None:
    def another_task(body: dict) -> None:
        body["task"]["federation"]["rounds"] = 3

    def another_study(body: dict) -> None:
        body["study"] = "other"

    def without_me(body: dict) -> None:
        del body["contract"]["sites"]["east"]

    def other_digest(body: dict) -> None:
        body["contract"]["conditions"]["ethics"] = "slipped in"

    for change, reason in (
        (another_task, "for another task"),
        (another_study, "for another study"),
        (without_me, "does not name 'east'"),
        (other_digest, "digest is not that of its task and contract"),
    ):
        path = forge(joined.invitation("east"), change, key_of=joined.hub)
        with pytest.raises(EnrolmentError, match=reason):
            read_invitation(path).offer()


def test_a_request_is_no_invitation_and_a_large_file_is_neither(
    joined: Joined, tmp_path: Path
) -> None:
    with pytest.raises(EnrolmentError, match="no invitation: it says 'request'"):
        read_invitation(joined.home("east") / "request.json")
    with pytest.raises(EnrolmentError, match="no request: it says 'invitation'"):
        read_request(joined.invitation("east"))
    (tmp_path / "big").write_bytes(b" " * (enrolment.MOST_REQUEST + 1))
    with pytest.raises(EnrolmentError, match="larger than 65,536 bytes"):
        read_request(tmp_path / "big")


def secrets_of(path: Path) -> list[bytes]:
    """Return a private key in every form in which it could slip out."""
    if path.name == "split.key":
        return [path.read_bytes(), path.read_bytes().hex().encode()]
    number = signatures.read_key(path).private_numbers().private_value
    raw = number.to_bytes(48, "big")
    return [raw, raw.hex().encode(), str(number).encode()]


def unwrapped(content: bytes) -> bytes:
    """Return bytes with everything appended that base64 in them decodes to."""
    runs = re.findall(rb"[A-Za-z0-9+/]{16,}", content.replace(b"\\n", b""))
    return content + b"".join(base64.b64decode(run[: len(run) // 4 * 4]) for run in runs)


def test_no_byte_of_a_private_key_is_in_what_travels(joined: Joined) -> None:
    travel = [joined.home(name) / "request.json" for name in HOSPITALS]
    travel += [joined.invitation(name) for name in HOSPITALS]
    seen = unwrapped(b"".join(path.read_bytes() for path in travel))
    keys = list(joined.folder.glob("*/keys/*.key"))
    assert len(keys) == 4 + 3 * 3
    for path in keys:
        assert not [secret for secret in secrets_of(path) if secret in seen], path
        if path.name != "split.key":  # the search would find it: the file itself holds it
            assert secrets_of(path)[0] in unwrapped(path.read_bytes().replace(b"\n", b"\\n"))
    assert b"PRIVATE" not in seen


def test_what_the_coordinator_keeps_is_its_owners_alone(joined: Joined) -> None:
    assert (joined.hub / "keys").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (joined.hub / "keys").iterdir()}
    assert set(modes.values()) == {0o600}
    for name in ("node.key", "tls.key"):
        assert (joined.home("east") / "keys" / name).stat().st_mode & 0o777 == 0o600


def test_each_site_sees_itself_by_name_and_the_others_as_letters(joined: Joined) -> None:
    whole = read_contract(joined.hub / "studies" / "demo" / "contract.json")
    assert set(whole.sites) == set(HOSPITALS)
    for name in HOSPITALS:
        text = joined.invitation(name).read_text()
        assert not any(other in text for other in HOSPITALS if other != name)
        _, seen = read_invitation(joined.invitation(name)).offer()
        labels = {terms.label for terms in whole.sites.values()}
        others = {f"hospital-{label}" for label in labels - {whole.sites[name].label}}
        assert set(seen.sites) == {name, *others}
        assert seen.sites[name] == whole.sites[name]


def test_the_task_that_travels_is_the_task_that_was_written(joined: Joined) -> None:
    task, _ = read_invitation(joined.invitation("east")).offer()
    assert task == read_task(joined.hub / "studies" / "demo" / "task.toml")
