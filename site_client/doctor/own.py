"""This machine and this home: keys, software, studies, disk, memory, the GPU.

Looked at before the way out, so that what can be mended here is mended here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509

from fedrad import software
from fedrad.contract import read_contract
from fedrad.errors import DeclinedError, FedradError, SettingsError
from site_client.approvals import APPROVAL, PROPOSED, refuse_unapproved_software
from site_client.machine import read_machine
from site_client.node.connector import KEYS
from site_client.preflight.lines import DAMAGED, POLICY, Line, no, ok, warning
from site_client.settings import SiteSettings
from site_client.study import CONTRACT

_WRITTEN = 4096  # bytes, to see whether the disk takes any
_SHORT_DAYS, _LEAST_GIB, _FEW_GIB = 30, 1.0, 5.0
_ROTATE = "fedrad-site join --rotate asks for a new one; send the coordinator what it writes"


def own_lines(home: Path, settings: SiteSettings, now: datetime) -> Iterator[Line]:
    """Yield what there is to say without the network."""
    yield _software(home, settings)
    yield from _studies(home, now)
    yield from _disk(home)
    yield _memory(home, settings)
    yield _device(settings)


def key_lines(home: Path, settings: SiteSettings, now: datetime) -> Iterator[Line]:
    """Yield whether this site has joined, and what its keys are like."""
    if settings.coordinator is None:
        do = "fedrad-site join, send the coordinator request.json, then fedrad-site accept"
        yield no("joined", "nobody: site.toml has no [coordinator]", do=do, code=POLICY)
        return
    if not has_keys(home):
        missing = [name for name in KEYS if not (home / "keys" / name).is_file()]
        do = "restore keys/ from a backup, or join again"
        yield no("keys", f"missing: {', '.join(missing)}", do=do, code=DAMAGED)
        return
    open_ = [path.name for path in sorted((home / "keys").glob("*.key")) if _is_open(path)]
    if open_:
        do = f"chmod 600 {home / 'keys'}/*.key"
        yield no("keys", f"others on this machine may read {', '.join(open_)}", do=do, code=POLICY)
    else:
        yield ok("joined", f"{settings.coordinator.name} at {settings.coordinator.address}")
    yield _certificate(home / "keys" / "tls.pem", now)


def has_keys(home: Path) -> bool:
    """Whether every key and certificate of a connection is there."""
    return all((home / "keys" / name).is_file() for name in KEYS)


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def _certificate(path: Path, now: datetime) -> Line:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        return no("certificate", f"{path} cannot be read", do=_ROTATE, code=DAMAGED)
    first, last = found.not_valid_before_utc, found.not_valid_after_utc
    here = f"here it is {now:%Y-%m-%d %H:%M} UTC"
    if now > last:
        said = f"this site's expired on {last:%Y-%m-%d %H:%M} UTC; {here}"
        return no("certificate", said, do=f"if the clock is right, {_ROTATE}", code=POLICY)
    if now < first:
        said = f"this site's is good from {first:%Y-%m-%d %H:%M} UTC on; {here}"
        return no("certificate", said, do="set this machine's clock and keep it by NTP")
    left = (last - now).days
    if left < _SHORT_DAYS:
        return warning("certificate", f"this site's ends in {left} days", do=_ROTATE)
    return ok("certificate", f"this site's is good to {last:%Y-%m-%d}")


def _software(home: Path, settings: SiteSettings) -> Line:
    installed = software.app_digest()
    try:
        refuse_unapproved_software(home, settings)
    except DeclinedError:
        listed = ", ".join(digest[:12] for digest in settings.approval.software) or "none"
        found = f"installed {installed[:12]} is not the approved one ({listed})"
        do = "fedrad-site approve --software --diff shows the difference; IT approves with "
        do += "fedrad-site approve --software, or installs the approved release again"
        return no("software", found, do=do, code=POLICY)
    except FedradError as error:
        return no("software", str(error), do="fedrad-site approve --software", code=DAMAGED)
    return ok("software", f"{installed[:12]} is installed and approved")


def _studies(home: Path, now: datetime) -> Iterator[Line]:
    for folder in sorted((home / "state" / "studies").glob("*/")):
        about = f"study {folder.name}"
        if (folder / PROPOSED).exists():
            do = f"fedrad-site approve {folder.name} --diff shows what it proposes"
            yield warning(about, "an invitation waits for a person's word", do=do)
        elif (folder / APPROVAL).exists():
            yield _contract(folder, about, now)


def _contract(folder: Path, about: str, now: datetime) -> Line:
    try:
        conditions = read_contract(folder / CONTRACT).conditions
    except SettingsError as error:
        return no(about, str(error), do="fedrad-site accept and approve again", code=DAMAGED)
    if conditions is None:
        return ok(about, "approved, without an end")
    if conditions.expired(now):
        do = "ask the coordinator for a new invitation, if the study is to go on"
        return warning(about, f"its contract ended on {conditions.expires}", do=do)
    return ok(about, f"approved to {conditions.expires}")


def _disk(home: Path) -> Iterator[Line]:
    try:
        with tempfile.NamedTemporaryFile(dir=home / "state") as file:
            file.write(b"x" * _WRITTEN)
            file.flush()
    except OSError as error:
        do = f"the user that runs fedrad must be able to write below {home}"
        yield no("disk", f"{home / 'state'} cannot be written: {error.strerror}", do=do)
        return
    free = read_machine(home / "state").free_gib
    if free < _LEAST_GIB:
        do = "make room: the ledger, replies and prepared images are written here"
        yield no("disk", f"{free:.1f} GiB free", limit=f"at least {_LEAST_GIB:g}", do=do)
    elif free < _FEW_GIB:
        yield warning("disk", f"{free:.1f} GiB free", do="make room for prepared images")
    else:
        yield ok("disk", f"{free:.1f} GiB free")


def _memory(home: Path, settings: SiteSettings) -> Line:
    here, wanted = read_machine(home).memory_gib, settings.resources.memory_gib
    found = f"{here:.1f} GiB here"
    if wanted > here:
        do = "lower memory_gib in [resources], or give the machine or the container more"
        return no("memory", found, limit=f"[resources] memory_gib {wanted:g}", do=do)
    return ok("memory", found, f"[resources] memory_gib {wanted:g}")


def _device(settings: SiteSettings) -> Line:
    name = settings.resources.device
    if name == "cpu":
        return ok("device", "cpu, as site.toml says")
    from site_client.device import device_of  # torch takes seconds to load

    try:
        device_of(name)
    except SettingsError as error:
        what, _, do = error.problems[0].partition("; ")
        return no("device", what, do=do or "write device = 'cpu' in [resources]")
    return ok("device", f"{name} is there")
