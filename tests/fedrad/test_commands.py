from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

import aggregator.cli
import simulations.cli
import site_client.cli
from fedrad.commands import AsJson, Program, emit
from fedrad.errors import BudgetExceededError, DamagedStateError


def program(error: BaseException | None = None) -> Program:
    app = Program(help="A program.")

    @app.command()
    def work(as_json: AsJson = False) -> None:
        """Do the work."""
        if error is not None:
            raise error
        emit(as_json, {"done": 1}, "done")

    return app


def code_of(app: Program, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (BudgetExceededError("north", 3.2, 3.0), 4),
        (DamagedStateError("a file"), 5),
        (KeyboardInterrupt(), 130),
        (ConnectionRefusedError(111, "refused"), 3),
        (OSError(28, "No space left on device", "/disk/file"), 1),
        (ZeroDivisionError("a name"), 1),
    ],
)
def test_every_end_has_its_exit_code(error: BaseException | None, code: int) -> None:
    assert code_of(program(error), "work") == code


@pytest.mark.parametrize("words", [("wrok",), ("work", "--no-such"), ("work", "more")])
def test_wrong_use_is_2(words: tuple[str, ...]) -> None:
    assert code_of(program(), *words) == 2


def test_an_error_is_a_sentence_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code_of(program(OSError(28, "No space left on device", "/disk/file")), "work")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: /disk/file: No space left on device\n"


def test_an_unexpected_error_keeps_its_values_to_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its text could hold a value from a file of the hospital."""
    code_of(program(KeyError("Doe^Jane")), "work")
    printed = capsys.readouterr().err
    assert "Doe" not in printed
    assert "--debug" in printed


@pytest.mark.parametrize("words", [("--debug", "work"), ("work", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(words: tuple[str, ...]) -> None:
    with pytest.raises(ZeroDivisionError, match="a name"):
        program(ZeroDivisionError("a name"))(list(words))


def test_json_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    code_of(program(), "work", "--json")
    assert json.loads(capsys.readouterr().out) == {"done": 1}


def lines_of(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command of a program, those of groups too."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from lines_of(below, *words, name)


@pytest.mark.parametrize("app", [aggregator.cli.app, site_client.cli.app, simulations.cli.app])
def test_the_help_of_every_command_has_its_brackets_and_nothing_escaped(
    app: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ""
    for words in lines_of(typer.main.get_command(app)):
        assert code_of(app, *words, "--help") == 0
        said += capsys.readouterr().out
    assert "\\" not in said
    assert "[required]" in said
    assert said.count("Usage: ") > 2


def test_ranges_defaults_and_variables_are_in_plain_brackets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code_of(simulations.cli.app, "run", "--help")
    assert "x>=1]" in capsys.readouterr().out
    code_of(site_client.cli.app, "plan", "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "The site's folder. [env var: FEDRAD_HOME; required]" in said
    assert "[default: 0.85]" in said


@pytest.mark.parametrize(
    ("name", "begun", "wanted"),
    [("fedrad-site", "predi", "predict"), ("fedrad-aggregator", "expo", "export")],
)
def test_the_shell_completes_commands(name: str, begun: str, wanted: str) -> None:
    words = {
        f"_{name.upper().replace('-', '_')}_COMPLETE": "complete_bash",
        "COMP_WORDS": f"{name} {begun}",
        "COMP_CWORD": "1",
    }
    said = subprocess.run(
        [Path(sys.prefix, "bin", name)], env=os.environ | words, check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    assert said.stdout.split() == [wanted]


@pytest.mark.parametrize("program", ["site_client.cli", "aggregator.cli"])
def test_help_loads_nothing_heavy(program: str) -> None:
    """What makes --help slow is what it imports; a time is never asserted."""
    code = f"import sys, {program}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(said.stdout.split())
    assert not loaded & {"torch", "pandas", "numpy", "flwr", "monai", "sqlalchemy", "pydicom"}
