"""``fedrad-sim`` as a person runs it: real processes, real interruptions, a real full disk."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

TINY = (
    "hospitals=[" + ",".join(f"{{name='{name}',patients=30,size=64}}" for name in "abc") + "]",
    "limits={a={min_patients=1},b={min_patients=1},c={min_patients=1}}",
    "recipe.size=[32,32]",
    "training.expected_batch_patients=8",
    "privacy.noise_multiplier=3.0",
)


def program(name: str) -> list[str]:
    """Return the command as its entry point runs it."""
    module = {"fedrad-sim": "simulations.cli", "fedrad-aggregator": "aggregator.cli"}[name]
    return [sys.executable, "-c", f"from {module} import app; app()"]


def options(out: Path, *more: str) -> list[str]:
    settings = [word for setting in TINY for word in ("--set", setting)]
    return ["run", "four_hospitals", "--out", str(out), "--no-baselines", *settings, *more]


def run(name: str, words: Sequence[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(name), *words], capture_output=True, text=True, timeout=300, check=False, **kwargs
    )  # type: ignore[call-overload]


@pytest.mark.parametrize("module", ["simulations.cli", "site_client.cli", "aggregator.cli"])
def test_importing_a_command_loads_nothing_heavy(module: str) -> None:
    """So that ``--help`` answers at once."""
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "flwr", "pandas", "monai", "pydicom", "scipy", "ray", "numpy"}
    assert heavy.isdisjoint(done.stdout.split())


def test_list_names_every_scenario_as_text_and_as_json() -> None:
    text, table = run("fedrad-sim", ["list"]), run("fedrad-sim", ["list", "--json"])
    assert text.returncode == table.returncode == 0
    assert set(json.loads(table.stdout)) == {line.split()[0] for line in text.stdout.splitlines()}
    assert "four_hospitals" in json.loads(table.stdout)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "nowhere"], 2, "it must be one of"),
        (["run", "four_hospitals", "--set", "nothing=1"], 2, "'nothing' is not one of"),
        (["run", "four_hospitals", "--rounds", "0"], 2, "rounds must be 1 or more"),
        (["run", "four_hospitals", "--seeds", "0"], 2, "seeds"),
        (["run", "four_hospitals", "--engine", "cloud"], 2, "engine"),
        (["run", "four_hospitals", "--data", "x"], 2, "leave --data out"),
        (["pretrain", "--task", "no.toml", "--out", "w.safetensors"], 2, "does not exist"),
        (["leaks", "nowhere"], 1, "no simulated run in which a message left"),
    ],
)
def test_wrong_use_is_one_sentence_and_an_exit_code(
    words: list[str], code: int, sentence: str, tmp_path: Path
) -> None:
    done = run("fedrad-sim", words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_hospitals_with_one_name_are_refused(tmp_path: Path) -> None:
    hospitals = "hospitals=[{name='a',patients=9},{name='a',patients=9}]"
    done = run("fedrad-sim", options(tmp_path / "out", "--set", hospitals))
    assert done.returncode == 2
    assert "two sites are called 'a'" in done.stderr


def test_a_folder_of_other_things_is_refused_even_with_fresh(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run("fedrad-sim", options(tmp_path, "--fresh"))
    assert done.returncode == 1
    assert "holds something else than a run" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_leaks_says_no_where_an_identifier_is_in_the_bytes(tmp_path: Path) -> None:
    from simulations.planted import Planted, write_planted
    from simulations.wire import Wiretap

    rows = [Planted("east", 0, "family-name", "Quelbornmora")]
    write_planted(tmp_path / "sites" / "east" / "planted.csv", rows)
    Wiretap(tmp_path, "east", keep=True).record("0001-train", b"to Quelbornmora with love")
    done = run("fedrad-sim", ["leaks", str(tmp_path), "--json"])
    assert done.returncode == 1
    assert json.loads(done.stdout)["east"]["found"] == 1


def heed_interrupts() -> None:
    """Let Ctrl-C reach a child even where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


MANY = ("--rounds", "200", "--set", "privacy.audit_releases=50")


def started(out: Path, *more: str) -> subprocess.Popen[str]:
    """Start a run, of many rounds unless told otherwise, and wait for its second round."""
    words = options(out, *(more or MANY))
    process = subprocess.Popen(
        [*program("fedrad-sim"), *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    end = time.monotonic() + 200
    while not (out / "rounds" / "0002").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end, "the run did not reach round 2"
        time.sleep(0.05)
    return process


@pytest.mark.long
def test_ctrl_c_in_the_middle_of_a_round_leaves_everything_readable(tmp_path: Path) -> None:
    process = started(tmp_path / "out")
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells the whole group
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; what was finished stays readable" in errors
    assert "Traceback" not in errors
    with sqlite3.connect(tmp_path / "out" / "run.sqlite") as database:
        (status,) = database.execute("select status from runs").fetchone()
        rounds = database.execute("select count(*) from rounds where state='committed'").fetchone()
    assert status == "interrupted"
    assert rounds[0] >= 1
    done = run("fedrad-aggregator", ["report", str(tmp_path / "out")])
    assert done.returncode == 0, done.stderr
    assert "interrupted" in (tmp_path / "out" / "report.html").read_text()


def models(out: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(out / "run.sqlite") as database:
        return database.execute("select round, model_digest from rounds order by round").fetchall()


FEW = ("--rounds", "3")


def killed_and_taken_up(out: Path) -> list[tuple[int, str]]:
    """Let the command kill its coordinator and sites in a round and go on; return the models."""
    done = run("fedrad-sim", options(out, *FEW, "--kill-in-round", "2"))
    assert done.returncode == 0, done.stderr
    assert "killed in the middle of round 2; the same command goes on" in done.stderr
    assert "The coordinator died in round 2 and went on" in done.stdout
    return models(out)


@pytest.mark.long
def test_a_run_killed_in_the_middle_of_a_round_goes_on(tmp_path: Path) -> None:
    found = killed_and_taken_up(tmp_path / "out")
    assert len([digest for _, digest in found if digest]) == 3


@pytest.mark.long
def test_a_run_that_went_on_ends_with_the_same_bits_and_is_not_run_again(tmp_path: Path) -> None:
    whole = run("fedrad-sim", options(tmp_path / "whole", *FEW))
    assert whole.returncode == 0, whole.stderr
    assert killed_and_taken_up(tmp_path / "out") == models(tmp_path / "whole")
    finished = run("fedrad-sim", options(tmp_path / "out", *FEW))
    assert finished.returncode == 0, finished.stderr
    assert "federated rounds" not in finished.stderr


@pytest.mark.long
def test_files_that_cannot_grow_end_the_run_with_a_clear_word(tmp_path: Path) -> None:
    """A limit on the size of a file stands in for a disk that fills."""

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    done = run("fedrad-sim", options(tmp_path / "out", *MANY), preexec_fn=small_files)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "the run cannot write its files" in done.stderr
    assert "free some space there" in done.stderr
    with sqlite3.connect(tmp_path / "out" / "run.sqlite") as database:
        rounds = database.execute("select count(*) from rounds where state='committed'").fetchone()
    assert rounds[0] >= 1
    shown = run("fedrad-aggregator", ["report", str(tmp_path / "out")])
    assert shown.returncode == 0, shown.stderr
