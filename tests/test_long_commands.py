"""Every command that may take long says how long, can be quiet, and answers programs."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import typer

from aggregator.cli import app as aggregator
from fedrad import progress
from fedrad.commands import Program
from simulations.cli import app as simulations
from site_client.cli import app as site
from site_client.dataset import load_split

LONG = [
    *((site, name) for name in ("catalogue", "check", "fetch", "deidentify", "freeze", "predict")),
    *((aggregator, name) for name in ("run", "monitor", "model", "export", "track")),
    *((simulations, name) for name in ("run", "pretrain")),
]
ENDLESS = [(site, "start"), (aggregator, "start"), (site, "dashboard"), (aggregator, "dashboard")]


def options(program: Program, name: str) -> set[str]:
    """Return the options of a command."""
    command: Any = typer.main.get_command(program).commands[name]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(("program", "name"), LONG)
def test_a_long_command_can_be_quiet_and_answer_in_json(program: Program, name: str) -> None:
    assert {"--quiet", "--json"} <= options(program, name)


@pytest.mark.parametrize(("program", "name"), ENDLESS)
def test_a_command_that_goes_on_says_in_json_that_it_is_ready(program: Program, name: str) -> None:
    assert "--json" in options(program, name)


def test_reading_and_preparing_say_how_long_it_takes(
    study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is told here that is else told every few seconds."""
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    lines: list[str] = []
    home = study.home("east")
    shutil.rmtree(home / "cache", ignore_errors=True)
    (home / "catalogue.parquet").unlink(missing_ok=True)
    load_split(home, study.task, "train", say=lines.append)
    for what in ("reading files", "preparing images"):
        said = [line for line in lines if line.startswith(what)]
        assert said
        assert all(line.endswith(" left") for line in said)
