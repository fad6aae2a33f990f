from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.cli import app

PROGRAMS = ("aggregator.cli", "site_client.cli")


def test_report_prints_the_path_of_what_it_wrote(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        app(["report", str(run_folder)])
    assert Path(capsys.readouterr().out.strip()).is_file()


def test_json_prints_one_object_with_the_facts(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        app(["report", "--json", str(run_folder)])
    found = json.loads(capsys.readouterr().out)
    keys = [fact["key"] for fact in found["facts"]]
    assert keys == ["banner", "identifiers", "broken", "worth", "refusal", "privacy"]


def test_no_run_is_wrong_use_and_says_so_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        app(["report", str(tmp_path)])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "no run.sqlite in it" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_imports_nothing_heavy(program: str) -> None:
    """The promise is half a second; what breaks it is an import, so that is what is tested."""
    code = (
        f"import sys, {program}\n"
        f"try: {program}.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'flwr', 'pandas', 'numpy', 'sqlalchemy', 'matplotlib', 'pydicom'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage" in done.stdout
