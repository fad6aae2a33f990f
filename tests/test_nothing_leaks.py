"""Canaries in every corner of one hospital's archive, and a search through all that came of it.

One site's files get each tag of PS3.15 Table E.1-1, at the top and two sequences deep, private
and unknown tags, overlays, bytes in the preamble, and file names; some are broken so that
libraries complain about values. The site is catalogued, federated, exported and asked by
commands. What may name a file is named in ``KEEPS_PATHS``; nothing else may hold a canary.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sqlite3
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset
from tiny_study import SEED, SITES, TinyStudy, copy_study

from aggregator.app import server_app
from aggregator.report import write_report
from aggregator.setup import RunSetup
from simulations.engines import run_local
from simulations.planted import occurrences
from simulations.runner import SimulatedSites
from simulations.wire import planted_values
from site_client.app import client_app

canaries = pytest.importorskip("identifier_canaries")
pytest.importorskip("dicomanonymizer", reason="missing: dicom-anonymizer (extra [dev])")

SITE = "east"
IN_NAMES, IN_PREAMBLE, IN_RUBBISH = "ZQNAMECANARY", "ZQPREAMBLECANARY", "ZQRUBBISHCANARY"
# What says whose an image is: planted with a value for each patient, or the same for all.
LINKING = {
    "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
    "AccessionNumber", "StudyDate", "MediaStorageSOPInstanceUID", "PatientBirthDate", "PatientSex",
}  # fmt: skip
# For the hospital's own eyes: relative paths of the archive, in these columns or files alone.
KEEPS_PATHS = ("catalogue.parquet", "quarantine.csv", "exports")


def some_canaries() -> list[Any]:
    every = canaries.table_canaries()
    every += [one for group in canaries.other_canaries().values() for one in group]
    names = [pydicom.datadict.keyword_for_tag(one.tag) for one in every]
    return [o for o, n in zip(every, names, strict=True) if n not in LINKING and o.tag >> 16 > 2]


def plant(archive: Path) -> None:
    """Put canaries into every file and its name, and break some."""
    some = some_canaries()
    for number, path in enumerate(sorted(p for p in archive.rglob("*") if p.is_file())):
        file = pydicom.dcmread(path)
        if number % 6 == 0:
            add_canaries(file, some)
        if number % 5 == 0:  # what a parser complains about
            file.add_new(0x00281050, "DS", "1")
            file["WindowCenter"]._value = IN_RUBBISH
        file.preamble = IN_PREAMBLE.encode().ljust(128, b"\0")
        path.with_name(f"{IN_NAMES} {number}").write_bytes(canaries.raw(file))
        path.unlink()
    whole = path.with_name(f"{IN_NAMES} {number}").read_bytes()
    (archive / f"{IN_NAMES} cut").write_bytes(whole[: len(whole) // 2])
    (archive / f"{IN_NAMES} text").write_text(f"{IN_RUBBISH} lives at")


def add_canaries(file: Dataset, some: list[Any]) -> None:
    """Add them at the top and two sequences deep."""
    groups, anatomy = Dataset(), Dataset()
    for one in some:
        file.add(one.element())
        anatomy.add(one.element())
    groups.FrameAnatomySequence = [anatomy]
    file.SharedFunctionalGroupsSequence = [groups]


@pytest.fixture(scope="module")
def ran(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Run everything once; return what was written, said and sent, by where it was found."""
    run = tmp_path_factory.mktemp("leaks") / "run"
    found: dict[str, bytes] = {}
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        study = copy_study(hospitals, run)
        plant(study.archive(SITE))
        found |= {f"wire {n}": sent for n, sent in enumerate(federated(study))}
        found |= commands(study, run)
    finally:
        logging.getLogger().removeHandler(handler)
    found["log"] = log.getvalue().encode()
    found |= written(run)
    found["source"] = next((study.archive(SITE)).rglob(f"{IN_NAMES} 0*")).read_bytes()
    found["planted"] = "\n".join(planted_values(run, SITE)).encode()
    return found


def federated(study: TinyStudy) -> list[bytes]:
    """Run the study's rounds, keeping what left the site, and write its report."""
    sent: list[bytes] = []

    def observe(site: str, phase: str, number: int, content: bytes) -> None:
        del phase, number
        if site == SITE:
            sent.append(content)

    folder = study.run / "federated"
    setup = RunSetup(
        folder=folder,
        task=study.task,
        contract=study.contract,
        initial=lambda: study.model,
        seed=SEED,
    )
    factory = partial(client_app, SimulatedSites(study.run, SITES, SEED))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run_local(server_app(setup), SITES, factory, workers=0, observer=observe)
    write_report(folder)
    with sqlite3.connect(folder / "run.sqlite") as database:
        query = "select phase, outcome from replies where site = ? order by round, phase"
        answers = database.execute(query, (SITE,)).fetchall()
    assert {outcome for _, outcome in answers} == {"done"}  # the planted files were used
    assert {phase for phase, _ in answers} == {"train", "evaluate"}
    return sent


def commands(study: TinyStudy, run: Path) -> dict[str, bytes]:
    """Call the site's commands as a person would; return what they said."""
    home = str(study.home(SITE))
    lines = {
        "catalogue": ["catalogue", "--home", home],
        "deidentify": ["deidentify", str(study.archive(SITE)), str(run / "copies"), "--home", home],
        "budget": ["budget", "--home", home],
        "crash": ["catalogue", "--home", str(run / "copies"), "--debug"],
    }
    code = (
        "import warnings; warnings.simplefilter('always'); from site_client.cli import app; app()"
    )
    said = {}
    for name, words in lines.items():
        done = subprocess.run(
            [sys.executable, "-c", code, *words], check=False, capture_output=True, env=os.environ
        )
        said[f"said by {name}"] = done.stdout + done.stderr
    return said


def written(run: Path) -> dict[str, bytes]:
    """Everything below the run that is no source, and the names of all files."""
    sources = {run / "sites" / site / name for site in SITES for name in ("ARCHIVE", "labels.csv",
               "planted.csv")}  # fmt: skip
    found: dict[str, bytes] = {}
    for path in sorted(run.rglob("*")):
        inside = any(path == source or source in path.parents for source in sources)
        if path.is_file() and not inside:
            name = str(path.relative_to(run))
            found[name] = name.encode() + b"\n" + path.read_bytes()
    return found


def values() -> tuple[str, ...]:
    """The canaries that are long enough to be no accident."""
    texts = {one.text.decode() for one in some_canaries() if one.text}
    return tuple(sorted(texts | {IN_NAMES, IN_PREAMBLE, IN_RUBBISH}))


def without_paths(name: str, content: bytes) -> str:
    """What a file that may name paths holds besides them."""
    body = content.split(b"\n", 1)[1]  # after the file's own name
    if name.endswith(".parquet"):
        return pd.read_parquet(io.BytesIO(body)).drop(columns="file").to_csv()
    if name.endswith(".csv"):
        return pd.read_csv(io.BytesIO(body), dtype=str).drop(columns="file").to_csv()
    lines = [json.loads(line) for line in body.splitlines() if line]
    return json.dumps([{k: v for k, v in line.items() if k != "file"} for line in lines])


@pytest.mark.slow
def test_no_canary_is_anywhere(ran: dict[str, bytes]) -> None:
    keeping = [name for name in ran if any(part in name for part in KEEPS_PATHS)]
    assert len(keeping) >= 3
    looked = (*values(), *ran["planted"].decode().split("\n"))
    assert len(looked) > 700
    assert occurrences(ran.pop("source"), looked) > 1000  # the search can find them
    for name in keeping:
        if SITE in name and ran[name].count(b"\n") > 1:
            assert occurrences(without_paths(name, ran[name]).encode(), looked) == 0, name
    leaks = {
        name: occurrences(content, looked) for name, content in ran.items() if name != "planted"
    }
    assert sum(name.startswith("copies/") and name.endswith(".dcm") for name in ran) > 30
    assert {name: count for name, count in leaks.items() if count and name not in keeping} == {}
    for part in ("wire 2", "log", "said by crash", "federated/report.html", "copies/report.csv",
                 "audit.jsonl", "ledger.jsonl", ".npy", ".dcm", "run.sqlite"):  # fmt: skip
        assert any(part in name for name in ran), part
