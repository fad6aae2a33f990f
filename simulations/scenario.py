"""What a simulated study is: its hospitals, their limits, its task, its baselines.

A scenario is two files in ``scenarios/``: ``NAME.toml`` and the task beside it in exactly
the form that a real study has. ``--set``, ``--rounds``, ``--seed`` and ``--epsilon`` change
the tables before they are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from fedrad.errors import SettingsError
from fedrad.settings import build, refuse_problems
from fedrad.task import Task, parse_task
from simulations import overrides
from simulations.attacks import ATTACKS, BACKDOOR, FLIPPED
from simulations.hospital import HospitalSpec
from simulations.public import PublicSpec
from site_client.settings import Shares

PHANTOMS = "Phantoms, not clinical evidence"
PUBLIC = "Public images, not clinical evidence"
_FOLDER = "scenarios"
_MARKED = 0.5  # share of the patients of a hospital with a backdoor
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it becomes a folder's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one hospital writes into its ``site.toml``; 0 means as much as the task asks."""

    epsilon_limit: float = 0.0
    min_patients: int = 10

    def __post_init__(self) -> None:
        refuse_problems("limits", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.epsilon_limit >= 0:
            yield f"epsilon_limit must be 0 or more, got {self.epsilon_limit}"
        if self.min_patients < 1:
            yield f"min_patients must be 1 or more, got {self.min_patients}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """``[baselines]``: the learning rates that every arm without privacy chooses from."""

    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        refuse_problems("baselines", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if len(set(self.rates)) != 3 or any(not 0 < rate < float("inf") for rate in self.rates):
            yield f"rates must be three different numbers above 0, got {list(self.rates)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The whole of ``NAME.toml`` but the task."""

    title: str
    seed: int = 1
    keep_wire: bool = True  # keep the bytes that leave each hospital, to count again
    splits: Shares = field(default_factory=Shares)
    baselines: Baselines
    limits: dict[str, Limits] = field(default_factory=dict)  # site name -> its own
    hospitals: tuple[HospitalSpec, ...] = ()  # phantoms
    public: PublicSpec | None = None  # or real images, given by --data
    hostile: dict[str, str] = field(default_factory=dict)  # site name -> how it attacks

    def __post_init__(self) -> None:
        refuse_problems("scenario", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if bool(self.hospitals) == (self.public is not None):
            yield "a scenario needs either [[hospitals]] or [public]"
        elif not self.sites:
            yield "[public] needs sites or virtual_sites"
        if not 0 <= self.seed < 2**63:
            yield f"seed must lie in [0, 2^63), got {self.seed}"
        for name in sorted(name for name in self.sites if not _NAME.fullmatch(name)):
            yield f"a site's name must be letters, digits, - and _, got {name!r}"
        twice = {name for name in self.sites if self.sites.count(name) > 1}
        if twice:
            yield f"two sites are called {min(twice)!r}; every site needs a name of its own"
        for name in sorted(set(self.limits) - set(self.sites)):
            yield f"limits.{name}: no site has this name; sites: {', '.join(self.sites)}"
        yield from self._hostile_problems()
        watched = [hospital.name for hospital in self.hospitals if hospital.periods]
        if watched and not self.splits.window:
            yield f"hospitals.periods of {watched[0]} needs a share of splits.window above 0"

    def _hostile_problems(self) -> Iterator[str]:
        for name in sorted(set(self.hostile) - set(self.sites)):
            yield f"hostile.{name}: no site has this name; sites: {', '.join(self.sites)}"
        for name, attack in sorted(self.hostile.items()):
            if attack not in ATTACKS:
                yield f"hostile.{name} must be one of {', '.join(ATTACKS)}; got {attack!r}"
        for hospital in self.hospitals:
            if self.hostile.get(hospital.name) == BACKDOOR and hospital.truth != "labels":
                yield f"hostile.{hospital.name}: a backdoor needs truth = 'labels'"
        if self.hostile and self.public is not None:
            yield "hostile sites need [[hospitals]], not [public]"

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites' names in file order."""
        if self.public is not None:
            return self.public.virtual_sites or tuple(sorted(set(self.public.sites.values())))
        return tuple(hospital.name for hospital in self.hospitals)

    def archives(self) -> tuple[HospitalSpec, ...]:
        """Return the phantom hospitals as their archives are written: some lie in the labels."""
        return tuple(self._as_written(hospital) for hospital in self.hospitals)

    def _as_written(self, hospital: HospitalSpec) -> HospitalSpec:
        attack = self.hostile.get(hospital.name)
        if attack == BACKDOOR:
            return replace(hospital, marked=_MARKED)
        if attack != FLIPPED:
            return hospital
        positive, negative = hospital.positive_label, hospital.negative_label
        return replace(hospital, positive_label=negative, negative_label=positive)

    def limits_of(self, site: str) -> Limits:
        """Return what this site allows."""
        return self.limits.get(site, Limits())

    @property
    def banner(self) -> str:
        """The sentence that stands on every page."""
        return PUBLIC if self.public is not None else PHANTOMS


def names() -> tuple[str, ...]:
    """Return the scenarios that come with fedrad, sorted."""
    files = resources.files("simulations").joinpath(_FOLDER).iterdir()
    found = [file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")]
    return tuple(sorted(name for name in found if not name.endswith(".task")))


def read_scenario(name: str, settings: tuple[str, ...] = ()) -> tuple[Scenario, Task]:
    """Read a scenario and its task, changed by ``key=value`` settings.

    A file of starting weights in the settings is relative to the current folder.

    Raises:
        SettingsError: No such scenario, or every problem of its files at once.
    """
    if name not in names():
        raise SettingsError(f"scenario {name!r}", (f"it must be one of: {', '.join(names())}",))
    scenario, task = _table(f"{name}.toml"), _table(f"{name}.task.toml")
    overrides.apply(task, scenario, settings, known=[f.name for f in fields(Scenario)])
    return build(Scenario, scenario), parse_task(task, beside=Path())


def title(name: str) -> str:
    """Return a scenario's one-line title."""
    return str(_table(f"{name}.toml")["title"])


def _table(file: str) -> dict[str, Any]:
    import tomllib

    text = resources.files("simulations").joinpath(_FOLDER, file).read_text(encoding="utf-8")
    return tomllib.loads(text)
