"""Read a finished or running study from its folder, and change nothing there.

One object holds what the report needs: the rows of ``run.sqlite``, the task, the contract,
and what a simulation adds. A table that is not there reads as no rows, because a run that
was stopped early is still worth a report. Writing the tables is ``store``'s work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.comparison import Comparison, read_comparison
from aggregator.facts import Fact, read_facts
from fedrad.contract import Contract, read_contract
from fedrad.errors import DamagedStateError, SettingsError
from fedrad.task import Task, read_task

Row = dict[str, Any]
DATABASE = "run.sqlite"
TABLES = ("runs", "sites", "rounds", "replies", "metrics", "privacy", "events", "shifts", "alarms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run folder, read once."""

    folder: Path
    tables: dict[str, tuple[Row, ...]]
    task: Task | None
    contract: Contract | None
    comparison: Comparison | None
    stated: tuple[Fact, ...]  # facts that the simulation measured itself

    @property
    def about(self) -> Row:
        """The row of ``runs``; empty if nothing was recorded."""
        rows = self.tables["runs"]
        return rows[-1] if rows else {}

    @property
    def sites(self) -> tuple[str, ...]:
        """Every site by name, in the order of the letters that readers see."""
        names = {str(row["site"]) for row in self.tables["sites"]}
        names |= set(self.contract.sites) if self.contract else set()
        return tuple(sorted(names, key=lambda name: (self.label(name), name)))

    @property
    def external(self) -> tuple[str, ...]:
        """The sites that were scored and never trained on."""
        sites = self.contract.sites if self.contract else {}
        return tuple(name for name, terms in sites.items() if terms.kind == "evaluate")

    @property
    def exact(self) -> bool:
        """Whether the metrics are exact, hence not private."""
        return self.task is not None and self.task.exact

    def label(self, site: str) -> str:
        """What readers call the site: ``Hospital A``, or its own name without a letter."""
        terms = self.contract.sites.get(site) if self.contract else None
        what = ", external validation" if terms and terms.kind == "evaluate" else ""
        for row in self.tables["sites"]:
            if row["site"] == site and row["label"]:
                return spoken_label(str(row["label"])) + what
        return spoken_label(terms.label) + what if terms else site

    def full_name(self, site: str) -> str:
        """What sentences call the site: ``Hospital A (north)``."""
        label = self.label(site)
        return label if label == site else f"{label} ({site})"


def read_run(folder: Path) -> Run:
    """Read everything that a report is made of.

    Raises:
        SettingsError: The folder holds no run, or its task or contract cannot be used.
        DamagedStateError: ``run.sqlite`` or a JSON file cannot be read.
    """
    if not (folder / DATABASE).is_file():
        problem = f"no {DATABASE} in it; name the folder that a run was written to"
        raise SettingsError(str(folder), (problem,))
    task, contract = folder / "task.toml", folder / "contract.json"
    return Run(
        folder=folder,
        tables=read_tables(folder / DATABASE, TABLES),
        task=read_task(task) if task.exists() else None,
        contract=read_contract(contract) if contract.exists() else None,
        comparison=read_comparison(folder),
        stated=read_facts(folder),
    )


def spoken_label(label: str) -> str:
    """Return what readers call a site: a letter becomes ``Hospital A``."""
    return f"Hospital {label}" if len(label) == 1 else label


def read_tables(path: Path, names: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Return the rows of some tables of ``run.sqlite``; a table that is not there has none.

    Raises:
        DamagedStateError: The file cannot be read.
    """
    from sqlalchemy import MetaData, create_engine, exc, select

    engine = create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true")
    schema = MetaData()
    try:
        schema.reflect(engine)
        with engine.connect() as connection:
            found = {
                name: tuple(dict(row) for row in connection.execute(select(table)).mappings())
                for name, table in schema.tables.items()
                if name in names
            }
    except exc.DatabaseError as error:
        raise DamagedStateError(f"{path} cannot be read: {error.orig}") from None
    finally:
        engine.dispose()
    return {name: found.get(name, ()) for name in names}
