"""From a command's wishes to the plan of one simulated study.

What ``--rounds``, ``--seed``, ``--epsilon`` and ``--set`` change is changed in the tables,
before they are checked, so that a plan is always a task and a scenario that could have
been written in files.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedrad.errors import SettingsError
from fedrad.task import Task
from simulations.scenario import Scenario, read_scenario

Engine = Literal["local", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person changes about a scenario; ``None`` leaves it as it is."""

    rounds: int | None = None
    seed: int | None = None
    epsilon: float | None = None  # 0: without privacy, with exact metrics
    settings: tuple[str, ...] = ()
    data: Path | None = None  # the folder of public images


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One simulated study: what to run and where."""

    name: str
    scenario: Scenario
    task: Task
    run: Path
    seed: int
    engine: Engine = "local"
    baselines: bool = True
    data: Path | None = None
    beside: Path = Path()  # the folder that the task's model.initial is relative to
    command: str = ""  # what a person types to run it again

    @property
    def study(self) -> str:
        """The study's name in messages."""
        return f"{self.name}-{self.seed}"


def make_plan(name: str, run: Path, wishes: Wishes, *, engine: Engine, baselines: bool) -> Plan:
    """Check the wishes against the scenario.

    Raises:
        SettingsError: No such scenario, a setting that does not fit, or ``--data`` where
            the scenario has no use for it or needs it.
    """
    scenario, task = read_scenario(name, (*_as_settings(wishes), *wishes.settings))
    if scenario.public is None and wishes.data is not None:
        raise SettingsError("--data", (f"{name} makes its own phantoms; leave --data out",))
    if scenario.public is not None and wishes.data is None:
        raise SettingsError("--data", (f"{name} needs a folder with manifest.csv",))
    return Plan(
        name=name,
        scenario=scenario,
        task=task,
        run=run,
        seed=scenario.seed,
        engine=engine,
        baselines=baselines,
        data=wishes.data,
        command=_command(name, run, wishes, engine),
    )


def _as_settings(wishes: Wishes) -> list[str]:
    found = []
    if wishes.rounds is not None:
        found.append(f"federation.rounds={wishes.rounds}")
        found.append(f"evaluation.every_rounds={max(1, -(-wishes.rounds // 4))}")
    if wishes.seed is not None:
        found.append(f"seed={wishes.seed}")
    if wishes.epsilon == 0:
        found += ["privacy.enabled=false", 'evaluation.release="exact"']
    elif wishes.epsilon is not None:
        found += [
            f"privacy.epsilon={wishes.epsilon!r}",
            "privacy.enabled=true",
            'evaluation.release="private"',
        ]
    return found


def _command(name: str, run: Path, wishes: Wishes, engine: Engine) -> str:
    words = ["fedrad-sim", "run", name]
    if wishes.data is not None:
        words += ["--data", str(wishes.data)]
    words += ["--out", str(run), "--engine", engine]
    for option in ("rounds", "seed", "epsilon"):
        value = getattr(wishes, option)
        if value is not None:
            words += [f"--{option}", f"{value}"]
    for setting in wishes.settings:
        words += ["--set", setting]
    return shlex.join(words)
