"""A hospital's noise: nobody can choose it, nothing keeps it, and the ledger is charged for it.

Where the operating system's entropy is drawn, sound code fails a comparison about once in a
million runs.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message
from scipy.stats import chi2
from tiny_study import SEED, TinyStudy, copy_study

from fedrad import flower
from fedrad.errors import SettingsError
from fedrad.parameters import Parameters
from fedrad.privacy.ledger import Line, parse_line, spent
from fedrad.protocol.codec import decode_reply, encode_arrays, encode_request
from fedrad.protocol.messages import Reply
from simulations.worker import Desk
from site_client import round as site_round
from site_client.app import client_app
from site_client.round import SiteRuntime
from site_client.settings import read_site
from site_client.training import private
from site_client.training.loop import StepPlan, Trained
from site_client.training.private import ROUNDING_MARGIN

LOUD = (  # much noise, everybody in every step
    "privacy.noise_multiplier=50.0",
    "training.expected_batch_patients=20",
    "federation.rounds=3",
)
FALSE_ALARM = 1e-6


@pytest.fixture
def loud(hospitals: Path, tmp_path: Path) -> TinyStudy:
    """A study whose updates are nearly noise alone."""
    return copy_study(hospitals, tmp_path / "loud", *LOUD)


def lines(study: TinyStudy) -> list[Line]:
    return [parse_line(text) for text in (study.home() / "ledger.jsonl").read_text().splitlines()]


def flat(update: Parameters) -> np.ndarray:
    return np.concatenate([tensor.ravel().astype(np.float64) for tensor in update.values()])


def alike(left: Reply, right: Reply) -> float:
    """The correlation of two updates in units of its deviation if they are independent."""
    one, other = flat(left.update), flat(right.update)
    return abs(float(np.corrcoef(one, other)[0, 1])) * np.sqrt(one.size)


def through_the_app(study: TinyStudy, home: Path, **more: object) -> Reply:
    """Ask a hospital's app, with ``more`` among the message's keys."""
    request = study.ask()
    content = encode_request(request, encode_arrays(study.model))
    for name, value in more.items():
        content["fedrad"][name] = value
    flower.begin_run(7)
    message = Message(content, 1001, request.phase)
    flower.stamp_message(message, "m1")
    desk = Desk(client_app(lambda _: SiteRuntime(home)), ["east"])
    return decode_reply(flower.message_from_bytes(desk.answer(0, flower.message_to_bytes(message))))


def test_the_same_message_to_the_same_hospital_is_answered_with_other_noise(
    loud: TinyStudy, tmp_path: Path
) -> None:
    """Every setting and every byte of the message is the same, so none of them is the key."""
    twin = tmp_path / "twin"
    shutil.copytree(loud.home().parent, twin)
    asked = {"simulation_seed": SEED, "seed": 1, "noise_key": "00" * 32}
    replies = [through_the_app(loud, home, **asked) for home in (loud.home(), twin / "home")]
    assert {reply.outcome for reply in replies} == {"done"}
    assert alike(*replies) < 5
    simulated = [
        replace_home(loud, tmp_path / name).answer(loud.ask(), loud.model) for name in "ab"
    ]
    assert alike(*simulated) > 40  # what the same key looks like


def replace_home(study: TinyStudy, copy: Path) -> site_round.Site:
    """A simulation's site on a copy of a home that has not answered yet."""
    shutil.copytree(study.home("north").parent, copy)
    settings = copy / "home" / "site.toml"
    settings.write_text(settings.read_text().replace('name = "north"', 'name = "east"'))
    return site_round.Site(SiteRuntime(copy / "home", SEED))


@pytest.mark.parametrize(
    "line", ["simulation_seed = 3", 'noise_key = "00"', 'key = "00"', "seed = 3"]
)
def test_no_setting_of_a_hospital_is_a_key(loud: TinyStudy, line: str) -> None:
    path = loud.home() / "site.toml"
    path.write_text(path.read_text().replace("[privacy]", f"[privacy]\n{line}"))
    with pytest.raises(SettingsError, match=line.split(maxsplit=1)[0]):
        read_site(loud.home())


def planned(monkeypatch: pytest.MonkeyPatch) -> list[StepPlan]:
    """Note the plan of every round that is trained."""
    plans: list[StepPlan] = []
    real = site_round.train_round

    def noting(*given: object, plan: StepPlan, **named: object) -> Trained:
        plans.append(plan)
        return real(*given, plan=plan, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(site_round, "train_round", noting)
    return plans


def test_draws_and_noise_come_from_two_secret_sources_that_nobody_seeded(
    loud: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is drawn must be as hard to guess as the noise: the accounting counts on it."""
    plans = planned(monkeypatch)
    assert loud.site(seed=None).answer(loud.ask(), loud.model).outcome == "done"
    (plan,) = plans
    assert plan.noise is not None
    sources = [plan.batches.bit_generator, plan.noise.bit_generator]
    assert [type(source).__name__ for source in sources] == ["ChaCha", "ChaCha"]
    assert [source.state["state"]["rounds"] for source in sources] == [20, 20]
    keys = [source.state["state"]["keysetup"].tobytes() for source in sources]
    assert keys[0] != keys[1]


def keys_of(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note every key: what the system gives, and what each step takes from it."""
    keys: list[bytes] = []
    system, normals = os.urandom, private.Normals

    def urandom(count: int) -> bytes:
        drawn = system(count)
        if count == 32:
            keys.append(drawn)
        return drawn

    class Noting(normals):  # type: ignore[misc, valid-type]
        def __init__(self, key: bytes, **named: int) -> None:
            keys.append(key)
            super().__init__(key, **named)

    monkeypatch.setattr(os, "urandom", urandom)
    monkeypatch.setattr(private, "Normals", Noting)
    return keys


def places(folder: Path, keys: list[bytes]) -> list[str]:
    """Return the files in which a key stands, in any of the usual spellings."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for key in keys:
            numbers = (int.from_bytes(key, order) for order in ("little", "big"))
            spellings = [key, key[::-1], key.hex().encode(), base64.b64encode(key)]
            spellings += [str(number).encode() for number in numbers]
            if any(spelling in content for spelling in spellings):
                found.append(path.name)
    return found


def test_no_key_of_noise_or_draws_is_in_the_home_after_a_round(
    loud: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_of(monkeypatch)
    for phase in ("train", "evaluate"):
        assert loud.site(seed=None).answer(loud.ask(phase), loud.model).outcome == "done"
    assert len(set(keys)) == len(keys) >= 3 + loud.task.training.steps
    assert places(loud.home(), keys) == []
    (loud.home() / "logs.txt").write_text(f"noise {keys[-1].hex()}")
    assert places(loud.home(), keys) == ["logs.txt"]


def test_a_site_that_died_before_its_reply_was_kept_draws_fresh_noise_under_a_new_reservation(
    loud: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt runs in a process that dies right after training."""
    dead = tmp_path / "dead.npy"
    if not (child := os.fork()):
        monkeypatch.setattr(site_round, "train_round", dying_after(site_round.train_round, dead))
        loud.site(seed=None).answer(loud.ask(), loud.model)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    reply = loud.site(seed=None).answer(loud.ask(), loud.model)
    lost, fresh = np.load(dead), flat(reply.update)
    assert abs(np.corrcoef(lost, fresh)[0, 1]) * np.sqrt(lost.size) < 5
    attempts = [(line.kind, line.reservation.partition("#")[2]) for line in lines(loud)]
    assert attempts == [("reserve", ""), ("reserve", "2"), ("commit", "2")]
    assert sum(event.steps for event in spent(lines(loud))["train"]) == 4


def dying_after(train: Callable[..., Trained], path: Path) -> Callable[..., Trained]:
    """Train, show the update to the test, and die as if the power went."""

    def die(*given: object, **named: object) -> Trained:
        np.save(path, flat(train(*given, **named).update))
        os._exit(9)

    return die


def audit_ledger(updates: list[Parameters], charged: list[Line], study: TinyStudy) -> list[str]:
    """Return how the noise in all updates differs from what the ledger says; false alarm 1e-6.

    An update is the learning rate times the mean of noised sums, so the squares of all numbers
    add up to those of the charged deviations, step by step.
    """
    scale = study.task.training.optimiser.rate * study.task.privacy.max_grad_norm / 20
    size = flat(updates[0]).size
    events = spent(charged)["train"]
    expected = sum(event.steps * event.sigma**2 for event in events) * size
    count = size * sum(event.steps for event in events)
    found = sum(float(np.square(flat(update) / scale).sum()) for update in updates)
    energy = found / expected * count
    if chi2.cdf(energy, count) < FALSE_ALARM / 2:
        return [f"less noise than charged: {np.sqrt(found / expected):.2f} of it"]
    if chi2.sf(energy / (1 + ROUNDING_MARGIN) ** 2, count) < FALSE_ALARM / 2:
        return [f"more was released than charged: {np.sqrt(found / expected):.2f} of it"]
    return []


def test_three_rounds_release_what_the_ledger_is_charged_for(loud: TinyStudy) -> None:
    """Planted: two of the rounds forgotten, and twice the noise claimed."""
    site = loud.site()  # seeded, so that the test never accuses by chance
    replies = [site.answer(loud.ask(round_number=n), loud.model) for n in (1, 2, 3)]
    updates, charged = [reply.update for reply in replies], lines(loud)
    assert audit_ledger(updates, charged, loud) == []
    (forgotten,) = audit_ledger(updates, charged[:2], loud)
    assert forgotten.startswith("more was released than charged: 1.7")
    doubled = [replace(line, sigma=2 * line.sigma) for line in charged]
    (too_little,) = audit_ledger(updates, doubled, loud)
    assert too_little.startswith("less noise than charged: 0.5")
