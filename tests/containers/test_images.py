"""The real images: what is in them, and a whole study in them.

Builds both, which takes minutes: for ``make test-long``. FEDRAD_BUILD_OPTIONS are handed to the
build (a BASE, folders of packages); FEDRAD_IMAGES=built takes the images that are there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import confined
import pytest
from contained import DOCKER, Contained, need_podman, output, write_podman_settings
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.long

IMAGES = {"site": "localhost/fedrad-site", "aggregator": "localhost/fedrad-aggregator"}
PROGRAMS = re.compile(r"(^|/)s?bin/[^/]+$")
ALLOWED = re.compile(
    r"(python[\d.]*|python|nginx|fedrad-site|fedrad-aggregator|torch_shm_manager)$"
)
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}")
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    need_podman()
    settings = tmp_path_factory.mktemp("podman") / "containers.conf"
    write_podman_settings(settings)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CONTAINERS_CONF", str(settings))
        if os.environ.get("FEDRAD_IMAGES") != "built":
            options = shlex.split(os.environ.get("FEDRAD_BUILD_OPTIONS", ""))
            print(output(str(DOCKER / "build.sh"), "podman", *options)[-400:])  # noqa: T201
        yield IMAGES


@pytest.fixture(scope="module")
def files(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unpack every image as a container sees it; return tar files."""
    folder, found = tmp_path_factory.mktemp("files"), {}
    for kind, image in images.items():
        found[kind] = folder / f"{kind}.tar"
        container = output("podman", "create", image).strip()
        output("podman", "export", "--output", str(found[kind]), container)
        output("podman", "rm", container)
    return found


def names(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        return {entry.name.removeprefix("./") for entry in archive if not entry.isdir()}


def top_packages(path: Path) -> set[str]:
    inside = (name.partition("site-packages/")[2] for name in names(path))
    return {name.partition("/")[0] for name in inside if "/" in name}


def test_nothing_can_be_started_but_python_and_what_belongs_there(files: dict[str, Path]) -> None:
    for path in files.values():
        programs = {name for name in names(path) if PROGRAMS.search(name)}
        assert programs, path
        assert {name for name in programs if not ALLOWED.search(name)} == set()


def test_no_image_can_install_or_compile(files: dict[str, Path]) -> None:
    for path in files.values():
        assert top_packages(path) & {"pip", "setuptools", "wheel", "uv", "ensurepip"} == set()
        assert not [name for name in names(path) if "/include/" in name or "/ensurepip/" in name]


def test_each_image_holds_its_own_side_alone(files: dict[str, Path]) -> None:
    site, aggregator = top_packages(files["site"]), top_packages(files["aggregator"])
    assert {"fedrad", "site_client", "pydicom", "torch", "monai"} <= site
    assert site & {"aggregator", "simulations", "ray"} == set()
    assert {"fedrad", "aggregator", "torch"} <= aggregator
    assert (
        aggregator & {"site_client", "simulations", "pydicom", "highdicom", "pynetdicom"} == set()
    )


def test_no_private_key_lies_in_any_layer(images: dict[str, str], tmp_path: Path) -> None:
    for kind, image in images.items():
        path = tmp_path / f"{kind}.tar"
        output("podman", "save", "--format", "docker-archive", "--output", str(path), image)
        layers = 0
        with tarfile.open(path) as outer:
            for layer in (
                entry for entry in outer if entry.name.endswith(".tar") and entry.isfile()
            ):
                layers += 1
                assert keys_in(outer.extractfile(layer)) == []
        path.unlink()
        assert layers


def keys_in(layer: IO[bytes] | None) -> list[str]:
    """Return a layer's files that hold a private key; libraries hold some to test themselves."""
    found = []
    with tarfile.open(fileobj=layer) as archive:
        for entry in (entry for entry in archive if entry.isfile()):
            file = archive.extractfile(entry)
            content = file.read() if file else b""
            if not content.startswith(b"\x7fELF") and KEY.search(content):
                found.append(entry.name)
    return found


def test_the_list_in_an_image_is_what_is_installed(files: dict[str, Path]) -> None:
    pinned = (DOCKER.parent / "constraints.txt").read_text().splitlines()
    for kind, path in files.items():
        with tarfile.open(path) as archive:
            member = archive.extractfile("usr/share/fedrad/sbom.cdx.json")
            assert member is not None
            bill = json.load(member)
        assert bill["metadata"]["component"]["name"] == f"fedrad-{kind}"
        python = [one for one in bill["components"] if one["purl"].startswith("pkg:pypi/")]
        infos = {one for one in top_packages(path) if one.endswith(".dist-info")}
        installed = {canonicalize_name(one.rpartition("-")[0].rpartition("-")[0]) for one in infos}
        assert {canonicalize_name(one["name"]) for one in python} == installed
        for one in python:
            release = one["version"].partition("+")[0]
            line = f"{canonicalize_name(one['name'])}=={release}"
            known = {
                canonicalize_name(p.partition("==")[0]) + "==" + p.partition("==")[2]
                for p in pinned
            }
            assert one["name"] == "fedrad" or line in known


@pytest.fixture(scope="module")
def study(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contained]:
    contained = Contained(tmp_path_factory.mktemp("containers"), images)
    try:
        contained.prepare()
        contained.paperwork("federation.rounds=1", "evaluation.every_rounds=1")
        contained.start()
        yield contained
    finally:
        contained.close()


def test_a_study_runs_from_init_to_its_report(study: Contained) -> None:
    confined.a_study_runs_to_its_report(study)


def test_containers_can_do_nothing_but_their_work(study: Contained) -> None:
    confined.nothing_is_allowed(study, "east")
    confined.nothing_is_allowed(study, "hub")
    confined.images_are_read_only(study)


def test_a_hospital_has_one_way_out_and_no_way_in(study: Contained) -> None:
    confined.only_the_gateway_listens(study)
    confined.one_way_out(study)


def test_containers_are_well_and_end_in_good_order(study: Contained) -> None:
    confined.all_are_well(study)
    for name in ("south", "north"):
        confined.a_stop_is_orderly(study, name)


def test_idle_containers_stay_small(study: Contained) -> None:
    """One site is left, which shares memory with none; it waits with its worker loaded.

    After a round the worker keeps what it worked with: printed, and told in docs/results.md.
    """
    say({"hub": memory(study, "hub"), "east after a round": memory(study, "east")})
    assert memory(study, "hub") < 500 * MEGABYTE
    confined.a_stop_is_orderly(study, "east")
    study.start_one("east")
    study.until(lambda: study.online() == {"east"})
    study.until(lambda: memory(study, "east") > 400 * MEGABYTE)  # torch is in
    time.sleep(15)
    say({"east before its first round": memory(study, "east")})
    assert memory(study, "east") < 700 * MEGABYTE


def say(found: dict[str, float]) -> None:
    print({name: f"{used / MEGABYTE:.0f} MB" for name, used in found.items()})  # noqa: T201


def memory(study: Contained, name: str) -> float:
    """Return the bytes that a container's processes hold: the sum of their proportional sets.

    What two processes share is counted once; what another container shares would be divided.
    """
    code = (
        "import json, re\nfrom pathlib import Path\ntotal = 0\n"
        "for path in Path('/proc').glob('[0-9]*/smaps_rollup'):\n"
        "    try: total += int(re.search(r'^Pss:\\s+(\\d+)', path.read_text(), re.M)[1])\n"
        "    except OSError: pass\n"
        "print(json.dumps(total * 1024))"
    )
    return float(study.inside(name, code))


def test_a_stopped_image_leaves_nothing_of_a_study_behind(images: dict[str, str]) -> None:
    for image in images.values():
        command = ["podman", "run", "--rm", "--entrypoint", "python3", image, "-c"]
        code = "import os; print(os.listdir('/var/lib/fedrad'))"
        ended = subprocess.run([*command, code], capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == "[]"
