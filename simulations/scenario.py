"""What a simulated study is: its hospitals, their limits, its task, its baselines.

A scenario is two files in ``scenarios/``: ``NAME.toml`` and the task beside it in exactly
the form that a real study has. ``--set``, ``--rounds``, ``--seed`` and ``--epsilon`` change
the tables before they are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from fedrad.errors import SettingsError
from fedrad.settings import build, refuse_problems
from fedrad.task import Task, parse_task
from simulations import overrides
from simulations.hospital import HospitalSpec
from simulations.public import PublicSource

PHANTOMS = "Phantoms, not clinical evidence"
PUBLIC = "Public images, not clinical evidence"
_FOLDER = "scenarios"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one hospital writes into its ``site.toml``; 0 means as much as the task asks."""

    epsilon_limit: float = 0.0
    min_patients: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitShares:
    """``[splits]`` of every hospital: shares of patients."""

    train: float = 0.70
    audit: float = 0.15
    window: float = 0.10
    test: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """``[baselines]``: the learning rates that every arm without privacy chooses from."""

    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        refuse_problems("baselines", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if len(self.rates) != 3 or any(not rate > 0 for rate in self.rates):
            yield f"rates must be three numbers above 0, got {list(self.rates)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The whole of ``NAME.toml`` but the task."""

    title: str
    seed: int = 1
    keep_wire: bool = True  # keep the bytes that leave each hospital, to count again
    splits: SplitShares = SplitShares()
    baselines: Baselines
    limits: dict[str, Limits] = field(default_factory=dict)  # site name -> its own
    hospitals: tuple[HospitalSpec, ...] = ()  # phantoms
    public: PublicSource | None = None  # or real images, given by --data

    def __post_init__(self) -> None:
        refuse_problems("scenario", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if bool(self.hospitals) == (self.public is not None):
            yield "a scenario needs either [[hospitals]] or [public]"
        twice = {name for name in self.sites if self.sites.count(name) > 1}
        if twice:
            yield f"two sites are called {min(twice)!r}; every site needs a name of its own"
        for name in sorted(set(self.limits) - set(self.sites)):
            yield f"limits.{name}: no site has this name; sites: {', '.join(self.sites)}"

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites' names in file order."""
        if self.public is not None:
            return self.public.sites
        return tuple(hospital.name for hospital in self.hospitals)

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

    Raises:
        SettingsError: No such scenario, or every problem of its files at once.
    """
    if name not in names():
        raise SettingsError(f"scenario {name!r}", (f"it must be one of: {', '.join(names())}",))
    scenario, task = _table(f"{name}.toml"), _table(f"{name}.task.toml")
    overrides.apply(task, scenario, settings)
    return build(Scenario, scenario), parse_task(task)


def title(name: str) -> str:
    """Return a scenario's one-line title."""
    return str(_table(f"{name}.toml")["title"])


def _table(file: str) -> dict[str, Any]:
    import tomllib

    text = resources.files("simulations").joinpath(_FOLDER, file).read_text(encoding="utf-8")
    return tomllib.loads(text)
