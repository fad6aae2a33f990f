"""Which model of a run leaves it: the one promoted last, else the one that the run stands on.

A round that was held or left by a rollback gives no model. What is taken is what was measured
and released: the average where the task averages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aggregator import checkpoints
from aggregator.lineage import Lineage, lineage
from aggregator.run_folder import DATABASE, Row, read_tables
from fedrad.errors import RunError, SettingsError
from fedrad.parameters import Parameters, digest

PROMOTE = "promote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One model of a run; ``release`` is the row that promoted it, if one did."""

    round: int
    parameters: Parameters
    release: Row | None

    @property
    def digest(self) -> str:
        """The digest of all parameters."""
        return digest(self.parameters)


def choose(run: Path, number: int | None = None) -> Chosen:
    """Return a run's model.

    Args:
        run: The run's folder; read only.
        number: The round; ``None``: the one promoted last, else the one that the run stands on.

    Raises:
        SettingsError: The folder holds no run.
        RunError: No round made a model, or not this one.
        DamagedStateError: The round's checkpoint cannot be read.
    """
    if not (run / DATABASE).is_file():
        raise SettingsError(str(run), (f"no {DATABASE} in it; name a run's folder",))
    tables = read_tables(run / DATABASE, ("rounds", "events", "releases"))
    line = lineage(tables["rounds"], tables["events"])
    promoted = {int(row["round"]): row for row in tables["releases"] if _promotes(row)}
    order = [int(row["round"]) for row in tables["events"] if row["kind"] == "promoted"]
    wanted = _last(line, promoted, order) if number is None else number
    if wanted not in line.line:
        made = ", ".join(map(str, line.line)) or "none yet"
        raise RunError(f"round {wanted} gave no model that the run stands on; these did: {made}")
    model = checkpoints.read_round(run, wanted)[1]
    parameters = model | checkpoints.read_average(run, wanted)  # as ``course`` measures it
    row = promoted.get(wanted)
    if row is not None and row["model_digest"] not in ("", digest(parameters)):
        raise RunError(f"round {wanted}: the promoted model is not the one in its checkpoint")
    return Chosen(round=wanted, parameters=parameters, release=row)


def reasons(release: Row | None) -> tuple[str, ...]:
    """Return why a model was promoted, as recorded."""
    if release is None:
        return ()
    found = json.loads(release["reasons_json"] or "[]")
    return tuple(map(str, found)) if isinstance(found, list) else (json.dumps(found),)


def _promotes(row: Row) -> bool:
    return str(row["decision"]) == PROMOTE


def _last(line: Lineage, promoted: dict[int, Row], order: Sequence[int]) -> int:
    """Return the round whose promotion came last; a person may have gone back to an older one."""
    standing = [number for number in line.line if number in promoted]
    latest = [number for number in order if number in standing]
    return (latest or standing or [line.stands])[-1]
