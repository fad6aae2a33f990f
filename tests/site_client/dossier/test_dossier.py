"""The dossier says what is: every field, every file, every number; and it fits on eight pages."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import ArrayRecord
from joined import CLOCK, Joined, Person, open_hub
from tiny_study import tiny_task

from fedrad.contract import Contract, SiteTerms
from fedrad.errors import EnrolmentError
from fedrad.models.networks import build
from fedrad.planning import noise
from fedrad.privacy.accounting import Event, best_attack
from fedrad.protocol.codec import reply_records
from fedrad.task import task_hash
from site_client import outbox
from site_client.approvals import approve_study
from site_client.cli import app
from site_client.dossier import files
from site_client.dossier.flow import Way, picture
from site_client.dossier.packages import packages
from site_client.dossier.page import write_dossier
from site_client.dossier.promise import promise
from site_client.dossier.wire import MEANINGS, examples
from site_client.settings import read_site
from site_client.settings_edit import put_values


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Joined:
    """Make a hospital that took in an invitation and approved nothing yet."""
    found = open_hub(tmp_path_factory.mktemp("dossier"))
    found.enrol(ethics="EK 2026/117", recipients=("the sites", "<b>Acme & Co</b>"))
    found.accept("east")
    return found


@pytest.fixture(scope="module")
def page(joined: Joined) -> str:
    return write_dossier(joined.home("east"), "demo", None, CLOCK).read_text(encoding="utf-8")


def contract(kind: str = "train") -> Contract:
    task = tiny_task()
    terms = SiteTerms(
        label="A",
        patients_agreed=40,
        train_sigma=noise.train_sigma(task, 40) if kind == "train" else 0.0,
        audit_sigma=noise.audit_sigma(task),
        kind=kind,
    )
    return Contract(schema=2, study="demo", task_hash=task_hash(task), sites={"east": terms})


def test_it_names_the_study_the_one_destination_and_both_digests(page: str, joined: Joined) -> None:
    request = joined.invitation("east").read_text()
    [digest] = re.findall(r'"study_digest":"([0-9a-f]{64})"', request)
    assert digest in page
    assert "ALLOW out: this machine → localhost:8443 (TCP), TLS not inspected" in page
    assert "ALLOW in: nothing" in page
    assert "EK 2026/117" in page
    assert "2099-12-31" in page
    assert len(set(re.findall(r"hospital-[ABC]", page))) == 2
    assert "north" not in page


def test_what_an_invitation_says_is_shown_and_never_obeyed(page: str) -> None:
    assert "&lt;b&gt;Acme &amp; Co&lt;/b&gt;" in page
    assert "<b>Acme" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)\s*=|url\(|https?://""", page)


def test_a_way_through_a_proxy_is_the_rule_then(joined: Joined, tmp_path: Path) -> None:
    home = tmp_path / "east"
    shutil.copytree(joined.home("east"), home)
    (home / "keys" / "proxy.txt").write_text("s3cret-of-the-proxy\n")
    (home / "keys" / "proxy.txt").chmod(0o600)
    values = {"address": "proxy:3128", "user": "site", "password_file": "keys/proxy.txt"}
    put_values(home, "proxy", values)
    text = write_dossier(home, "demo", tmp_path / "out.html", CLOCK).read_text(encoding="utf-8")
    assert "this machine → proxy proxy:3128 (TCP), there CONNECT localhost:8443" in text
    assert "s3cret" not in text
    for path in (home / "keys").glob("*.key"):
        content = path.read_bytes()
        lines = content.decode("latin-1").splitlines()[1:-1]  # of a key in PEM; else chance
        for part in [content.hex(), *(line for line in lines if len(line) >= 24)]:
            assert part[:24] not in text


def test_every_field_of_a_message_is_shown_with_its_meaning() -> None:
    found = examples(tiny_task(), contract(), "east", build(tiny_task(), seed=0))
    assert [one.title for one in found] == [
        "A question comes in", "An update goes out", "Figures go out",
    ]  # fmt: skip
    shown = {field.name for one in found for field in one.fields}
    assert set(MEANINGS) <= shown
    assert all(one.size > 500 for one in found)


def test_no_message_that_left_a_site_has_a_field_that_the_dossier_does_not_show(
    finished: Path,
) -> None:
    """The replies of a whole study that hospitals keep until they are acknowledged."""
    kept = list((finished / "sites").rglob("state/replies/*.json"))
    fields, arrays = set(), set()
    for path in kept:
        reply = outbox.kept(path.parents[2], path.stem)
        assert reply is not None
        for name, record in reply_records(reply).items():
            if isinstance(record, ArrayRecord):
                arrays |= {name} if record else set()
            else:
                fields |= {str(key) for key in record}
    assert len(kept) > 3
    assert {"reply_id", "events", "values"} <= fields <= set(MEANINGS)
    assert arrays <= {"arrays"}


def test_a_site_that_only_scores_sends_no_update() -> None:
    found = examples(tiny_task(), contract("evaluate"), "east", build(tiny_task(), seed=0))
    assert [one.title for one in found] == ["A question comes in", "Figures go out"]


def test_every_file_of_a_site_that_took_part_in_a_study_is_described(finished: Path) -> None:
    homes = [path.parent for path in (finished / "sites").rglob("site.toml")]
    assert len(homes) > 3
    there: set[str] = set()
    for home in homes:
        assert files.undescribed(home) == []
        there |= {one.kind.pattern for one in files.on_disk(home) if one.files}
    assert {"keys/split.key", "ledger.jsonl*", "cache/**", "state/replies/**"} <= there


def test_every_file_of_a_site_that_joined_is_described_and_a_strange_one_shows(
    joined: Joined, tmp_path: Path
) -> None:
    home = tmp_path / "east"
    shutil.copytree(joined.home("east"), home)
    approve_study(home, "demo", Person(name="Ada", role="PI"), CLOCK)
    assert files.undescribed(home) == []
    (home / "notes.txt").write_text("x")
    assert files.undescribed(home) == ["notes.txt"]
    text = write_dossier(home, "demo", tmp_path / "out.html", CLOCK).read_text(encoding="utf-8")
    assert "Not written by fedrad: notes.txt" in text


def test_permissions_are_those_on_disk(joined: Joined, tmp_path: Path) -> None:
    home = tmp_path / "east"
    shutil.copytree(joined.home("east"), home)
    (home / "keys" / "node.key").chmod(0o640)
    found = {one.kind.pattern: one.mode for one in files.on_disk(home)}
    assert (found["keys/node.key*"], found["keys/tls.key*"]) == ("640", "600")


def test_the_numbers_of_privacy_are_those_of_the_accountant(joined: Joined) -> None:
    """A second way: the events written out by hand, two rounds of two steps, two releases."""
    task, settings = tiny_task(), read_site(joined.home("east"))
    found = promise(task, contract(), settings)
    train, audit = found.rows
    terms = contract().sites["east"]
    q = min(1.0, task.training.expected_batch_patients / 40)
    steps = task.training.steps * (task.federation.rounds + task.federation.spare_rounds)
    by_hand = Event(mechanism="subsampled-gaussian", sigma=terms.train_sigma, q=q, steps=steps)
    assert (train.q, train.steps) == (q, steps)
    assert train.attack == -int(-100 * best_attack([by_hand]) // 1)
    assert found.epsilon == max(train.epsilon, audit.epsilon) <= task.privacy.epsilon
    assert found.attack == max(train.attack, audit.attack)


def test_a_study_without_privacy_says_so(joined: Joined) -> None:
    task, plain = tiny_task(), contract()
    terms = replace(plain.sites["east"], train_sigma=0.0, audit_sigma=0.0)
    found = promise(task, replace(plain, sites={"east": terms}), read_site(joined.home("east")))
    assert not found.private


def test_the_list_of_packages_is_what_is_installed() -> None:
    found = {one.name.lower(): one for one in packages()}
    assert {"fedrad", "flwr", "torch", "numpy", "pydicom", "cryptography"} <= set(found)
    assert "pytest" not in found
    assert found["pydicom"].licence.startswith("MIT")
    assert found["fedrad"].licence == "Apache-2.0"


def test_names_in_the_picture_are_text() -> None:
    way = Way(archive="<a>", site="a&b", proxy="p:1", coordinator="x", address="y", down="d", up=())
    found = picture(way)
    assert "&lt;a&gt;" in found
    assert "a&amp;b" in found
    assert "<a>" not in found


def test_a_study_that_was_never_accepted_has_no_dossier(joined: Joined) -> None:
    with pytest.raises(EnrolmentError, match="no invitation to 'other' was accepted here"):
        write_dossier(joined.home("east"), "other", None, CLOCK)


def test_the_command_says_where_it_is(joined: Joined, capsys: pytest.CaptureFixture[str]) -> None:
    out = joined.folder / "out.html"
    home = str(joined.home("east"))
    with pytest.raises(SystemExit) as ended:
        app(["dossier", "--home", home, "--study", "demo", "--out", str(out)])
    assert (ended.value.code, out.exists()) == (0, True)
    assert capsys.readouterr().out == f"written: {out}\n"


@pytest.mark.long
def test_it_fits_on_eight_printed_pages(joined: Joined, page: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or shutil.which("pdfinfo") is None:
        pytest.skip("no browser that prints, or no pdfinfo (Debian: chromium, poppler-utils)")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    pdf = tmp_path / "page.pdf"
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={pdf}"]
    line = [browser, *words, f"file://{tmp_path / 'page.html'}"]
    subprocess.run(line, capture_output=True, timeout=120, check=True)
    said = subprocess.run(["pdfinfo", str(pdf)], capture_output=True, text=True, check=True).stdout
    [pages] = re.findall(r"Pages:\s+(\d+)", said)
    assert 3 <= int(pages) <= 8
