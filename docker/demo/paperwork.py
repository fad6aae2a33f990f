"""Do what people do before a study: ``paperwork.py hub NAME...``, ``paperwork.py site NAME``.

Every step is a command that people would type; the folder ``/post`` stands for their e-mail
and their telephone. It is for the demo alone: in a study people compare fingerprints and
read what they approve.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HOME, POST, DATA = Path("/var/lib/fedrad"), Path("/post"), Path("/data")
TASK = Path("/demo/task.toml")
STUDY, PORT, EPSILON = "demo", 8443, 8.0
WAIT_S = 600


def main(role: str, *names: str) -> None:
    """Play one part, once: a home that is ready is left alone."""
    if (HOME / "ready").exists():
        return
    {"hub": hub, "site": site}[role](*names)
    (HOME / "ready").touch()


def hub(*names: str) -> None:
    """Open the coordinator's home and invite the hospitals that ask."""
    if not (HOME / "aggregator.toml").exists():
        call("fedrad-aggregator", "init", "--address", f"hub:{PORT}", "--listen", f"0.0.0.0:{PORT}")
    asked = [awaited(f"{name}.asks.json") for name in names]
    said = [part for one in asked for part in ("--fingerprint", one["fingerprint"])]
    requests = [str(POST / f"{name}.request.json") for name in names]
    about = ("--study", STUDY, "--task", str(TASK), "--recipient", "the sites of the demo")
    done = call("fedrad-aggregator", "enrol", *requests, *about, *said)
    for name, path in done["invitations"].items():
        send(f"{name}.invitation.json", Path(path).read_text())
        send(f"{name}.invited.json", json.dumps({"fingerprint": done["coordinator"]}))


def site(name: str) -> None:
    """Open a hospital's home, ask to join, and approve what comes back."""
    awaited_file(DATA / "labels.csv")  # written last
    if not (HOME / "site.toml").exists():
        images = ("--archive", str(DATA / "ARCHIVE"), "--labels", str(DATA / "labels.csv"))
        call("fedrad-site", "init", "--name", name, *images)
        decide()
    asked = call("fedrad-site", "join", "--task", str(TASK))
    send(f"{name}.request.json", Path(asked["request"]).read_text())
    send(f"{name}.asks.json", json.dumps(asked))
    heard = awaited(f"{name}.invited.json")["fingerprint"]
    call("fedrad-site", "accept", str(POST / f"{name}.invitation.json"), "--fingerprint", heard)
    call("fedrad-site", "approve", STUDY, "--name", "Dr Demo", "--role", "principal investigator")
    call("fedrad-site", "approve", "--software", "--name", "Demo IT", "--role", "IT security")


def decide() -> None:
    """Allow what the demo's task asks for: the hospital's own decision."""
    path = HOME / "site.toml"
    text = path.read_text().replace("epsilon_limit = 2.0", f"epsilon_limit = {EPSILON}", 1)
    text = text.replace('#device = "cpu"', f'device = "{os.environ.get("DEVICE", "cpu")}"', 1)
    path.write_text(text)


def call(*words: str) -> dict:
    """Run a command and return what it says."""
    print("$", " ".join(words), flush=True)  # noqa: T201  # shown in the demo's log
    line = [*words, "--json"]
    ended = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return json.loads(ended.stdout)


def send(name: str, text: str) -> None:
    """Put a file into the post, whole or not at all."""
    (POST / f"{name}.part").write_text(text)
    (POST / f"{name}.part").rename(POST / name)


def awaited(name: str) -> dict:
    """Return a file of the post as soon as it is there."""
    return json.loads(awaited_file(POST / name).read_text())


def awaited_file(path: Path) -> Path:
    """Wait for a file, and give up after ten minutes."""
    for _ in range(WAIT_S):
        if path.exists():
            return path
        time.sleep(1)
    sys.exit(f"{path} did not come in {WAIT_S} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
