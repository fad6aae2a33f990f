"""Real files of many makers: how many are read, by transfer syntax, beside pydicom and dcmtk.

Every file is catalogued and its pixels decoded as for training, in worker processes; the same file
is decoded by pydicom with whatever decoder it chooses, and by dcmtk's programs. Counted
are files whose stored values are equal, and files that another reads and fedrad does not.
Run: ``python benchmarks/real_files.py FOLDER``; dcmtk must be installed.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID

from site_client.archive.readers import Answer, Readers, Request
from site_client.catalogue import look_at
from site_client.limits import Reading

Array = NDArray[Any]
ABOUT_PATIENTS = ("duplicate-instance", "instance-conflict", "patient-id-unusable")
READ = "site_client.archive.instances:stored_values"
DCMTK = (
    ("dcmconv", "+te"),
    ("dcmdrle", "+te"),
    ("dcmdjpeg", "+te", "+cn"),  # +cn: the colours as they are stored
    ("dcmdjpls", "+te"),
)


@dataclass(frozen=True)
class File:
    """One file: how it is stored, why fedrad refuses it, and which values each reader gets."""

    name: str
    syntax: str
    reason: str
    ours: Array | None
    pydicom: Array | None
    dcmtk: Array | None


def main() -> None:
    """Print the table, and the files on which readers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    reasons = _reasons(folder)
    files = [_file(folder, name, *told) for name, told in reasons.items()]
    print(f"pydicom {pydicom.__version__}, {_version()}, {time.perf_counter() - began:.0f} s\n")
    print(
        "| transfer syntax | files | fedrad | why not | same by pydicom | same by dcmtk |", end=""
    )
    print(" pydicom alone | dcmtk alone |\n|---|---|---|---|---|---|---|---|")
    for syntax in sorted({file.syntax for file in files}):
        _print_row(syntax, [file for file in files if file.syntax == syntax])
    _print_row("all", files)
    for file in files:
        _print_difference(file)


def _reasons(folder: Path) -> dict[str, tuple[str, Array | None]]:
    """Return why each file is refused, if it is, and else its stored values."""
    table = look_at(folder)
    found: dict[str, tuple[str, Array | None]] = {}
    with Readers(Reading()) as readers:
        for name, reason in table[["file", "reason"]].itertuples(index=False):
            if reason and reason not in ABOUT_PATIENTS:
                found[name] = (reason, None)
                continue
            (told,) = readers.each([Request(READ, {"path": str(folder / name)})])
            is_read = isinstance(told, Answer)
            found[name] = ("", told.arrays[0]) if is_read else (told.reason, None)
    return found


def _file(folder: Path, name: str, reason: str, ours: Array | None) -> File:
    path = folder / name
    header, theirs = None, None
    with suppress(Exception):
        header = pydicom.dcmread(path, force=True)
        theirs = np.asarray(header.pixel_array)
    syntax = UID(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", "none")).name
    return File(name, syntax, reason, ours, theirs, _by_dcmtk(path))


def _by_dcmtk(path: Path) -> Array | None:
    """Return what the first of dcmtk's programs that can makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "plain.dcm")
        for program in DCMTK:
            command = [*program, str(path), str(plain)]
            done = subprocess.run(command, capture_output=True, check=False, timeout=60)
            if done.returncode == 0 and plain.exists():
                with suppress(Exception):
                    return np.asarray(pydicom.dcmread(plain).pixel_array)
            plain.unlink(missing_ok=True)
    return None


def _print_row(syntax: str, files: list[File]) -> None:
    why = Counter(file.reason for file in files if file.reason)
    cells = [
        syntax,
        len(files),
        sum(not file.reason for file in files),
        ", ".join(f"{number} {reason}" for reason, number in sorted(why.items())),
        _agreeing([(file.ours, file.pydicom) for file in files]),
        _agreeing([(file.ours, file.dcmtk) for file in files]),
        sum(file.ours is None and file.pydicom is not None for file in files),
        sum(file.ours is None and file.dcmtk is not None for file in files),
    ]
    print(f"| {' | '.join(map(str, cells))} |")


def _agreeing(pairs: list[tuple[Array | None, Array | None]]) -> str:
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    return f"{sum(np.array_equal(a, b) for a, b in both)} of {len(both)}"


def _print_difference(file: File) -> None:
    for reader, theirs in (("pydicom", file.pydicom), ("dcmtk", file.dcmtk)):
        if file.ours is None and theirs is not None:
            print(f"{reader} alone reads {file.name}: {file.reason}")
        elif file.ours is not None and theirs is not None:
            if file.ours.shape != theirs.shape:
                print(f"{reader} {file.name}: {theirs.shape}, here {file.ours.shape}")
            elif not np.array_equal(file.ours, theirs):
                apart = np.abs(file.ours.astype(float) - theirs.astype(float)).max()
                print(f"{reader} {file.name}: up to {apart:g} apart ({file.syntax})")


def _version() -> str:
    said = subprocess.run(["dcmconv", "--version"], capture_output=True, text=True, check=True)
    return " ".join(said.stdout.split()[1:4])


if __name__ == "__main__":
    main()
