"""What the build takes out of an image and what it writes about the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from contained import DOCKER

DPKG = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10

Package: gone
Status: deinstall ok config-files
Version: 1.0
"""


def test_of_a_system_only_python_and_what_is_named_can_be_started(tmp_path: Path) -> None:
    script = tmp_path / "prune.py"
    script.write_text((DOCKER / "prune.py").read_text())
    for name in ("sh", "bash", "apt-get", "gcc", "pip3", "python3", "python3.11", "nginx"):
        (tmp_path / "usr/bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "usr/bin" / name).touch()
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/lib/python3/dist-packages/pip").mkdir(parents=True)
    (tmp_path / "usr/lib/python3.11/ensurepip").mkdir(parents=True)
    subprocess.run([sys.executable, script, "root", str(tmp_path), "nginx"], check=True)
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {
        "python3",
        "python3.11",
        "nginx",
    }
    assert not list(tmp_path.rglob("*pip*"))
    assert not script.exists()


def test_of_an_environment_installers_and_other_packages_go(tmp_path: Path) -> None:
    library = tmp_path / "lib/python3.11/site-packages"
    for name in ("uv", "uv-0.12.dist-info", "fedrad", "aggregator", "torch/test", "torch/include"):
        (library / name).mkdir(parents=True)
    for words in (("libraries",), ("packages", "aggregator")):
        command = [sys.executable, DOCKER / "prune.py", words[0], tmp_path, *words[1:]]
        subprocess.run(list(map(str, command)), check=True)
    assert {path.name for path in library.iterdir()} == {"fedrad", "torch"}
    assert not list((library / "torch").iterdir())


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("bill")
    (folder / "status").write_text(DPKG)
    words = ("site", sys.prefix, folder / "status", folder / "out" / "sbom.json")
    command = [sys.executable, str(DOCKER / "sbom.py"), *map(str, words)]
    subprocess.run(command, check=True)
    return json.loads((folder / "out" / "sbom.json").read_text())


def test_the_bill_names_every_package_once_with_its_version(bill: dict) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    found = {one["name"]: one for one in bill["components"]}
    for name in ("torch", "flwr", "pydicom", "fedrad"):
        assert found[name]["version"] == version(name)
    assert found["libc6"]["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64"
    assert len({one["purl"] for one in bill["components"]}) == len(bill["components"])
    assert not found.keys() & {"pip", "setuptools", "gone"}


def test_the_bill_says_under_which_licences(bill: dict) -> None:
    found = {one["name"]: one.get("licenses") for one in bill["components"]}
    assert found["fedrad"] == [{"expression": "Apache-2.0"}]
    without = [n for n, said in found.items() if said == []]
    assert len(without) < len(found) / 4
