"""The container files as they are: what they promise is written in them, everywhere."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from contained import DOCKER, REPOSITORY, SITES
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DICOM = {"pydicom", "highdicom", "pynetdicom", "dicomweb-client", "pylibjpeg", "nibabel"}
IMAGES = ("site", "aggregator")
TMP = "/tmp:rw,noexec,nosuid,nodev,size=512m,mode=1777"  # noqa: S108  # a container's own


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def instructions(kind: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, continued lines joined, comments gone."""
    text = (DOCKER / f"{kind}.Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def needs(*extras: str) -> set[str]:
    """Return every package that fedrad needs to run, with what those need in turn."""
    asked = [*(DOCKER / "requirements.py", REPOSITORY / "pyproject.toml"), ",".join(extras)]
    command = [sys.executable, *map(str, asked)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: set[str] = set()
    todo = [Requirement(line) for line in said.splitlines()]
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if name not in found:
            found.add(name)
            lines = map(Requirement, distribution(one.name).requires or ())
            wanted = [{"extra": extra} for extra in ("", *one.extras)]
            todo += [r for r in lines if not r.marker or any(map(r.marker.evaluate, wanted))]
    return found


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_built_in_stages_from_a_base_that_may_be_given(kind: str) -> None:
    steps = instructions(kind)
    assert steps[0] == ("ARG", "BASE=python:3.11-slim-bookworm")
    stages = [words for step, words in steps if step == "FROM"]
    known = {"${BASE}", "scratch"}
    for words in stages:
        source, _, name = words.partition(" AS ")
        assert source in known
        known.add(name)


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_begins_empty_and_ends_with_its_user_check_and_program(kind: str) -> None:
    steps = instructions(kind)
    first = max(
        i
        for i, step in enumerate(steps)
        if step in {("FROM", "scratch AS site"), ("FROM", "scratch")}
    )
    last = dict(steps[first : first + 12])
    assert last["USER"] == "10001:10001"
    assert last["ENTRYPOINT"] == f'["fedrad-{kind}"]'
    assert f'CMD ["fedrad-{kind}", "health"]' in last["HEALTHCHECK"]
    assert "RUN" not in last
    assert steps[-1] in {("FROM", "site"), ("CMD", '["start"]')}


@pytest.mark.parametrize("kind", IMAGES)
def test_packages_are_pinned_and_never_built_from_source(kind: str) -> None:
    installs = [w for step, w in instructions(kind) if step == "RUN" and "pip" in w]
    assert "-c constraints.txt" in installs[0]
    assert "--only-binary :all:" in installs[0]
    assert re.search(r"pip==[\d.]+ setuptools==[\d.]+ ", installs[0])
    assert "--no-deps --no-index" in installs[1]


def test_every_package_of_an_image_has_its_version_in_the_constraints() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    removed = {"setuptools"}  # torch's, to compile extensions: prune.py takes it out again
    assert needs("site", "pacs") - pinned == removed


def test_the_coordinators_image_reads_no_dicom() -> None:
    assert needs() & DICOM == set()
    assert needs("site", "pacs") >= DICOM
    assert not any("site,pacs" in words for _, words in instructions("aggregator"))


def test_only_what_an_image_is_made_of_gets_near_a_build() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    kept = [line for line in lines if line and not line.startswith("#")]
    assert kept[0] == "*"
    copied = {w.split()[0] for k in IMAGES for s, w in instructions(k) if s == "COPY"}
    for name in {name for name in copied if not name.startswith("--from")}:
        assert any(line in {f"!{name}", "!docker/*.py", "!docker/demo"} for line in kept), name


def test_every_service_is_confined(compose: dict) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["tmpfs"] == [TMP]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "10001:10001"
        assert service["init"] is True
        assert service["pids_limit"] == 512
        assert service["mem_limit"] in {"2g", "4g"}
        assert not service.keys() & {"privileged", "ports", "cap_add", "devices", "pid", "ipc"}


def test_hospitals_share_no_network_and_no_folder(compose: dict) -> None:
    services = compose["services"]
    assert services["hub"]["networks"] == [f"to-{name}" for name in SITES]
    for name in SITES:
        assert services[name]["networks"] == [f"to-{name}"]
        assert compose["networks"][f"to-{name}"] == {"internal": True}
        assert services[name]["volumes"] == [
            f"{name}-home:/var/lib/fedrad",
            f"{name}-data:/data:ro",
        ]
        assert services[f"{name}-paper"]["networks"] == ["nowhere"]
    assert all("healthcheck" in services[name] for name in ("hub", *SITES))


def test_hospitals_with_gpus_are_the_same_but_for_image_device_and_setting(compose: dict) -> None:
    laid_over = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"]
    assert laid_over.keys() == {*SITES, *(f"{name}-paper" for name in SITES)}
    assert laid_over.keys() < compose["services"].keys()
    for name in SITES:
        site, paper = laid_over[name], laid_over[f"{name}-paper"]
        assert site["devices"] == ["nvidia.com/gpu=all"]
        assert site["image"] == paper["image"] == "localhost/fedrad-site-gpu"
        assert paper["environment"] == {"DEVICE": "cuda"}
        assert {*site, *paper} <= {"image", "devices", "build", "environment"}


@pytest.mark.parametrize("kind", IMAGES)
def test_a_hosts_program_starts_a_confined_container(kind: str, tmp_path: Path) -> None:
    line = asked_for(kind, tmp_path, "start")
    for word in (
        *("--rm", "--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *("--pids-limit=512", "--memory=3g", "--cpus=2", f"--name=fedrad-{kind}".replace("=", " ")),
        *(
            f"--tmpfs {TMP}",
            f"--volume {tmp_path}/home:/var/lib/fedrad",
            "--env FEDRAD_IMAGE_DIGEST=abc",
        ),
    ):
        assert f" {word} " in line, word
    assert line.endswith("abc start")
    assert "--privileged" not in line
    assert (f"--volume {tmp_path}/data:/data:ro " in line) is (kind == "site")


def test_a_hospitals_program_opens_no_port(tmp_path: Path) -> None:
    assert "--publish" not in asked_for("site", tmp_path, "start")
    assert "--publish 443:8443" in asked_for("aggregator", tmp_path, "start")
    assert "--publish" not in asked_for("aggregator", tmp_path, "enrol")


def test_a_hosts_program_says_what_is_missing(tmp_path: Path) -> None:
    program = str(DOCKER / "site" / "fedrad-site")
    (tmp_path / "site.env").write_text(
        f"FEDRAD_IMAGE=abc\nFEDRAD_HOME={tmp_path}\nFEDRAD_DATA=/no\n"
    )
    for name, said in (("none.env", "there is no"), ("site.env", "/no does not exist")):
        given = {**os.environ, "FEDRAD_SETTINGS": str(tmp_path / name)}
        ended = subprocess.run([program], env=given, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert said in ended.stderr


@pytest.mark.parametrize("kind", IMAGES)
def test_a_unit_comes_back_after_a_crash_and_a_reboot(kind: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read(DOCKER / kind / f"fedrad-{kind}.service")
    service = unit["Service"]
    assert service["ExecStart"] == f"%h/.local/bin/fedrad-{kind} start"
    assert service["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Install"]["WantedBy"] == "default.target"
    assert shlex.split(service["ExecStop"])[-1] == f"fedrad-{kind}"


def asked_for(kind: str, folder: Path, *words: str) -> str:
    """Return what a host's program would call its engine with."""
    for name in ("home", "data"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "env").write_text(
        f"FEDRAD_IMAGE=abc\nFEDRAD_HOME={folder}/home\nFEDRAD_DATA={folder}/data\n"
        "FEDRAD_MEMORY=3g\nFEDRAD_ENGINE=echo\n"
    )
    given = {**os.environ, "FEDRAD_SETTINGS": str(folder / "env")}
    program = str(DOCKER / kind / f"fedrad-{kind}")
    command = [program, *words]
    return subprocess.run(
        command, env=given, capture_output=True, text=True, check=True
    ).stdout.strip()
