"""Kill a run without a word in the middle of a round, once, and start it again.

What a power cut does to a coordinator: the process and its workers are gone between one
instruction and the next. The run is a process of its own, so that what is killed is real.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from aggregator.run_folder import DATABASE

_PROGRAM = "from simulations.cli import app; app()"
_LOOK_S = 0.02
_KEPT = 1  # answers of the round that lie on disk when it is killed, at least


def run_and_kill(
    words: Sequence[str], folder: Path, number: int, *, say: Callable[[str], None]
) -> int:
    """Run ``fedrad-sim`` with ``words``, kill it in round ``number`` and run it again.

    Args:
        words: The command's own words, ``--fresh`` at most once among them.
        folder: Its run folder.
        number: The round; one that never comes is no error, and nothing is killed.
        say: Who is told.

    Returns:
        The exit code of the last start.
    """
    with _started(words) as process:
        while process.poll() is None:
            if _in_the_middle(folder, number):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                say(f"killed in the middle of round {number}; the same command goes on")
                break
            time.sleep(_LOOK_S)
    if process.returncode != -signal.SIGKILL:
        return process.returncode
    with _started([word for word in words if word != "--fresh"]) as again:
        return again.wait()


def _started(words: Sequence[str]) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-c", _PROGRAM, *words]
    return subprocess.Popen(line, start_new_session=True)  # noqa: S603  # our own command


def _in_the_middle(folder: Path, number: int) -> bool:
    """Whether the round is open and an answer of it is on disk."""
    path = folder / DATABASE
    if not path.exists():
        return False
    question = (
        "select (select count(*) from replies where round = ?1 and phase = 'train'), "
        "(select state from rounds where round = ?1)"
    )
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            kept, state = database.execute(question, (number,)).fetchone()
    except sqlite3.Error:  # it is just being made
        return False
    return bool(kept >= _KEPT and state == "asked")
