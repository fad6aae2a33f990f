"""Enrolling: who is let in, what the contract says, and what each refusal is called."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from joined import CLOCK, HOSPITALS, Joined, Later, open_hub
from tiny_study import tiny_task

from aggregator import authority, studies
from aggregator.enrol import Wishes, enrol, make_contract
from aggregator.home import key_path
from aggregator.membership import renew_servers, revoke, revoke_older, rotate
from aggregator.registry import read_sites
from fedrad import audit_log
from fedrad.contract import Conditions, contract_table
from fedrad.enrolment import read_invitation
from fedrad.errors import DamagedStateError, EnrolmentError, RunError, SettingsError
from fedrad.planning import noise
from fedrad.task import write_task
from site_client import joining


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coordinator and three hospitals that asked; copied for each test."""
    return open_hub(tmp_path_factory.mktemp("template")).folder


@pytest.fixture
def joined(template: Path, tmp_path: Path) -> Joined:
    return Joined(Path(shutil.copytree(template, tmp_path / "j")))


def test_a_contract_is_over_all_requests_with_the_noise_that_planning_says(joined: Joined) -> None:
    joined.join("west", kind="evaluate", patients=64)
    contract = joined.enrol(*HOSPITALS, "west", ethics="EK-1").study.contract
    task = studies.read_study(joined.hub, "demo").task
    assert contract.trainers == HOSPITALS
    for name in HOSPITALS:
        assert contract.sites[name].train_sigma == noise.train_sigma(task, 120)
    assert contract.sites["west"].train_sigma == 0
    assert contract.sites["west"].audit_sigma == noise.audit_sigma(task)
    assert contract.sites["west"].patients_agreed == 60
    assert contract.conditions.ethics == "EK-1"
    assert studies.read_study(joined.hub, "demo").contract == contract


def test_the_hours_that_a_hospital_promised_are_in_its_contract(joined: Joined) -> None:
    before = joined.request("east").digest
    joining.join(joined.home("north"), kind="train", patients=120, clock=CLOCK, hours="19:00-05:00")
    contract = joined.enrol().study.contract
    assert [contract.sites[name].hours for name in HOSPITALS] == ["", "19:00-05:00", ""]
    table = contract_table(contract)["sites"]
    assert ["hours" in table[name] for name in HOSPITALS] == [False, True, False]
    assert joined.request("east").digest == before
    joined.accept("north")


@pytest.mark.parametrize("names", [("east", "north"), ("east", "north", "west")])
def test_fewer_than_three_training_sites_are_refused_and_nothing_is_written(
    joined: Joined, names: tuple[str, ...]
) -> None:
    joined.join("west", kind="evaluate")
    with pytest.raises(RunError, match="2 sites would train and 3 is the least"):
        joined.enrol(*names)
    assert read_sites(joined.hub) == {}
    assert studies.study_names(joined.hub) == ()


def test_letters_are_drawn_anew_for_each_study_and_every_order_comes_up(joined: Joined) -> None:
    requests = [joined.request(name) for name in HOSPITALS]
    conditions = Conditions(expires="2099-12-31", recipients=("x",))
    wishes = Wishes(study="s", task=Path("t"), conditions=conditions)
    drawn = Counter(
        "".join(terms.label for terms in contract.sites.values())
        for _ in range(120)
        for contract in [make_contract(tiny_task(), requests, wishes, letters={})]
    )
    assert set(drawn) == {"ABC", "ACB", "BAC", "BCA", "CAB", "CBA"}  # misses one in 2e9


def test_enrolling_again_before_the_first_round_keeps_letters_and_certificates(
    joined: Joined,
) -> None:
    before, sites = joined.enrol().study, read_sites(joined.hub)
    joined.join("west")
    after = joined.enrol(*HOSPITALS, "west").study
    for name in HOSPITALS:
        assert after.contract.sites[name].label == before.contract.sites[name].label
        assert read_sites(joined.hub)[name].serials == sites[name].serials
    assert after.contract.sites["west"].label == "D"
    assert after.seed == before.seed


def test_a_study_that_has_run_is_not_enrolled_again(joined: Joined) -> None:
    joined.enrol()
    studies.run_folder(joined.hub, "demo").mkdir(parents=True)
    with pytest.raises(RunError, match="rounds of 'demo' were run already"):
        joined.enrol()


def test_a_cloned_home_under_another_name_is_found(joined: Joined) -> None:
    shutil.copytree(joined.home("east"), joined.home("twin"))
    text = (joined.home("twin") / "site.toml").read_text()
    (joined.home("twin") / "site.toml").write_text(text.replace('"east"', '"twin"'))
    joined.join("twin")
    with pytest.raises(EnrolmentError, match="'east' has the node key of another site"):
        joined.enrol(*HOSPITALS, "twin")
    joined.enrol()
    with pytest.raises(EnrolmentError, match="'twin' has the node key of another site"):
        joined.enrol("north", "south", "twin", study="second")


def test_one_name_twice_and_a_known_name_with_another_key_are_refused(joined: Joined) -> None:
    with pytest.raises(EnrolmentError, match="two requests are for site 'east'"):
        joined.enrol(*HOSPITALS, "east")
    joined.enrol()
    shutil.rmtree(joined.home("east"))
    joined.join("east")
    with pytest.raises(EnrolmentError, match="'east' is enrolled with another key"):
        joined.enrol(study="second")


def test_a_simulation_task_and_an_expired_contract_are_refused(joined: Joined) -> None:
    path = joined.folder / "exact.toml"
    write_task(path, tiny_task("privacy.enabled=false", "evaluation.release=exact"))
    conditions = Conditions(expires="2099-12-31", recipients=("x",))
    requests = [joined.request(name) for name in HOSPITALS]
    with pytest.raises(SettingsError, match="for simulations only"):
        enrol(joined.hub, requests, Wishes(study="s", task=path, conditions=conditions), CLOCK)
    with pytest.raises(SettingsError, match="2020-01-01 is over already"):
        joined.enrol(expires="2020-01-01")


@pytest.mark.parametrize("name", ["../out", "", "a b", "a/b", "x" * 101])
def test_a_studys_name_never_becomes_a_path(joined: Joined, name: str) -> None:
    with pytest.raises(SettingsError, match="letters, digits"):
        joined.enrol(study=name)


def test_names_are_shown_to_all_only_where_the_conditions_say_so(joined: Joined) -> None:
    joined.enrol(figures="names")
    _, contract = read_invitation(joined.invitation("east")).offer()
    assert set(contract.sites) == set(HOSPITALS)


def test_a_revoked_site_is_on_the_list_of_nobody_and_does_not_come_back(joined: Joined) -> None:
    joined.enrol()
    serial = read_sites(joined.hub)["east"].serials[0]
    revoke(joined.hub, "east", CLOCK)
    gone = read_sites(joined.hub)["east"]
    assert (gone.live, gone.serials, gone.revoked_serials) == (False, (), (serial,))
    assert crl_serials(joined) == {serial}
    with pytest.raises(EnrolmentError, match="'east' was revoked"):
        joined.enrol(study="second")
    with pytest.raises(EnrolmentError, match="no site 'nobody' is enrolled; enrolled are: east"):
        revoke(joined.hub, "nobody", CLOCK)


def crl_serials(joined: Joined) -> set[str]:
    from cryptography import x509

    crl = x509.load_pem_x509_crl(key_path(joined.hub, authority.CRL).read_bytes())
    ca = authority.read_certificate(key_path(joined.hub, authority.CA))
    assert crl.is_signature_valid(ca.public_key())
    assert crl.next_update_utc == ca.not_valid_after_utc  # a list that runs out shuts all out
    return {authority.printed_serial(entry.serial_number) for entry in crl}


def test_rotation_needs_the_known_keys_word_and_shuts_the_old_key_out(joined: Joined) -> None:
    joined.enrol()
    joined.accept("east")
    before = read_sites(joined.hub)["east"]
    asked = joining.rotate_keys(joined.home("east"), CLOCK).request
    unendorsed = replace(asked, replaces="", endorsement="")
    with pytest.raises(EnrolmentError, match="not endorsed by the node key that is enrolled"):
        rotate(joined.hub, unendorsed, CLOCK)
    joined.accept("east", rotate(joined.hub, asked, CLOCK))
    after = read_sites(joined.hub)["east"]
    assert after.node_key == asked.node_key != before.node_key
    assert after.former_keys == (before.node_key,)
    assert after.serials[0] == before.serials[0]
    assert len(after.serials) == 2
    kept = revoke_older(joined.hub, "east", CLOCK)
    assert kept.serials == after.serials[1:]
    assert crl_serials(joined) == {before.serials[0]}


def test_a_rotation_for_another_site_or_back_to_an_old_key_is_refused(joined: Joined) -> None:
    joined.enrol()
    home = joined.home("east")
    first = joining.node_key(home)
    joined.accept("east", rotate(joined.hub, joining.rotate_keys(home, CLOCK).request, CLOCK))
    back = joining.rotate_keys(home, CLOCK).request
    from fedrad.signatures import public_text

    with pytest.raises(EnrolmentError, match="was in use before"):
        rotate(joined.hub, replace(back, node_key=public_text(first)), CLOCK)
    with pytest.raises(EnrolmentError, match="not endorsed by the node key"):
        rotate(joined.hub, replace(back, site="north"), CLOCK)


def test_the_record_says_what_was_done_and_verifies(joined: Joined) -> None:
    joined.enrol()
    revoke(joined.hub, "east", CLOCK)
    kinds = Counter(line["kind"] for line in audit_log.read(joined.hub / "audit.jsonl"))
    assert kinds == {"opened": 1, "enrolled": 3, "invited": 3, "revoked": 1}
    assert audit_log.verify(joined.hub / "audit.jsonl").lines == 8


def test_a_damaged_or_moved_file_of_a_site_is_told(joined: Joined) -> None:
    joined.enrol()
    path = joined.hub / "sites" / "east.json"
    path.rename(joined.hub / "sites" / "other.json")
    with pytest.raises(DamagedStateError, match="is the file of 'east'"):
        read_sites(joined.hub)
    (joined.hub / "sites" / "other.json").write_text("{}")
    with pytest.raises(DamagedStateError, match="is damaged"):
        read_sites(joined.hub)


def test_a_certificate_that_ends_before_the_study_is_named(joined: Joined) -> None:
    late = (CLOCK.now() + timedelta(days=900)).date().isoformat()
    assert set(joined.enrol(expires=late).short) == set(HOSPITALS)
    soon = (CLOCK.now() + timedelta(days=9)).date().isoformat()
    assert joined.enrol(expires=soon).short == {}


def test_servers_are_renewed_without_telling_hospitals(joined: Joined) -> None:
    before = key_path(joined.hub, authority.SERVER).read_bytes()
    trusted = key_path(joined.hub, authority.SERVER_CA).read_bytes()
    renew_servers(joined.hub, Later(300))
    assert key_path(joined.hub, authority.SERVER).read_bytes() != before
    assert key_path(joined.hub, authority.SERVER_CA).read_bytes() == trusted
