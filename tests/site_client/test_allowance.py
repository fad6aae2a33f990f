"""What a site is told that it would allow is what its guard then lets through."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from tiny_study import tiny_task

from fedrad.clock import SystemClock
from fedrad.errors import BudgetExceededError
from fedrad.planning import noise
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Charge
from fedrad.task import Task, task_hash
from site_client import guard
from site_client.allowance import Allowance, as_lines, read_allowance
from site_client.home import make_home
from site_client.journal import FILE, Journal
from site_client.settings import SiteSettings, read_site
from site_client.study import CHARGED

AGREED = 40
TASK = tiny_task(
    "privacy.delta=1e-5",
    "federation.rounds=6",
    "privacy.audit_releases=6",
    "evaluation.every_rounds=1",
)


@pytest.fixture
def home(tmp_path: Path, site_toml: str) -> Path:
    make_home(tmp_path / "home", site_toml, split_key=b"k" * 32)
    return tmp_path / "home"


def limited(home: Path, **limits: object) -> SiteSettings:
    """Change ``[privacy]`` of ``site.toml``."""
    table = tomllib.loads((home / "site.toml").read_text())
    table["privacy"] |= limits
    make_home(home, tomli_w.dumps(table))
    return read_site(home)


def allowed(home: Path, task: Task = TASK, **limits: object) -> Allowance:
    return read_allowance(home, limited(home, **limits), task, agreed=AGREED)


def a_round(number: int, task: Task = TASK) -> Charge:
    sigma, steps = noise.train_sigma(task, AGREED), task.training.steps
    q = noise.sampling_rate(task, AGREED)
    return Charge(
        reservation=f"{number:064d}",
        stream="train",
        task_hash=task_hash(task),
        event=Event(mechanism="subsampled-gaussian", sigma=sigma, q=q, steps=steps),
        patients_agreed=AGREED,
    )


def test_a_site_that_allows_everything_says_so_and_what_is_missing_is_approval(home: Path) -> None:
    found = allowed(home)
    assert (found.rounds_allowed, found.rounds_wanted, found.releases_allowed) == (6, 6, 6)
    assert found.enough
    assert not found.approved
    assert list(as_lines(found)) == [
        "site.toml allows epsilon 8 at delta 0.0001: 6 of 6 rounds, 6 of 6 releases.",
        "  not approved yet: `fedrad-site task` prints the line for [approval] in site.toml",
    ]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"epsilon_limit": 0.3},
            "over its limit of 0.30; ask for fewer steps or more noise (epsilon_limit at delta",
        ),
        ({"per_task": {"tiny": 0.3}}, "more noise (per_task.tiny at delta 0.0001;"),
        ({"min_patients": 99}, "min_patients is 99; add cases or lower it in site.toml"),
        ({"max_rounds": 5}, "leaves 5 of the 6 rounds, spare ones included; ask for fewer or"),
        ({"max_steps": 1}, "2 steps in a round are over max_steps 1; ask for fewer or raise it"),
        ({"min_noise": 2.0}, "noise multiplier 1.5 is under min_noise 2; ask for more noise or"),
        ({"delta_limit": 1e-6}, "delta 1e-05 is over delta_limit 1e-06; ask for a smaller delta"),
    ],
)
def test_each_limit_of_the_site_is_a_refusal_with_a_way_out(
    limits: dict[str, object], said: str, home: Path
) -> None:
    found = allowed(home, **limits)
    assert not found.enough
    assert said in " ".join(found.refusals)
    assert all(f"  refused: {refusal}" in as_lines(found) for refusal in found.refusals)


def test_as_many_rounds_are_promised_as_the_guard_then_lets_through(home: Path) -> None:
    found = allowed(home, epsilon_limit=2.0)
    settings, book = read_site(home), Journal(home, SystemClock())
    assert 0 < found.rounds_allowed < found.rounds_wanted
    assert f"epsilon lasts for {found.rounds_allowed} of the 6 rounds" in " ".join(found.refusals)
    assert any(refusal.startswith("the first release: ") for refusal in found.refusals)
    for number in range(found.rounds_allowed):
        ask = guard.Ask(task=TASK, charge=a_round(number), simulated=False)
        guard.check_round(settings, ask, book.lines())
        book.reserve(ask.charge)
    more = guard.Ask(task=TASK, charge=a_round(99), simulated=False)
    with pytest.raises(BudgetExceededError):
        guard.check_round(settings, more, book.lines())


def test_at_the_noise_that_fits_every_round_is_allowed_and_below_it_not(home: Path) -> None:
    fits = allowed(home, epsilon_limit=1.0).noise_that_fits
    assert fits is not None

    def with_noise(sigma: float) -> Allowance:
        task = replace(TASK, privacy=replace(TASK.privacy, noise_multiplier=sigma))
        return allowed(home, task, epsilon_limit=1.0)

    assert with_noise(fits).rounds_allowed == 6
    assert with_noise(fits).noise_that_fits is None
    assert with_noise(0.8 * fits).rounds_allowed < 6


def test_the_noise_that_fits_keeps_the_tasks_own_epsilon_and_min_noise_too(home: Path) -> None:
    low = replace(TASK, privacy=replace(TASK.privacy, epsilon=1.0))
    assert allowed(home, low).noise_that_fits == allowed(home, epsilon_limit=1.0).noise_that_fits
    assert allowed(home, low, min_noise=30.0).noise_that_fits == 30.0


def test_what_was_spent_before_is_counted(home: Path) -> None:
    before = allowed(home, epsilon_limit=2.0)
    other = replace(TASK, task=replace(TASK.task, name="other"))
    Journal(home, SystemClock()).reserve(a_round(0, other))
    table = {"dealt": "?", "tasks": {task_hash(other): "other"}, "plans": {}}
    (home / CHARGED).write_text(json.dumps(table))
    after = allowed(home, epsilon_limit=2.0)
    assert after.rounds_allowed < before.rounds_allowed
    assert after.noise_that_fits is None
    assert "is not that of the first charge" in after.refusals[0]


def test_rounds_of_the_same_task_that_are_charged_use_up_max_rounds(home: Path) -> None:
    Journal(home, SystemClock()).reserve(a_round(0))
    found = allowed(home, max_rounds=4)
    assert "max_rounds 4 in site.toml leaves 3 of the 6 rounds" in " ".join(found.refusals)


def test_releases_that_do_not_fit_are_refused_apart_from_rounds(home: Path) -> None:
    task = replace(TASK, privacy=replace(TASK.privacy, noise_multiplier=20.0))
    found = allowed(home, task, epsilon_limit=4.0)
    assert found.rounds_allowed == 6
    assert 0 < found.releases_allowed < 6
    (refusal,) = found.refusals
    assert refusal.startswith(f"epsilon lasts for {found.releases_allowed} of the 6 releases; ask")


def test_nothing_is_written(home: Path) -> None:
    settings = limited(home, epsilon_limit=2.0)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    read_allowance(home, settings, TASK, agreed=AGREED)
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    after.pop(home / FILE, None)
    assert {path: text for path, text in after.items() if path in before} == before
