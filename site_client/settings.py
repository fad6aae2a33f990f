"""The hospital's word: ``site.toml`` as frozen dataclasses.

It outranks everything that an aggregator asks. What a person must decide (how much privacy
may be spent, the smallest cohort) has no default. Paths may be relative to the site's home;
``read_site`` makes them absolute. What this version does not enforce is refused rather than
ignored: a hospital must not rely on a limit that nobody keeps.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedrad.errors import SettingsError
from fedrad.hours import hours_problems
from fedrad.settings import read_settings, refuse_problems
from site_client.archive_settings import Archive, inside
from site_client.coordinator_settings import Coordinator
from site_client.export_settings import Deidentify
from site_client.limits import Reading
from site_client.proxy_settings import Proxy

FILE = "site.toml"
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """``[site]``: the site's name in the study."""

    name: str
    hours: str = ""  # when it works, local time; empty: always (fedrad.hours)

    def __post_init__(self) -> None:
        refuse_problems("site", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            yield f"name must be letters, digits, - and _, got {self.name!r}"
        yield from hours_problems(self.hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """``[labels]``: the hospital's own table of labels, if the task asks for one."""

    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientLists:
    """``[patients]``: who is who, and who takes part."""

    mapping: Path | None = None  # CSV: patient, and what it is known by (site_client.mapping)
    include: Path | None = None  # consents, one PatientID a line; absent: everybody
    exclude: Path | None = None  # objections, one PatientID a line; outranks include
    max_studies: int = 200  # of one PatientID; with more it is nobody's
    placeholders: tuple[str, ...] = ()  # PatientIDs that are nobody's, besides the known ones

    def __post_init__(self) -> None:
        refuse_problems("patients", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.max_studies < 1:
            yield f"max_studies must be 1 or more, got {self.max_studies}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyLimits:
    """``[privacy]``: what this hospital agrees to spend, over all its tasks."""

    epsilon_limit: float
    delta_limit: float
    per_task: dict[str, float] = field(default_factory=dict)  # task name -> epsilon limit
    min_patients: int  # the smallest cohort that takes part
    min_noise: float = 0.0  # smallest noise multiplier of a training step
    max_rounds: int
    max_steps: int  # in one round

    def __post_init__(self) -> None:
        refuse_problems("privacy", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.epsilon_limit > 0:
            yield f"epsilon_limit must be greater than 0, got {self.epsilon_limit}"
        if not 0 < self.delta_limit < 1:
            yield f"delta_limit must lie between 0 and 1, got {self.delta_limit}"
        for task, limit in self.per_task.items():
            if not 0 < limit <= self.epsilon_limit:
                yield f"per_task.{task} must lie in (0, epsilon_limit], got {limit}"
        if not self.min_noise >= 0:
            yield f"min_noise must be 0 or more, got {self.min_noise}"
        for name in ("min_patients", "max_rounds", "max_steps"):
            if getattr(self, name) < 1:
                yield f"{name} must be 1 or more, got {getattr(self, name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """``[approval]``: what this hospital has said yes to; empty lists approve nothing."""

    studies: tuple[str, ...] = ()  # task hashes
    feasibility: dict[str, float] = field(default_factory=dict)  # task hash -> a record's epsilon
    software: tuple[str, ...] = ()  # app digests (fedrad.software)

    def __post_init__(self) -> None:
        refuse_problems("approval", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for task, epsilon in self.feasibility.items():
            if not epsilon > 0:
                yield f"feasibility.{task[:12]} must be greater than 0, got {epsilon}"
        if wrong := [digest for digest in self.software if not _DIGEST.fullmatch(digest)]:
            yield f"software must be digests of 64 hexadecimal digits, got {wrong[0]!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """``[resources]``: what a round may use of the machine."""

    memory_gib: float = 4.0  # of the process that works on patients; and of the connection's
    threads: int = 1  # of the network's arithmetic
    device: str = "cpu"  # or cuda, cuda:N; one that is missing is an error
    disk_gib: float = 20.0  # of the cache: prepared images of all tasks
    keep_warm: bool = True  # that process stays between tasks
    task_hours: float = 12.0  # the longest that one task may take, closed hours not counted
    message_mib: float = 2048.0  # the largest message that is taken from the coordinator

    def __post_init__(self) -> None:
        refuse_problems("resources", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for name in ("memory_gib", "threads", "disk_gib", "task_hours", "message_mib"):
            if not getattr(self, name) > 0:
                yield f"{name} must be greater than 0, got {getattr(self, name)}"
        if not _DEVICE.fullmatch(self.device):
            yield f"device must be 'cpu', 'cuda' or 'cuda:N', got {self.device!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """``[splits]``: the share of patients in each split, by keyed hash."""

    train: float = 0.70
    audit: float = 0.15
    window: float = 0.10
    test: float = 0.05

    def __post_init__(self) -> None:
        refuse_problems("splits", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        shares = dataclasses.astuple(self)
        if any(not 0 <= share <= 1 for share in shares):
            yield f"every share must lie in [0, 1], got {list(shares)}"
        elif abs(sum(shares) - 1) > 1e-9:
            yield f"shares must sum to 1, got {sum(shares):g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """The whole of ``site.toml``."""

    site: Identity
    archive: Archive
    labels: LabelFile = LabelFile()
    patients: PatientLists = PatientLists()
    privacy: PrivacyLimits
    approval: Approval = Approval()
    resources: Resources = Resources()
    reading: Reading = field(default_factory=Reading)
    deidentify: Deidentify = field(default_factory=Deidentify)
    splits: Shares = Shares()
    coordinator: Coordinator | None = None  # absent: this site has joined nobody
    proxy: Proxy | None = None  # absent: the way out is direct


def read_site(home: Path) -> SiteSettings:
    """Read ``home/site.toml``; relative paths in it are taken from ``home``.

    Raises:
        SettingsError: Every problem of the file at once.
    """
    home = home.absolute()  # worker processes have another working folder
    if not (home / FILE).exists():
        raise SettingsError(
            str(home / FILE), ("the file does not exist; fedrad-site init --home writes one",)
        )
    settings = read_settings(SiteSettings, home / FILE)
    return dataclasses.replace(
        settings,
        archive=inside(home, settings.archive),
        labels=LabelFile(file=_inside(home, settings.labels.file)),
        patients=dataclasses.replace(
            settings.patients,
            mapping=_inside(home, settings.patients.mapping),
            include=_inside(home, settings.patients.include),
            exclude=_inside(home, settings.patients.exclude),
        ),
        proxy=_proxy(home, settings.proxy),
    )


def _inside(home: Path, path: Path | None) -> Path | None:
    return home / path if path is not None and path != Path() else None


def _proxy(home: Path, proxy: Proxy | None) -> Proxy | None:
    if proxy is None:
        return None
    return dataclasses.replace(proxy, password_file=_inside(home, proxy.password_file))
