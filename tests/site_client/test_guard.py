"""The hospital's word outranks the request, and what it spends never passes its limit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrad.clock import SystemClock
from fedrad.contract import SiteTerms
from fedrad.errors import BudgetExceededError, LostLinesError, NotReadyError, PrivacyError
from fedrad.privacy.accounting import (
    Event,
    epsilon,
    epsilon_of,
    merged,
    plan_sigma,
    site_epsilon,
)
from fedrad.privacy.ledger import Charge, spent
from fedrad.privacy.renyi import filtered_epsilon
from fedrad.task import Task, parse_task
from site_client.guard import (
    Ask,
    check_anchor,
    check_patients,
    check_round,
    room,
    steps_that_fit,
)
from site_client.journal import Journal
from site_client.settings import (
    Archive,
    Identity,
    PrivacyLimits,
    SiteSettings,
)

DELTA = 1e-4


def make_task(rounds: int = 60, **privacy: Any) -> Task:
    return parse_task(
        {
            "schema": 1,
            "task": {
                "name": "chests",
                "kind": "classification",
                "classes": ["normal", "ill"],
                "positive": "ill",
            },
            "data": {"modality": "DX", "dimensions": 2},
            "labels": {"source": "csv", "map": {"n": 0, "y": 1}},
            "recipe": {"size": [16, 16], "intensity": {"kind": "range", "constants": "radiograph"}},
            "model": {"name": "filter_bank_cnn"},
            "training": {"steps": 10, "expected_batch_patients": 12.0},
            "federation": {"rounds": rounds, "spare_rounds": 0},
            "privacy": {"enabled": True, "delta": DELTA, **privacy},
            "evaluation": {
                "metrics": ["auroc"],
                "edges": [0.0, 0.5, 1.0],
                "every_rounds": rounds // 2,
            },
            "analysis": {"primary": "auroc"},
        }
    )


def hospital(**privacy: Any) -> SiteSettings:
    limits = {
        "epsilon_limit": 3.0, "delta_limit": DELTA, "min_patients": 20, "max_rounds": 50,
        "max_steps": 30,
    }  # fmt: skip
    return SiteSettings(
        site=Identity(name="north"),
        archive=Archive(kind="folder", path=Path("archive")),
        privacy=PrivacyLimits(**(limits | privacy)),
    )


TASK, SHORT = make_task(), make_task(rounds=20)
TERMS = SiteTerms(label="A", patients_agreed=120, train_sigma=1.5, audit_sigma=2.0)


def train(reply: str = "a1", *, sigma: float = 1.5, steps: int = 10, **change: Any) -> Ask:
    event = Event(mechanism="subsampled-gaussian", sigma=sigma, q=0.1, steps=steps)
    charge = Charge(
        reservation=reply, stream="train", task_hash="t1", event=event, patients_agreed=120
    )
    return replace(Ask(task=TASK, charge=charge, simulated=False), **change)


def audit(reply: str, sigma: float = 2.0, **change: Any) -> Ask:
    ask = train(reply, **change)
    event = Event(mechanism="gaussian", sigma=sigma, q=1.0, steps=1)
    return replace(ask, charge=replace(ask.charge, stream="audit", event=event))


def exact(ask: Ask) -> Ask:
    event = Event(mechanism="exact", sigma=0.0, q=1.0, steps=1)
    return replace(ask, charge=replace(ask.charge, event=event))


def rounds_until_refused(site: SiteSettings, home: Path, ask: Callable[[int], Ask]) -> int:
    book = Journal(home, SystemClock())
    for number in range(60):
        asked = ask(number)
        try:
            check_round(site, asked, book.lines())
        except PrivacyError:
            return number
        book.reserve(asked.charge)
    return 60


def test_a_round_within_every_limit_is_accepted() -> None:
    check_round(hospital(), train(), [])


def test_rounds_go_on_until_one_would_pass_the_limit(tmp_path: Path) -> None:
    site = hospital()
    predicted = steps_that_fit(site, train(), []) // 10
    accepted = rounds_until_refused(site, tmp_path, lambda n: train(f"r{n}"))
    book = Journal(tmp_path, SystemClock())
    assert accepted == predicted > 1
    assert site_epsilon(spent(book.lines()), DELTA) <= 3.0
    with pytest.raises(BudgetExceededError, match=r"'north' declines.*limit of 3\.00") as e:
        check_round(site, train("more"), book.lines())
    event = replace(train().charge.event, steps=10 * (accepted + 1))
    assert e.value.after == pytest.approx(epsilon([event], DELTA))
    assert e.value.__notes__ == ["epsilon_limit at delta 0.0001; one contract, composed exactly"]
    assert "0 rounds of 10" in room(site, train("more"), book.lines())


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(1.0, 6.0), st.lists(st.sampled_from(["train", "audit"]), min_size=12))
def test_no_order_of_requests_passes_the_limit(
    tmp_path_factory: pytest.TempPathFactory, limit: float, streams: list[str]
) -> None:
    home, site = tmp_path_factory.mktemp("home"), hospital(epsilon_limit=limit)
    book = Journal(home, SystemClock())
    for number, stream in enumerate(streams):
        ask = (train if stream == "train" else audit)(f"r{number}")
        try:
            check_round(site, ask, book.lines())
        except BudgetExceededError:
            continue
        book.reserve(ask.charge)
    assert site_epsilon(spent(book.lines()), DELTA) <= limit


def test_streams_of_other_patients_do_not_use_up_each_other(tmp_path: Path) -> None:
    site, book = hospital(), Journal(tmp_path, SystemClock())
    while steps_that_fit(site, train("next"), book.lines()) >= 10:
        book.reserve(train(f"r{len(book.lines())}").charge)
    check_round(site, audit("a"), book.lines())


def test_a_task_has_its_own_limit_within_the_sites(tmp_path: Path) -> None:
    free, bound = hospital(), hospital(per_task={"chests": 1.5})
    more = rounds_until_refused(free, tmp_path, lambda n: train(f"r{n}"))
    (tmp_path / "bound").mkdir()
    assert 0 < rounds_until_refused(bound, tmp_path / "bound", lambda n: train(f"r{n}")) < more


def another(ask: Ask, **charge: Any) -> Ask:
    """Return the same request of another contract, after one of 200 steps."""
    charged = replace(ask.charge, task_hash="t2", **charge)
    return replace(ask, task=SHORT, charge=charged, charged={"t1": {"train": 200, "audit": 2}})


def test_a_task_may_not_pass_its_own_epsilon_however_its_noise_was_chosen(tmp_path: Path) -> None:
    """A noise multiplier that was set by hand was never planned for the epsilon beside it."""
    site, book = hospital(epsilon_limit=50.0), Journal(tmp_path, SystemClock())
    task = make_task(epsilon=1.0, noise_multiplier=1.5)
    accepted = rounds_until_refused(site, tmp_path, lambda n: train(f"r{n}", task=task))
    (tmp_path / "planned").mkdir()
    assert accepted == rounds_until_refused(
        hospital(epsilon_limit=1.0), tmp_path / "planned", lambda n: train(f"r{n}")
    )
    with pytest.raises(BudgetExceededError, match=r"limit of 1\.00") as error:
        check_round(site, train("more", task=task), book.lines())
    assert error.value.__notes__[0].startswith("the task's own at delta 0.0001")


def test_a_contract_planned_for_the_whole_limit_runs_to_its_last_round(tmp_path: Path) -> None:
    sigma = plan_sigma(epsilon=3.0, delta=DELTA, q=0.1, steps=200)
    task, audits = make_task(rounds=20, epsilon=3.0), plan_sigma(
        epsilon=3.0, delta=DELTA, q=1, steps=2
    )  # fmt: skip
    site, book = hospital(), Journal(tmp_path, SystemClock())
    accepted = rounds_until_refused(
        site, tmp_path, lambda n: train(f"r{n}", sigma=sigma, task=task)
    )
    assert accepted == 20
    for name in ("a1", "a2"):
        check_round(site, audit(name, audits, task=task), book.lines())
        book.release(audit(name, audits, task=task).charge)
    with pytest.raises(BudgetExceededError):
        check_round(site, audit("a3", audits, task=task), book.lines())


def test_a_second_contract_begins_only_where_the_first_left_room(tmp_path: Path) -> None:
    """The first may cost epsilon 4.2: under 3 nothing is left to others, under 6 enough is."""
    book, event = Journal(tmp_path, SystemClock()), replace(train().charge.event, sigma=3.0)
    book.reserve(train("a1", task=SHORT).charge)
    second = another(train("b1"), event=event)
    with pytest.raises(BudgetExceededError, match="epsilon to inf") as error:
        check_round(hospital(), second, book.lines())
    assert re.search(r"may cost epsilon 4\.\d\d and so all of it", error.value.__notes__[0])
    check_round(hospital(epsilon_limit=6.0), second, book.lines())
    check_round(hospital(), train("a2", task=SHORT), book.lines())
    check_round(hospital(), another(train("b1")), book.lines())  # equal noise and rate


def test_contracts_that_follow_one_another_stay_within_the_limit_by_the_filter(
    tmp_path: Path,
) -> None:
    site, book = hospital(epsilon_limit=6.0), Journal(tmp_path, SystemClock())
    book.reserve(train("a1", steps=30).charge)
    event = replace(train().charge.event, sigma=1.7)
    number = rounds_until_refused(site, tmp_path, lambda n: another(train(f"b{n}"), event=event))
    paid = merged(spent(book.lines())["train"])
    assert 10 < number < 50
    assert filtered_epsilon(paid, DELTA) <= 6
    assert 1.35 * epsilon_of(paid, DELTA) > 6
    assert steps_that_fit(site, another(train("b"), event=event), book.lines()) < 10


def test_what_touches_everybody_is_refused_where_any_stream_is_full(tmp_path: Path) -> None:
    book, site = Journal(tmp_path, SystemClock()), hospital(epsilon_limit=2.0)
    rounds_until_refused(site, tmp_path, lambda n: train(f"r{n}"))
    ask = audit("o1", 40.0)
    everybody = replace(ask, charge=replace(ask.charge, stream="other"))
    check_round(site, everybody, [])
    with pytest.raises(BudgetExceededError):
        check_round(site, everybody, book.lines())


def test_a_commit_below_the_reservation_gives_room_back(tmp_path: Path) -> None:
    site, book = hospital(), Journal(tmp_path, SystemClock())
    book.reserve(train("a1", steps=30).charge)
    before = steps_that_fit(site, train("a2"), book.lines())
    book.commit("a1", steps=5)
    assert steps_that_fit(site, train("a2"), book.lines()) == before + 25


@pytest.mark.parametrize(
    ("site", "ask", "text"),
    [
        (hospital(min_noise=1.6), train(), "noise multiplier 1.5 is under min_noise 1.6"),
        (hospital(), train(steps=31), "31 steps in a round are over max_steps 30"),
        (hospital(delta_limit=1e-5), train(), "delta 0.0001 is over delta_limit 1e-05"),
        (hospital(delta_limit=0.1), train(task=make_task(delta=0.05)), "delta 0.05 is not below"),
        (hospital(delta_limit=0.1), train(), "delta_limit 0.1 is not below 1 / 120"),
        (hospital(), exact(train()), "only a simulation may run it"),
        (hospital(), exact(audit("a1")), "only a simulation may run it"),
    ],
)
def test_what_the_hospital_did_not_agree_to_is_refused(
    site: SiteSettings, ask: Ask, text: str
) -> None:
    with pytest.raises(PrivacyError, match=text) as error:
        check_round(site, ask, [])
    assert not isinstance(error.value, BudgetExceededError | NotReadyError)


def test_more_rounds_than_allowed_are_refused_but_not_a_retry(tmp_path: Path) -> None:
    site, book = hospital(max_rounds=2), Journal(tmp_path, SystemClock())
    for name in ("a1", "a2"):
        book.reserve(train(name, steps=1).charge)
    check_round(site, train("a2", steps=1), book.lines())
    with pytest.raises(PrivacyError, match="2 rounds of this task are charged, max_rounds is 2"):
        check_round(site, train("a3", steps=1), book.lines())


def test_a_private_round_asks_for_agreed_patients_and_not_for_the_exact_number() -> None:
    with pytest.raises(NotReadyError, match="120 patients in train, min_patients is 121"):
        check_round(hospital(min_patients=121), train(), [])
    check_round(hospital(min_patients=121), audit("a1"), [])
    for ask in (train(), audit("a1")):
        check_patients(hospital(min_patients=121), ask, 0)


def test_an_exact_round_is_for_enough_patients_and_only_the_site_reads_how_many() -> None:
    with pytest.raises(NotReadyError, match="19 patients in train, min_patients is 20"):
        check_patients(hospital(), exact(train()), 19)
    check_patients(hospital(), exact(audit("a1")), 5)
    with pytest.raises(NotReadyError, match="0 patients in audit"):
        check_patients(hospital(), exact(audit("a1")), 0)


def test_a_revised_task_shares_the_allowance_of_its_name(tmp_path: Path) -> None:
    book, site = Journal(tmp_path, SystemClock()), hospital(max_rounds=2, per_task={"chests": 1.5})
    for name in ("a1", "a2"):
        book.reserve(train(name, steps=1).charge)
    asked = train("a3", steps=1)
    other = replace(asked, charge=replace(asked.charge, task_hash="t2"))
    check_round(site, other, book.lines())
    with pytest.raises(PrivacyError, match="2 rounds of this task are charged, max_rounds is 2"):
        check_round(site, replace(other, revisions=frozenset({"t1"})), book.lines())
    while steps_that_fit(site, asked, book.lines()) >= 10:
        book.reserve(train(f"b{len(book.lines())}").charge)
    revised = replace(other, revisions=frozenset({"t1"}))
    assert steps_that_fit(site, other, book.lines()) > 10
    assert steps_that_fit(site, revised, book.lines()) < 10


def test_a_ledger_without_the_line_that_the_aggregator_saw_may_not_be_spent_on(
    tmp_path: Path,
) -> None:
    book = Journal(tmp_path, SystemClock())
    check_anchor("", book.lines())
    first = book.reserve(train().charge)
    book.commit("a1", steps=10)
    check_anchor(first.hash, book.lines())
    with pytest.raises(LostLinesError, match=f"restore ledger.jsonl .* hash {first.hash}"):
        check_anchor(first.hash, [])


def test_a_simulation_may_run_what_is_not_private_beside_what_is(tmp_path: Path) -> None:
    book = Journal(tmp_path, SystemClock())
    free = replace(exact(audit("a1")), simulated=True)
    check_round(hospital(), free, book.lines())
    book.release(free.charge)
    check_round(hospital(), train("a2", simulated=True), book.lines())
    with pytest.raises(BudgetExceededError, match="epsilon to inf"):
        check_round(hospital(), audit("a3"), book.lines())
    assert steps_that_fit(hospital(), free, book.lines()) == 0


def test_a_charge_that_touches_everybody_counts_in_every_stream(tmp_path: Path) -> None:
    book, site = Journal(tmp_path, SystemClock()), hospital()
    before = steps_that_fit(site, train("a1"), book.lines())
    ask = audit("o1", 4.0)
    book.release(replace(ask.charge, stream="other"))
    assert 0 < steps_that_fit(site, train("a1"), book.lines()) < before
