"""Write a run's tables as Parquet and CSV, one row an observation, with ``dictionary.csv``.

Parquet keeps types; CSV is for everything else. Sites are letters unless the contract says that
names are agreed; then columns that would tell a name anyhow are there, too.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from aggregator.comparison import NAME as COMPARED
from aggregator.export.dictionary import COLUMNS, COMPARISON, Column
from aggregator.letters import TELLING, Letters
from aggregator.run_folder import DATABASE, Row, read_run, read_tables
from fedrad import durable
from fedrad.progress import Say, counted

DICTIONARY, README = "dictionary.csv", "README.md"
_SITES = ("site", "data_site")
_COMPARISON = COMPARED.removesuffix(".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written where."""

    folder: Path
    rows: dict[str, int]
    names: bool  # whether sites have their names


def export_run(run_folder: Path, out: Path, *, say: Say) -> Exported:
    """Write the tables of a run.

    Args:
        run_folder: Read only.
        out: The folder; files of an earlier export are replaced.
        say: Told how far the work is.

    Raises:
        SettingsError: The folder holds no run.
        DamagedStateError: ``run.sqlite`` cannot be read.
        RunError: A site's name would leave the run.
    """
    run = read_run(run_folder)
    letters = Letters(run)
    tables = read_tables(run_folder / DATABASE, COLUMNS)
    if run.comparison is not None:
        tables[_COMPARISON] = tuple(dataclasses.asdict(site) for site in run.comparison.sites)
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, int] = {}
    for name in counted(tables, say, what="writing tables", total=len(tables)):
        frame = frame_of(name, tables[name], letters)
        letters.refuse_names(_texts(frame))
        _write(out, name, frame)
        rows[name] = len(frame)
    durable.write_bytes(out / DICTIONARY, _csv(_dictionary(tables, letters)))
    durable.write_bytes(out / README, _readme(tables, letters).encode("utf-8"))
    return Exported(folder=out, rows=rows, names=letters.agreed)


def frame_of(name: str, rows: tuple[Row, ...], letters: Letters) -> pd.DataFrame:
    """Return one table as it leaves: types of the dictionary, names as letters."""
    columns = _columns(name, letters)
    frame = pd.DataFrame(
        [{column: _value(row.get(column), column, letters) for column in columns} for row in rows],
        columns=list(columns),
    )
    for column, about in columns.items():
        frame[column] = _typed(frame[column], about)
    return frame


def as_text(exported: Exported) -> str:
    """Return what a person reads."""
    rows = ", ".join(f"{name} {count}" for name, count in exported.rows.items() if count)
    who = "hospitals have their names, as agreed" if exported.names else "hospitals are letters"
    return f"{exported.folder}: rows of {rows}; {who}"


def _columns(name: str, letters: Letters) -> dict[str, Column]:
    hidden = () if letters.agreed else TELLING.get(name, ())
    every = COMPARISON if name == _COMPARISON else COLUMNS[name]
    return {column: about for column, about in every.items() if column not in hidden}


def _value(value: Any, column: str, letters: Letters) -> Any:
    if not isinstance(value, str):
        return value
    if column in _SITES:
        return letters.of(value)
    if column.endswith("_json"):
        return json.dumps(letters.value(json.loads(value or "{}")), ensure_ascii=False)
    return letters.value(value)


def _typed(values: pd.Series[Any], about: Column) -> pd.Series[Any]:
    if about.type == "time":
        return pd.to_datetime(values.replace("", None), utc=True, format="ISO8601")
    if about.type == "integer":
        return values.astype("Int64")
    return values.astype("Float64") if about.type == "number" else values.astype("str")


def _texts(frame: pd.DataFrame) -> list[str]:
    texts = frame.select_dtypes(exclude=["number", "datetimetz"])
    return [str(value) for column in texts for value in texts[column]]


def _write(out: Path, name: str, frame: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    durable.write_bytes(out / f"{name}.parquet", buffer.getvalue())
    durable.write_bytes(out / f"{name}.csv", _csv(frame))


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode("utf-8")


def _dictionary(names: Iterable[str], letters: Letters) -> pd.DataFrame:
    rows = [
        (name, column, about.type, about.unit, about.meaning)
        for name in names
        for column, about in _columns(name, letters).items()
    ]
    return pd.DataFrame(rows, columns=["table", "column", "type", "unit", "meaning"])


def _readme(names: Iterable[str], letters: Letters) -> str:
    who = "by name, as agreed" if letters.agreed else "letters; the key stays with the coordinator"
    told = (
        f"Hospitals are {who}. Every number was released with noise or agreed, or came from a "
        "simulation (`method` says `exact`). `dictionary.csv` says what each column is."
    )
    code = '    import pandas as pd\n    metrics = pd.read_parquet("metrics.parquet")'
    lines = ["# Export of a fedrad run", told, code, "Tables: " + ", ".join(names) + "."]
    return "\n\n".join(lines) + "\n"
