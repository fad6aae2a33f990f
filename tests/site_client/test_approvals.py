"""Two approvals: what each is for, what a round does without one, and what a change shows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from joined import CLOCK, STUDY, Joined, Later, open_hub
from tiny_study import SITES, TinyStudy

from aggregator.enrol import Wishes, enrol
from fedrad import software
from fedrad.contract import Conditions, read_contract
from fedrad.errors import DamagedStateError, DeclinedError, EnrolmentError, SettingsError
from fedrad.parameters import digest
from fedrad.protocol.messages import Reply
from fedrad.task import write_task
from site_client import audit
from site_client.acceptance import read_offer, take_in
from site_client.approvals import (
    SOFTWARE,
    Person,
    approve_software,
    approve_study,
    changes_text,
    refuse_unapproved_software,
    software_changes,
    study_changes,
)
from site_client.joining import join
from site_client.round import Site, SiteRuntime
from site_client.settings import read_site
from site_client.study import study_folder

ADA, BO = Person(name="Dr Ada", role="PI"), Person(name="Bo", role="IT")


@pytest.fixture(scope="module", autouse=True)
def _one_program() -> Iterator[None]:
    """Keep the installed code the same, although somebody may be editing it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(software, "app_digest", lambda: "a" * 64)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hospitals of which east accepted; copied for each test."""
    made = open_hub(tmp_path_factory.mktemp("template"))
    made.enrol(ethics="EK-1")
    made.accept("east")
    return made.folder


@pytest.fixture
def joined(template: Path, tmp_path: Path) -> Joined:
    return Joined(Path(shutil.copytree(template, tmp_path / "j")))


def test_an_approval_is_in_site_toml_and_signed_beside_the_study(joined: Joined) -> None:
    home = joined.home("east")
    done = approve_study(home, STUDY, ADA, CLOCK)
    contract = read_contract(study_folder(home, STUDY) / "contract.json")
    assert read_site(home).approval.studies == (contract.task_hash,)
    assert (done.name, done.role, done.document["contract"]["study"]) == ("Dr Ada", "PI", STUDY)
    note = audit.read(home)[-1]
    assert (note["kind"], note["digest"], note["name"]) == ("approved-study", done.digest, "Dr Ada")
    assert not (study_folder(home, STUDY) / "proposed.json").exists()
    assert "epsilon_limit = 8.0   # a person's word" in (home / "site.toml").read_text()


def test_what_was_not_read_is_not_approved(joined: Joined) -> None:
    """Somebody may have laid another contract there since."""
    home = joined.home("east")
    with pytest.raises(EnrolmentError, match="it is not what you read"):
        approve_study(home, STUDY, ADA, CLOCK, seen="f" * 64)
    assert read_site(home).approval.studies == ()
    done = approve_study(home, STUDY, ADA, CLOCK)
    assert approve_study(home, STUDY, ADA, CLOCK, seen=done.digest).digest == done.digest


def test_without_an_accepted_invitation_there_is_nothing_to_approve(joined: Joined) -> None:
    with pytest.raises(EnrolmentError, match="no invitation to 'other' was accepted"):
        approve_study(joined.home("east"), "other", ADA, CLOCK)
    with pytest.raises(DeclinedError, match="study's name"):
        approve_study(joined.home("east"), "../../x", ADA, CLOCK)
    with pytest.raises(SettingsError, match="--name must say whose"):
        Person(name=" ", role="PI")


def test_an_invitation_put_under_another_study_is_not_approved(joined: Joined) -> None:
    home = joined.home("east")
    study_folder(home, STUDY).rename(study_folder(home, "other"))
    with pytest.raises(EnrolmentError, match="is for another study than 'other'"):
        approve_study(home, "other", ADA, CLOCK)


def test_a_new_invitation_shows_exactly_what_changed_and_holds_once_approved(
    joined: Joined,
) -> None:
    home = joined.home("east")
    approve_study(home, STUDY, ADA, CLOCK)
    assert study_changes(home, STUDY) == []
    before = read_contract(study_folder(home, STUDY) / "contract.json")
    joined.enrol(ethics="EK-2", rounds=1)
    joined.accept("east")
    assert read_contract(study_folder(home, STUDY) / "contract.json") == before
    changed = {change.key: (change.before, change.after) for change in study_changes(home, STUDY)}
    assert changed["contract.conditions.ethics"] == ("EK-1", "EK-2")
    assert changed["task.federation.rounds"] == (2, 1)
    hashes = {"contract.task_hash", "contract.conditions.ethics", "task.federation.rounds"}
    others = {key for key in changed if not key.endswith("_sigma")}
    assert others == hashes
    assert "- contract.conditions.ethics = EK-1\n+ contract.conditions.ethics = EK-2" in (
        changes_text(study_changes(home, STUDY))
    )
    approve_study(home, STUDY, ADA, CLOCK)
    assert study_changes(home, STUDY) == []


def test_software_is_approved_by_its_digest_and_a_release_needs_that_alone(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = joined.home("east")
    with pytest.raises(DeclinedError, match="is not in .approval. software"):
        refuse_unapproved_software(home, read_site(home))
    joined.approve("east")
    refuse_unapproved_software(home, read_site(home))
    monkeypatch.setattr(software, "app_digest", lambda: "b" * 64)  # a release was installed
    with pytest.raises(DeclinedError, match="bbbb.* is not in"):
        refuse_unapproved_software(home, read_site(home))
    assert [change.key for change in software_changes(home)] == ["app"]
    assert study_changes(home, STUDY) == []
    approve_software(home, BO, CLOCK)
    refuse_unapproved_software(home, read_site(home))
    assert read_site(home).approval.software == ("b" * 64,)


def test_another_image_around_the_same_code_is_another_software(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(software.IMAGE, "sha256:" + "1" * 64)
    joined.approve("east")
    refuse_unapproved_software(joined.home("east"), read_site(joined.home("east")))
    monkeypatch.setenv(software.IMAGE, "sha256:" + "2" * 64)
    home = joined.home("east")
    with pytest.raises(DeclinedError, match=r"the approved image is 1{64}, this is 2{64}"):
        refuse_unapproved_software(home, read_site(home))
    (home / "state" / "software.json").unlink()
    with pytest.raises(DeclinedError, match="the approved image is none"):
        refuse_unapproved_software(home, read_site(home))


def test_a_changed_approval_is_damage(joined: Joined) -> None:
    home = joined.home("east")
    joined.approve("east")
    path = home / SOFTWARE
    table = json.loads(path.read_text())
    table["body"]["name"] = "Somebody else"
    path.write_text(json.dumps(table))
    with pytest.raises(DamagedStateError, match="changed after it was signed"):
        software_changes(home)
    path.write_text("[]")
    with pytest.raises(DamagedStateError, match="cannot be read"):
        software_changes(home)


@pytest.fixture(scope="module")
def signed_template(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    """The tiny study over real archives, enrolled and approved; west joined to score."""
    from tiny_study import copy_study

    made = copy_study(hospitals, tmp_path_factory.mktemp("signed") / "run")
    joined = open_hub(made.run / "coordinator")
    requests = [
        join(
            made.home(site),
            kind="evaluate" if site == "west" else "train",
            patients=20,
            clock=CLOCK,
        ).request
        for site in SITES
    ]
    write_task(made.run / "t.toml", made.task)
    conditions = Conditions(expires="2099-12-31", recipients=("x",))
    wishes = Wishes(study="signed", task=made.run / "t.toml", conditions=conditions)
    done = enrol(joined.hub, requests, wishes, CLOCK)
    for site in ("east", "west"):
        take_in(made.home(site), read_offer(made.home(site), done.invitations[site], CLOCK), CLOCK)
        approve_study(made.home(site), "signed", ADA, CLOCK)
        approve_software(made.home(site), BO, CLOCK)
    return TinyStudy(made.run, made.task, done.study.contract)


@pytest.fixture
def signed(signed_template: TinyStudy, tmp_path: Path) -> TinyStudy:
    run = Path(shutil.copytree(signed_template.run, tmp_path / "run"))
    return TinyStudy(run, signed_template.task, signed_template.contract)


def asked(study: TinyStudy, site: str = "east", phase: str = "train", days: float = 0) -> Reply:
    """Let a hospital's program, no simulation's, answer some days from now."""
    program = Site(SiteRuntime(study.home(site)), Later(days))
    return program.answer(study.ask(phase, model_digest=digest(study.model)), study.model)


def test_an_approved_study_trains_and_scores(signed: TinyStudy) -> None:
    assert asked(signed).outcome == "done"
    assert asked(signed, phase="evaluate").outcome == "done"


def test_a_site_that_joined_to_score_is_never_trained_on(signed: TinyStudy) -> None:
    reply = asked(signed, "west")
    assert (reply.outcome, reply.reason_code, reply.update) == ("refused", "declined", {})
    assert asked(signed, "west", "evaluate").outcome == "done"
    lines = (signed.home("west") / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["stream"] for line in lines] == ["audit"]


def no_approval(home: Path) -> None:
    (study_folder(home, "signed") / "approval.json").unlink()


def another_contract(home: Path) -> None:
    path = study_folder(home, "signed") / "contract.json"
    path.write_text(path.read_text().replace("2099-12-31", "2199-12-31"))


def no_software(home: Path) -> None:
    text = (home / "site.toml").read_text()
    (home / "site.toml").write_text(text.replace(software.app_digest(), "c" * 64))


def withdrawn(home: Path) -> None:
    from site_client.settings_edit import put_values

    put_values(home, "approval", {"studies": []})


@pytest.mark.parametrize(
    ("spoil", "wire", "sentence"),
    [
        (no_approval, ("refused", "declined"), "nobody approved 'signed'"),
        (another_contract, ("refused", "contract-changed"), "is not what was approved"),
        (no_software, ("refused", "declined"), "is not in [approval] software"),
        (withdrawn, ("refused", "declined"), "is not in [approval] studies"),
    ],
)
def test_what_was_not_approved_or_no_longer_is_answered_by_nobody(
    signed: TinyStudy, spoil: Callable[[Path], None], wire: tuple[str, str], sentence: str
) -> None:
    spoil(signed.home("east"))
    reply = asked(signed)
    assert (reply.outcome, reply.reason_code) == wire
    assert sentence in audit.read(signed.home("east"))[-1]["sentence"]
    assert (signed.home("east") / "ledger.jsonl").read_text() == ""  # nothing was charged


def test_the_last_day_counts_and_from_the_next_on_the_site_abstains(signed: TinyStudy) -> None:
    path = study_folder(signed.home("east"), "signed") / "contract.json"
    last = CLOCK.now().date().isoformat()
    path.write_text(path.read_text().replace("2099-12-31", last))
    assert asked(signed).reason_code == "contract-changed"  # not yet expired: the next check
    reply = asked(signed, days=1)
    assert (reply.outcome, reply.reason_code) == ("abstained", "declined")
    assert f"ended on {last}" in audit.read(signed.home("east"))[-1]["sentence"]
