"""What must hold for containers of a study that runs, whatever their images are."""

from __future__ import annotations

import subprocess
from pathlib import Path

from contained import DOCKER, PORT, SITES, USER, Contained, output

_STATUS = """
import json, os
words = dict(line.split(":", 1) for line in open("/proc/self/status"))
def fails(path):
    try: open(path, "w")
    except OSError: return True
    os.remove(path)
    return False
mounts = {line.split()[4]: line.split()[5] for line in open("/proc/self/mountinfo")}
print(json.dumps({
    "uid": os.getuid(),
    "gid": os.getgid(),
    "capabilities": [int(words[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")],
    "no new privileges": int(words["NoNewPrivs"]),
    "seccomp": int(words["Seccomp"]),
    "root refuses": all(map(fails, ("/x", "/etc/x", "/usr/x", "/opt/x"))),
    "home takes": not fails("/var/lib/fedrad/x"),
    "tmp": mounts["/tmp"].split(","),
}))
"""
_LISTENING = """
import json, socket
found = []
for name, size in (("tcp", 8), ("tcp6", 32)):
    for line in open(f"/proc/net/{name}").readlines()[1:]:
        host, port = line.split()[1].split(":")
        if line.split()[3] == "0A":
            found.append([host, int(port, 16)])
print(json.dumps(found))
"""
_REACHES = """
import json, socket
def reaches(host, port):
    try: socket.create_connection((host, port), timeout=3).close()
    except OSError as error: return type(error).__name__
    return True
print(json.dumps([reaches(*pair) for pair in PAIRS]))
"""
_DATA = """
import json
mounts = {line.split()[4]: line.split()[5] for line in open("/proc/self/mountinfo")}
found = []
for path in ("/data/x", "/data/labels.csv"):
    try: open(path, "a")
    except OSError: found.append(path)
print(json.dumps([found, mounts["/data"].split(",")[0]]))
"""
LOOPBACK = {  # as /proc/net/tcp and tcp6 write 127.0.0.1, ::ffff:127.0.0.1 and ::1
    "0100007F",
    "0000000000000000FFFF00000100007F",
    "00000000000000000000000001000000",
}


def a_study_runs_to_its_report(study: Contained) -> None:
    """From hospitals that are online to the report."""
    ended = study.call("hub", "run")
    assert ended["outcome"] == "completed", study.logs()
    report = study.home("hub") / "runs" / "demo" / "report.html"
    assert report.stat().st_size > 10_000
    for name in SITES:
        ledger = (study.home(name) / "ledger.jsonl").read_text()
        assert '"reserve"' in ledger
        assert '"commit"' in ledger


def nothing_is_allowed(study: Contained, name: str) -> None:
    """Not root, no capability, nothing gained, nothing written but the home and /tmp."""
    found = study.inside(name, _STATUS)
    assert (found["uid"], found["gid"]) == (USER, USER)
    assert found["capabilities"] == [0, 0, 0, 0]
    assert found["no new privileges"] == 1
    assert found["seccomp"] == 2  # a filter: podman's default profile
    assert found["root refuses"]
    assert found["home takes"]
    assert {"noexec", "nosuid", "nodev"} <= set(found["tmp"])
    limits = output(
        *("podman", "inspect", "--format"),
        "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}}",
        study.names[name],
    )
    assert limits.split() == [str(2 * 2**30), "512", "2000000000"]


def images_are_read_only(study: Contained) -> None:
    """The archive cannot be changed, whoever owns it on the host."""
    assert study.inside("east", _DATA) == [["/data/x", "/data/labels.csv"], "ro"]


def only_the_gateway_listens(study: Contained) -> None:
    """A hospital listens on its loopback, the coordinator on one port beyond it."""
    for name in SITES:
        found = study.inside(name, _LISTENING)
        assert found, "not even the node's loopback port"
        assert {host for host, _ in found} <= LOOPBACK, found
    found = study.inside("hub", _LISTENING)
    assert {port for host, port in found if host not in LOOPBACK} == {PORT}, found


def one_way_out(study: Contained) -> None:
    """A hospital's network has the coordinator's gateway in it, and no way to anywhere else."""
    addresses = {name: _address(study, name) for name in SITES}
    pairs = [("hub", PORT), ("hub", 9443), (addresses["north"], PORT), ("192.0.2.1", 443)]
    found = study.inside("east", f"PAIRS = {pairs!r}\n{_REACHES}")
    assert found[0] is True
    assert True not in found[1:]


def all_are_well(study: Contained) -> None:
    """The check that the image's HEALTHCHECK calls."""
    for name in ("hub", *SITES):
        program = Path(study.program(name)).name
        said = output("podman", "exec", study.names[name], program, "health")
        assert said.strip() == "all is well"
        text = (DOCKER / f"{program.removeprefix('fedrad-')}.Dockerfile").read_text()
        assert f'CMD ["{program}", "health"]' in text


def a_stop_is_orderly(study: Contained, name: str) -> None:
    """``podman stop`` ends a site with status 0, before it would be killed."""
    [child] = [child for child in study.children if child.plan.name == name]
    output("podman", "stop", "--time", "50", study.names[name])
    assert child.process.wait(60) == 0, study.logs()
    study.children.remove(child)
    left = subprocess.run(
        ["podman", "container", "exists", study.names[name]], check=False, capture_output=True
    )
    assert left.returncode == 1


def _address(study: Contained, name: str) -> str:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return output("podman", "inspect", "--format", form, study.names[name]).strip()
