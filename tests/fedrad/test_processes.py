"""Programs that are kept: started again, ended with all they started, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fedrad.processes import Child, Keeper, Plan, keep_logs_short

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")


def plan(tmp_path: Path, *command: str, **more: object) -> Plan:
    return Plan(name="test", command=command or SLEEP, log=tmp_path / "log", **more)


def wait_for(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def gone(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    kept = Keeper(plan(tmp_path), shortest_s=0.01, longest_s=0.05)
    kept.tend()
    yield kept
    kept.end()


def test_a_child_that_is_killed_is_started_again(keeper: Keeper) -> None:
    for start in (1, 2, 3):
        assert keeper.starts == start
        os.kill(keeper.child.process.pid, signal.SIGKILL)
        wait_for(keeper.tend)


def test_a_child_that_keeps_dying_is_started_ever_more_rarely(tmp_path: Path) -> None:
    kept = Keeper(plan(tmp_path, "/bin/false"), shortest_s=1000.0, longest_s=4000.0)
    waits = []
    for _ in range(4):
        kept._next_s = 0.0
        kept.tend()
        wait_for(lambda: not kept.alive)
        before = time.monotonic()
        assert not kept.tend()
        waits.append(round((kept._next_s - before) / 1000))
    assert waits == [1, 2, 4, 4]


def test_a_child_that_dies_is_told_by_name_with_the_log_that_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    keeper = Keeper(Plan(name="gateway", command=(sys.executable, "-c", "exit(3)"), log=log))
    keeper.tend()
    assert keeper.child is not None
    keeper.child.process.wait(60)
    keeper.tend()
    assert caplog.messages[-1].startswith("gateway ended with status 3; started again in 0.5 s")
    assert caplog.messages[-1].endswith(f"see {log}")


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True)"
    )
    child = Child(plan(tmp_path, sys.executable, "-c", code + "; p.wait()", read=True))
    below = int(child.process.stdout.readline())
    child.end()
    wait_for(lambda: gone(below))
    assert not child.alive


def test_a_child_that_does_not_listen_is_ended(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    more = "; time.sleep(600)"
    child = Child(plan(tmp_path, sys.executable, "-c", code + more, read=True, grace_s=0.1))
    child.process.stdout.readline()
    child.end()
    assert child.process.returncode == -signal.SIGKILL


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """Whoever kills the command that was started leaves no program behind."""
    code = (
        "import sys, time; from pathlib import Path; from fedrad.processes import *;"
        f"c = Child(Plan(name='x', command={SLEEP!r}, log=Path({str(tmp_path / 'log')!r})));"
        "print(c.process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    below = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_for(lambda: gone(below))


def test_a_secret_is_given_where_no_other_process_reads_it(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read()[::-1])"
    child = Child(plan(tmp_path, sys.executable, "-c", code, given=b"secret", read=True))
    assert child.process.stdout.read() == b"terces\n"
    assert b"secret" not in b" ".join(map(str.encode, child.process.args))
    child.end()


def test_a_child_that_wants_more_memory_than_it_may_have_fails_alone(tmp_path: Path) -> None:
    """A question of any size must not take the memory of the hospital's machine."""
    greedy = (sys.executable, "-S", "-c", "bytearray(600 << 20)")
    free = Child(plan(tmp_path, *greedy))
    kept = Child(plan(tmp_path, *greedy, memory=200 << 20))
    assert (free.process.wait(), kept.process.wait()) == (0, 1)
    assert "MemoryError" in (tmp_path / "log").read_text()


def test_a_log_that_grew_too_long_is_moved_while_its_program_writes(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with path.open("ab", buffering=0) as file:
        file.write(b"old\n" * 100)
        keep_logs_short(tmp_path, most=1000)
        keep_logs_short(tmp_path, most=300)
        file.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "run.log.1").read_bytes() == b"old\n" * 100
