"""A coordinator and hospitals in containers, started by the programs that hosts get.

Each hospital shares a network with the coordinator alone. Two kinds of images: the real ones,
and bare ones that hold no file: there this test's own environment is mounted, read only, so
that what a container may and may not do is seen without building an image.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_study import SEED, UNHURRIED, tiny_task

from fedrad.processes import Child, Plan, free_port
from fedrad.task import write_task
from simulations.hospital import HospitalSpec, write_hospital

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
SITES = ("east", "north", "south")
STUDY, PORT, USER = "demo", 8443, 10001
_REFUSED = re.compile("not permitted|denied|netavark|iptables|nftables|namespace|cgroup")


def need_podman() -> str:
    """Return podman's version, or skip; CI installs it."""
    if shutil.which("podman") is None:
        pytest.skip("missing: podman (Debian: podman runc catatonit netavark aardvark-dns)")
    return output("podman", "--version").split()[-1]


def need_networks(image: str, options: str) -> None:
    """Skip where the kernel lets no container run on a network of its own."""
    name = f"fedrad-probe-{os.getpid()}"
    run = f"podman run --rm --network {name} {options} --entrypoint /usr/bin/true {image}"
    try:
        for command in (f"podman network create {name}", run):
            ended = subprocess.run(
                shlex.split(command), capture_output=True, text=True, check=False
            )
            if ended.returncode != 0:
                assert _REFUSED.search(ended.stderr), f"{command}\n{ended.stderr}"
                pytest.skip(f"this host refuses containers on a network: {ended.stderr[-300:]}")
    finally:
        subprocess.run(["podman", "network", "rm", "-f", name], capture_output=True, check=False)


def output(*words: str, **options: Any) -> str:
    """Run a program that must end well, and return what it prints."""
    ended = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, f"{shlex.join(words)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def write_podman_settings(path: Path) -> None:
    """Write a containers.conf with which podman runs on this host, whatever its cgroups are."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    booted = Path("/run/systemd/system").exists()
    lines = ["[containers]", f"default_ulimits = {json.dumps(_limits())}", "[engine]"]
    lines += [] if unified else ['runtime = "runc"']  # crun asks for the unified hierarchy
    lines += [] if booted else ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    path.write_text("\n".join(lines) + "\n")


def _limits() -> list[str]:
    """Return limits that a container can be given: no higher than this process's own."""
    kinds = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    most = {name: resource.getrlimit(kind)[1] for name, kind in kinds.items()}
    return [
        f"{name}={limit}:{limit}"
        for name, found in most.items()
        for limit in [4096 if found == resource.RLIM_INFINITY else min(found, 4096)]
    ]


def bare_image(dockerfile: str, program: str) -> str:
    """Make an image without files; it starts a program of this test's environment."""
    name = f"localhost/fedrad-bare-{os.getpid()}-{program}"
    changes = [
        f"ENTRYPOINT {json.dumps([str(Path(sys.prefix, 'bin', program))])}",
        'CMD ["start"]',
        "USER 10001:10001",
        "WORKDIR /var/lib/fedrad",
        *(f"ENV {pair}" for pair in environment_of(DOCKER / dockerfile)),
        f"ENV PATH={sys.prefix}/bin:/usr/local/bin:/usr/bin:/usr/sbin",
    ]
    options = [word for change in changes for word in ("--change", change)]
    command = ["podman", "import", "--quiet", *options, "-", name]
    subprocess.run(command, input=_folders(), check=True, capture_output=True)
    return name


def environment_of(dockerfile: Path) -> list[str]:
    """Return ``NAME=value`` of the first ``ENV`` of a Dockerfile, without ``PATH``."""
    text = dockerfile.read_text().replace("\\\n", " ")
    found = re.search(r"^ENV (.*)$", text, re.MULTILINE)
    assert found is not None
    return [pair for pair in found[1].split() if not pair.startswith("PATH=")]


def mounts() -> str:
    """Return podman's options that show a bare image this test's environment, read only."""
    found = {Path("/usr"), REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}
    found |= {Path(path) for path in sys.path if Path(path).is_dir()}
    tops = [p for p in found if not any(p != top and p.is_relative_to(top) for top in found)]
    return " ".join(f"-v {path}:{path}:ro" for path in sorted([*tops, Path("/etc/ld.so.cache")]))


def _folders() -> bytes:
    """Return an archive of the folders and links that a system begins with."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "var/lib/fedrad", "data"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(entry)
        for name, text in (("etc/passwd", f"fedrad:x:{USER}:{USER}::/:/nonexistent\n"),):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def hand_over(source: Path, target: Path) -> None:
    """Copy a file for the containers' user."""
    shutil.copy(source, target)
    give(target)


def give(path: Path) -> None:
    """Make a path the containers' user's: root's is 10001, everybody else's is himself."""
    if os.geteuid() == 0:
        os.chown(path, USER, USER)


@dataclass
class Contained:
    """The homes on this host, and the containers over them."""

    folder: Path
    images: dict[str, str]  # "site", "aggregator"
    options: str = ""  # of every container, besides those of the programs
    names: dict[str, str] = field(default_factory=dict)  # of containers
    children: list[Child] = field(default_factory=list)

    def prepare(self, patients: int = 40) -> None:
        """Write archives and settings, make homes and networks."""
        tag = f"fedrad-test-{os.getpid()}"
        self.names = {name: f"{tag}-{name}" for name in ("hub", *SITES)}
        for name in ("hub", *SITES):
            home = self.home(name)
            home.mkdir(parents=True, mode=0o700)
            give(home)
        for number, name in enumerate(SITES):
            spec = HospitalSpec(name=name, patients=patients, size=64)
            write_hospital(self.data(name), spec, seed=SEED + number)
            output("podman", "network", "create", "--internal", self.network(name))
        ways = " ".join(f"--network {self.network(name)}" for name in SITES)
        self._settings("hub", "aggregator", f"{ways} --network-alias hub", "")
        for name in SITES:
            more = f"FEDRAD_DATA={self.data(name)}\n"
            self._settings(name, "site", f"--network {self.network(name)}", more)

    def _settings(self, name: str, image: str, network: str, more: str) -> None:
        (self.folder / f"{name}.env").write_text(
            f"FEDRAD_IMAGE={self.images[image]}\nFEDRAD_HOME={self.home(name)}\n{more}"
            f"FEDRAD_NAME={self.names[name]}\nFEDRAD_MEMORY=2g\nFEDRAD_PORT=127.0.0.1:{free_port()}\n"
            f'FEDRAD_OPTIONS="{network} {self.options}"\n'
        )

    def home(self, name: str) -> Path:
        """Return a home's folder on this host."""
        return self.folder / name / "home"

    def data(self, name: str) -> Path:
        """Return a hospital's archive."""
        return self.folder / name / "data"

    def network(self, name: str) -> str:
        """Return the network between a hospital and the coordinator."""
        return f"{self.names['hub']}-{name}"

    def environment(self, name: str) -> dict[str, str]:
        """Return with which variables a program of a host is called."""
        return {**os.environ, "FEDRAD_SETTINGS": str(self.folder / f"{name}.env")}

    def program(self, name: str) -> str:
        """Return the program that a host of this name has."""
        kind = "aggregator" if name == "hub" else "site"
        return str(DOCKER / kind / f"fedrad-{kind}")

    def call(self, name: str, *words: str) -> dict[str, Any]:
        """Call a host's program and return its JSON object."""
        line = (self.program(name), *words, "--json")
        said = output(*line, env=self.environment(name), stdin=subprocess.DEVNULL)
        return dict(json.loads(said))

    def inside(self, name: str, code: str) -> Any:
        """Run Python in a running container; return what it prints, JSON."""
        return json.loads(output("podman", "exec", self.names[name], "python3", "-c", code))

    def paperwork(self, *settings: str) -> None:
        """Do what people do before a study: from ``init`` to both approvals."""
        write_task(self.folder / "task.toml", tiny_task(UNHURRIED, *settings))
        hand_over(self.folder / "task.toml", self.home("hub") / "task.toml")
        where = ("--address", f"hub:{PORT}", "--listen", f"0.0.0.0:{PORT}")
        self.call("hub", "init", *where)
        asked = {name: self._ask(name) for name in SITES}
        for name in SITES:
            hand_over(self.home(name) / "request.json", self.home("hub") / f"{name}.json")
        said = [word for one in asked.values() for word in ("--fingerprint", one["fingerprint"])]
        requests = [f"{name}.json" for name in SITES]
        about = ("--study", STUDY, "--task", "task.toml")
        done = self.call("hub", "enrol", *requests, *about, *said)
        for name in SITES:
            invitation = self.home("hub") / "studies" / STUDY / "invitations" / f"{name}.json"
            hand_over(invitation, self.home(name) / "invitation.json")
            self.call(name, "accept", "invitation.json", "--fingerprint", done["coordinator"])
            self.call(name, "approve", STUDY, "--name", "Dr Ada", "--role", "PI")
            self.call(name, "approve", "--software", "--name", "Bo", "--role", "IT")

    def _ask(self, name: str) -> dict[str, Any]:
        self.call(
            *(name, "init", "--name", name, "--archive", "/data/ARCHIVE"),
            *("--labels", "/data/labels.csv"),
        )
        path = self.home(name) / "site.toml"
        text = path.read_text().replace("min_patients = 50", "min_patients = 1")
        text = text.replace("epsilon_limit = 2.0", "epsilon_limit = 50.0")
        path.write_text(text.replace("delta_limit = 1e-5", "delta_limit = 1e-3"))
        return self.call(name, "join", "--patients", "20")

    def start(self) -> None:
        """Start all containers and wait until every hospital is online."""
        for name in ("hub", *SITES):
            self.start_one(name)
        self.until(lambda: self.online() == set(SITES))

    def start_one(self, name: str) -> None:
        """Start one container; returns at once."""
        log, environment = self.folder / f"{name}.log", self.environment(name)
        line = (self.program(name), "start")
        plan = Plan(name=name, command=line, log=log, environment=environment, grace_s=60.0)
        self.children.append(Child(plan))

    def online(self) -> set[str]:
        """Return the hospitals that are online."""
        try:
            table = self.call("hub", "sites")
        except AssertionError:
            return set()  # its container is being started
        return {row["site"] for row in table["sites"] if row["node"] == "online"}

    def until(self, holds: Callable[[], bool], wait_s: float = 240.0) -> None:
        """Wait until something holds; fail with every log if it does not in time."""
        end_s = time.monotonic() + wait_s
        while not holds():
            assert time.monotonic() < end_s, self.logs()
            assert all(child.alive for child in self.children), self.logs()
            time.sleep(1.0)

    def logs(self) -> str:
        """Return the end of every log."""
        paths = [*self.folder.glob("*.log"), *self.folder.glob("*/home/*/*.log")]
        return "\n".join(f"== {p}\n" + p.read_text(errors="replace")[-2500:] for p in paths)

    def close(self) -> None:
        """End every container, hospitals first, and leave none behind."""
        for child in reversed(self.children):
            child.ask_to_end()
        for child in self.children:
            child.end()
        for name in self.names.values():
            subprocess.run(["podman", "rm", "-f", "-i", name], check=False, capture_output=True)
        for name in SITES:
            output("podman", "network", "rm", "-f", self.network(name))
