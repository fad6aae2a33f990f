"""A whole study over real processes: mutual TLS, approved contract, privacy on, DICOM in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from deployed import PROGRAM, SITES, STUDY, Federation, make_homes, need_nginx

from aggregator.checkpoints import latest_round
from aggregator.studies import run_folder


@pytest.fixture
def federation(tmp_path: Path):
    need_nginx()
    running = Federation(make_homes(tmp_path, "federation.rounds=1", "evaluation.every_rounds=1"))
    yield running
    running.close()


def command(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", PROGRAM.format(module=module), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.long
def test_a_study_runs_over_mutual_tls_and_ends_with_a_report(federation: Federation) -> None:
    federation.open()
    federation.until_online()
    ended = command("aggregator", "run", "--home", str(federation.hub), "--json")
    assert ended.returncode == 0, ended.stderr + federation.logs()
    table = json.loads(ended.stdout)
    assert table["outcome"] == "completed"
    folder = run_folder(federation.hub, STUDY)
    assert latest_round(folder) == 1
    assert Path(table["report"]).stat().st_size > 10_000
    for site in SITES:
        lines = (federation.homes.home(site) / "ledger.jsonl").read_text().splitlines()
        assert lines
