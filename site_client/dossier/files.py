"""Every file and key that fedrad keeps at a site: what it is for and who may read it.

``KINDS`` covers all that is ever written below a home; what lies there now is compared with
it, so that a file that nobody described shows.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of one purpose."""

    pattern: str  # below the home, * for any text without /, ** with
    purpose: str
    patients: str = "no"  # whether it holds anything of patients
    keep: str = ""  # what losing it means, where it matters


@dataclass(frozen=True, slots=True)
class Found:
    """One kind with what is there now."""

    kind: Kind
    files: int
    mode: str  # such as 600; several if they differ; empty: none is there


KINDS = (
    Kind("site.toml", "settings: the hospital's word, which outranks every request", keep="backup"),
    Kind("keys/split.key", "secret that deals patients to splits and makes pseudonyms",
         keep="backup; lost: running studies end"),
    Kind("keys/node.key*", "private key: who this site is; signs approvals", keep="backup"),
    Kind("keys/tls.key*", "private key of the connection"),
    Kind("keys/tls.pem*", "this site's certificate (public)"),
    Kind("keys/coordinator-ca.pem*", "who may vouch for the coordinator (public)"),
    Kind("keys/next/*", "new keys while a renewal is under way"),
    Kind("keys/*", "passwords and certificates of the PACS or the proxy that you put here"),
    Kind("request*.json", "what this site sent to join: public keys, the offered number"),
    Kind("ledger.jsonl*", "privacy ledger: what was charged, in a chain of hashes",
         keep="backup; lost: the site declines"),
    Kind("audit.jsonl*", "record of every message and decision, in a chain of hashes",
         keep="backup"),
    Kind("catalogue.parquet", "one row for each image: header values the study needs, keyed names",
         "yes"),
    Kind("quarantine.csv", "files that were set aside, with the reason", "yes: file names"),
    Kind("cache/**", "prepared images, keyed names; may be deleted", "yes: images"),
    Kind("store/**", "images fetched from the PACS", "yes: images"),
    Kind("check.html", "a check for this hospital's eyes, with example images", "yes: images"),
    Kind("dossier*.html", "this page"),
    Kind("state/studies/**", "invitation, task, contract and signed approval of each study",
         keep="backup"),
    Kind("state/software.json", "IT's signed approval of the installed software", keep="backup"),
    Kind("state/charged.json", "what the ledger's lines stand on", keep="backup"),
    Kind("state/withdrawn.json", "who objected, by pseudonym", "yes: pseudonyms"),
    Kind("state/rosters/**", "who took part in which answer, by pseudonym", "yes: pseudonyms"),
    Kind("state/in_use/**", "which prepared images a study uses, by pseudonym",
         "yes: pseudonyms"),
    Kind("state/frozen/**", "sealed cohorts: digests of files, by pseudonym", "yes: pseudonyms"),
    Kind("state/feasibility/**", "noised records that were shared before a contract"),
    Kind("state/exports/**", "records of copies for people", "yes: pseudonyms"),
    Kind("state/fetched.jsonl", "what came from the PACS", "yes: identifiers of series"),
    Kind("state/figures/**", "exact sums of the last measured model, for the site's own page"),
    Kind("state/paused.json", "who paused this site, and why"),
    Kind("state/*.lock", "locks"),
    Kind("state/node/**", "the connection: a lock, a secret between two programs here, what the "
         "coordinator said it speaks"),
    Kind("state/replies/**", "answers kept until the next round, to send again"),
    Kind("logs/**", "logs of the programs: numbers and names of settings"),
)  # fmt: skip


def on_disk(home: Path) -> list[Found]:
    """Return every kind with what of it is there, in the order of ``KINDS``."""
    found: dict[Kind, list[Path]] = {kind: [] for kind in KINDS}
    for path in _files(home):
        kind = kind_of(path.relative_to(home).as_posix())
        if kind is not None:
            found[kind].append(path)
    return [Found(kind, len(paths), _modes(paths)) for kind, paths in found.items()]


def undescribed(home: Path) -> list[str]:
    """Return files below a home that no kind describes."""
    names = [path.relative_to(home).as_posix() for path in _files(home)]
    return sorted(name for name in names if kind_of(name) is None)


def kind_of(name: str) -> Kind | None:
    """Return what a file below the home is; ``None`` if nobody described it."""
    return next((kind for kind in KINDS if _fits(name, kind.pattern)), None)


def _fits(name: str, pattern: str) -> bool:
    if pattern.endswith("/**"):
        return name.startswith(pattern.removesuffix("**"))
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


def _files(home: Path) -> Iterator[Path]:
    yield from (path for path in home.rglob("*") if path.is_file() and not path.is_symlink())


def _modes(paths: list[Path]) -> str:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in paths}
    return ", ".join(f"{mode:03o}" for mode in sorted(modes))
