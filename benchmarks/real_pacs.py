"""Real PACS programs on loopback, in a network that only this process and they can see.

Orthanc 1.10 listens on every address of the machine, whatever its settings say, so each user
of this module gets a network namespace of its own: no port is shared with anything, and two
test processes may use the same numbers. Needs Linux, root, and Debian's ``orthanc``,
``orthanc-dicomweb``, ``dcmtk`` and ``iproute2``. Every program started here is ended here.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST, WEB_PORT, DICOM_PORT = "127.0.0.1", 8042, 4242
TITLE, OWN_TITLE, OWN_PORT = "ORTHANC", "FEDRAD", 11113
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, see unshare(2)
_START_S = 30.0
STORESCU = "/usr/bin/storescu"  # dcmtk's; pynetdicom installs another one of that name
_DCMQRSCP = f"""NetworkTCPPort = {DICOM_PORT}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
own = ({OWN_TITLE}, {HOST}, {OWN_PORT})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{TITLE} {{folder}}/db RW (200, 1024mb) own
AETable END
"""


def missing_parts() -> list[str]:
    """Return what this machine lacks to run a PACS here; empty if nothing."""
    programs = ("Orthanc", "dcmqrscp", STORESCU, "ip")
    found = [name for name in programs if shutil.which(name) is None]
    found += [] if PLUGIN.exists() else [PLUGIN.name]
    return found + ([] if os.geteuid() == 0 else ["root, for a network namespace"])


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Put this thread, and what it starts from now on, into a network with loopback alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "no network namespace")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        libc.setns(before, _NEW_NETWORK)
        os.close(before)


@dataclass
class Program:
    """A running PACS."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a crash would: Orthanc takes seconds to end in order."""
        self.process.kill()
        self.process.wait(timeout=_START_S)


@contextlib.contextmanager
def orthanc(folder: Path, **settings: Any) -> Iterator[Program]:
    """Run Orthanc with its DICOMweb plugin on ``folder``; ``settings`` go over the defaults."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "orthanc.json"
    file.write_text(json.dumps(_orthanc_settings(folder) | settings))
    log = (folder / "log").open("wb")
    program = Program(subprocess.Popen(["Orthanc", str(file)], stdout=log, stderr=log))
    try:
        _wait_for_orthanc(program, folder)
        yield program
    finally:
        program.kill()
        log.close()


@contextlib.contextmanager
def dcmqrscp(folder: Path) -> Iterator[Program]:
    """Run dcmtk's archive on ``folder``, at the port and for the title of Orthanc."""
    (folder / "db").mkdir(parents=True, exist_ok=True)
    file = folder / "dcmqrscp.cfg"
    file.write_text(_DCMQRSCP.format(folder=folder))
    with (folder / "log").open("wb") as log:
        program = Program(
            subprocess.Popen(["dcmqrscp", "-dhl", "-c", str(file)], stdout=log, stderr=log)
        )
        try:
            _wait_for_port(program, DICOM_PORT)
            yield program
        finally:
            program.kill()


def send(files: list[Path]) -> None:
    """Store DICOM files in a running archive by C-STORE."""
    line = [STORESCU, "-aet", OWN_TITLE, "-aec", TITLE, "-R", HOST, str(DICOM_PORT)]
    subprocess.run([*line, *map(str, files)], check=True, timeout=_START_S)


def fill(files: list[bytes]) -> None:
    """Store DICOM files in a running Orthanc."""
    for content in files:
        request = urllib.request.Request(f"http://{HOST}:{WEB_PORT}/instances", data=content)
        with urllib.request.urlopen(request) as answer:  # noqa: S310  # loopback
            answer.read()


def _orthanc_settings(folder: Path) -> dict[str, Any]:
    own = {"AET": OWN_TITLE, "Host": HOST, "Port": OWN_PORT}
    allowed = dict.fromkeys(("AllowEcho", "AllowFind", "AllowGet", "AllowMove", "AllowStore"), True)
    return {
        "Name": "PACS", "IndexDirectory": str(folder / "db"),
        "StorageDirectory": str(folder / "db"),
        "HttpPort": WEB_PORT, "DicomPort": DICOM_PORT, "DicomAet": TITLE,
        "DicomCheckCalledAet": True, "DicomCheckModalityHost": True,
        "AuthenticationEnabled": False, "RemoteAccessAllowed": False,
        "DicomAlwaysAllowEcho": False, "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowFind": False, "DicomAlwaysAllowGet": False,
        "DicomModalities": {"own": own | allowed},
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "SynchronousCMove": True, "ExecuteLuaEnabled": False,
    }  # fmt: skip


def _wait_for_orthanc(program: Program, folder: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and program.process.poll() is None:
        if b"Orthanc has started" in (folder / "log").read_bytes():
            return
        time.sleep(0.02)
    raise RuntimeError(f"Orthanc did not start: {(folder / 'log').read_text()[-2000:]}")


def _wait_for_port(program: Program, port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and program.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        time.sleep(0.02)
    raise RuntimeError("the archive did not start")
