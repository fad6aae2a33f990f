"""A run of two hospitals with nothing in its tables yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aggregator.run_folder import TABLES, Run


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    """Return what makes a run of the rows that are given by table."""

    def made(**tables: list[dict[str, Any]]) -> Run:
        sites = [{"site": "north", "label": "A"}, {"site": "south", "label": "B"}]
        rows: dict[str, Any] = dict.fromkeys(TABLES, ()) | {"sites": tuple(sites)}
        return Run(
            folder=tmp_path, tables=rows | {name: tuple(found) for name, found in tables.items()},
            task=None, contract=None, comparison=None, stated=(),
        )  # fmt: skip

    return made
