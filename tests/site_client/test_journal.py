"""The ledger file survives crashes, full disks and two processes, and never counts less."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedrad.clock import SystemClock
from fedrad.errors import AlreadyChargedError, LedgerError, LostLinesError
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Charge, Stream, encode, sealed, spent, unsettled, verify
from site_client.guard import check_anchor
from site_client.journal import FILE, Journal

WRITER = """
import os, sys
from pathlib import Path
from fedrad.clock import SystemClock
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Charge
from site_client.journal import Journal

home, name, rounds, dies = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "dies"
journal = Journal(home, SystemClock())
for number in range(rounds):
    event = Event(mechanism="subsampled-gaussian", sigma=1.5, q=0.25, steps=10)
    reply = f"{name}{number}"
    journal.reserve(Charge(reservation=reply, stream="train", task_hash="t1", event=event,
                           patients_agreed=120))
    if dies:
        os._exit(9)
    journal.commit(reply, steps=7)
"""


FULL = """
import os, sys
from pathlib import Path
from fedrad.clock import SystemClock
from fedrad.errors import LedgerError
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Charge
from site_client.journal import Journal

home = Path(sys.argv[1])
for number in range(1000):
    event = Event(mechanism="subsampled-gaussian", sigma=1.5, q=0.25, steps=10)
    asked = Charge(reservation=f"a{number}", stream="train", task_hash="t1", event=event,
                   patients_agreed=120)
    before = (home / "ledger.jsonl").read_bytes() if number else b""
    try:
        Journal(home, SystemClock()).reserve(asked)
    except LedgerError as error:
        said = str(error)
        break
print((home / "ledger.jsonl").read_bytes() == before, len(Journal(home, SystemClock()).lines()),
      number, said)
"""

SPENDER = """
import sys
from pathlib import Path
from fedrad.clock import SystemClock
from fedrad.privacy.accounting import Event
from fedrad.privacy.ledger import Charge, spent
from site_client.journal import Journal

home, name = Path(sys.argv[1]), sys.argv[2]
journal = Journal(home, SystemClock())
for number in range(40):
    event = Event(mechanism="subsampled-gaussian", sigma=1.5, q=0.1, steps=5)
    asked = Charge(reservation=f"{name}{number}", stream="train", task_hash="t1", event=event,
                   patients_agreed=120)
    with journal.exclusive():
        steps = sum(event.steps for event in spent(journal.lines()).get("train", ()))
        if steps + 5 <= 207:
            journal.reserve(asked)
"""

SLEEPER = WRITER.replace(
    "    if dies:", "    print('reserved', flush=True); time.sleep(60)\n    if dies:"
)
SLEEPER = SLEEPER.replace("import os, sys", "import os, sys, time")


class BackwardClock(SystemClock):
    """A clock that was set back to 1970."""

    def now(self) -> datetime:
        """Return the same moment for ever."""
        return datetime(1970, 1, 1, tzinfo=UTC)


def charge(reply: str = "a1", stream: Stream = "train", steps: int = 10) -> Charge:
    event = Event(mechanism="subsampled-gaussian", sigma=1.5, q=0.25, steps=steps)
    return Charge(
        reservation=reply, stream=stream, task_hash="t1", event=event, patients_agreed=120
    )


def journal(home: Path) -> Journal:
    return Journal(home, SystemClock())


def writer(home: Path, name: str, rounds: int, fate: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(home), name, str(rounds), fate])


def train_steps(home: Path) -> list[int]:
    return [event.steps for event in spent(journal(home).lines()).get("train", ())]


def test_every_line_is_on_disk_before_the_call_returns(tmp_path: Path) -> None:
    book = journal(tmp_path)
    assert book.head == ""
    reserved = book.reserve(charge())
    on_disk = (tmp_path / FILE).read_bytes()
    assert on_disk == encode(reserved) + b"\n"
    committed = book.commit("a1", steps=6)
    assert book.head == committed.hash == journal(tmp_path).head
    assert [json.loads(text)["kind"] for text in (tmp_path / FILE).open()] == ["reserve", "commit"]
    assert train_steps(tmp_path) == [6]


def test_the_ledger_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    journal(tmp_path).reserve(charge())
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_release_is_one_line_and_happens_once(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.release(charge(stream="audit", steps=1))
    with pytest.raises(AlreadyChargedError, match="send the kept reply again"):
        journal(tmp_path).release(charge(stream="audit", steps=1))
    assert len(book.lines()) == 1


def test_work_that_dies_counts_in_full_and_its_retry_counts_beside_it(tmp_path: Path) -> None:
    assert writer(tmp_path, "a", 1, "dies").wait() == 9
    assert train_steps(tmp_path) == [10]
    assert writer(tmp_path, "a", 1, "lives").wait() == 0
    assert train_steps(tmp_path) == [10, 7]


def test_processes_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    writers = [writer(tmp_path, name, 25, "lives") for name in "ab"]
    assert [process.wait() for process in writers] == [0, 0]
    lines = journal(tmp_path).lines()
    assert len(lines) == 100
    assert verify(lines).head == lines[-1].hash
    assert train_steps(tmp_path) == [7] * 50


def test_nobody_spends_between_a_look_and_a_reservation(tmp_path: Path) -> None:
    """Eight threads, each with its own journal, see room for three."""

    def spend_if_room(name: str) -> None:
        book = journal(tmp_path)
        with book.exclusive():
            if len(book.lines()) < 3:
                book.reserve(charge(name))

    threads = [threading.Thread(target=spend_if_room, args=(f"r{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal(tmp_path).lines()) == 3


@pytest.mark.parametrize("kept", [1, 40, 300, -2])
def test_a_torn_commit_leaves_its_reservation_counted_in_full(tmp_path: Path, kept: int) -> None:
    book = journal(tmp_path)
    book.reserve(charge())
    whole = (tmp_path / FILE).read_bytes()
    book.commit("a1", steps=1)
    torn = (tmp_path / FILE).read_bytes()[len(whole) :][:kept]
    (tmp_path / FILE).write_bytes(whole + torn)
    assert train_steps(tmp_path) == [10]
    assert (tmp_path / FILE).read_bytes() == whole
    (copy,) = tmp_path.glob(f"{FILE}.torn-*")
    assert copy.read_bytes() == torn
    journal(tmp_path).commit("a1", steps=4)
    assert train_steps(tmp_path) == [4]


def test_a_last_line_that_lacks_only_its_newline_is_kept(tmp_path: Path) -> None:
    journal(tmp_path).reserve(charge())
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-1])
    assert train_steps(tmp_path) == [10]
    assert (tmp_path / FILE).read_bytes() == whole


def damaged_ledgers() -> dict[str, object]:
    def changed(lines: list[bytes]) -> list[bytes]:
        return [lines[0].replace(b'"steps":10', b'"steps":01'), *lines[1:]]

    def cheaper(lines: list[bytes]) -> list[bytes]:
        return [lines[0].replace(b'"steps":10', b'"steps":1'), *lines[1:]]

    return {
        "not JSON": changed,
        "hash is not that of its content": cheaper,
        "does not follow": lambda lines: lines[1:],
        "it does not follow line 1": lambda lines: [*lines[:2], *lines[3:]],
        "is not JSON": lambda lines: [*lines, b"\0\0\0\n"],
    }


@pytest.mark.parametrize("reason", damaged_ledgers())
def test_damage_is_refused_with_the_way_out(tmp_path: Path, reason: str) -> None:
    book = journal(tmp_path)
    for name in ("a1", "a2"):
        book.reserve(charge(name))
        book.commit(name, steps=5)
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    damage = damaged_ledgers()[reason]
    (tmp_path / FILE).write_bytes(b"".join(damage(lines)))  # type: ignore[operator]
    with pytest.raises(LedgerError, match=f"(?s)damaged.*{reason}.*restore it from a backup"):
        journal(tmp_path).reserve(charge("a3"))


def test_a_ledger_cut_back_behind_a_running_site_is_noticed(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.reserve(charge("a1"))
    before = (tmp_path / FILE).read_bytes()
    book.reserve(charge("a2"))
    (tmp_path / FILE).write_bytes(before)
    for _ in range(2):
        with pytest.raises(LedgerError, match="lines that were in it are gone"):
            book.reserve(charge("a3"))
    assert (tmp_path / FILE).read_bytes() == before


def test_another_ledger_put_in_its_place_is_noticed(tmp_path: Path) -> None:
    book = journal(tmp_path)
    line = book.reserve(charge("a1"))
    (tmp_path / FILE).write_bytes(encode(sealed(replace(line, steps=2))) + b"\n")
    with pytest.raises(LedgerError, match="are gone"):
        book.lines()


def test_a_disk_that_fills_charges_nothing_and_leaves_the_ledger_whole(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.reserve(charge("a1"))
    whole = (tmp_path / FILE).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, hard))
    try:
        with pytest.raises(LedgerError, match=r"nothing may be spent.*make room on the disk"):
            book.reserve(charge("a2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / FILE).read_bytes() == whole
    assert book.reserve(charge("a2")).seq == 1


def test_a_clock_that_jumps_back_changes_no_order(tmp_path: Path) -> None:
    journal(tmp_path).reserve(charge("a1"))
    line = Journal(tmp_path, BackwardClock()).reserve(charge("a2"))
    assert (line.seq, line.time) == (1, "1970-01-01T00:00:00.000Z")
    assert train_steps(tmp_path) == [10, 10]


def test_a_home_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be opened: No such file"):
        journal(tmp_path / "nowhere").lines()


def test_a_refused_commit_writes_nothing(tmp_path: Path) -> None:
    book = journal(tmp_path)
    book.reserve(charge(steps=3))
    with pytest.raises(LedgerError, match="4 steps of 3 reserved"):
        book.commit("a1", steps=4)
    with pytest.raises(LedgerError, match="a2 is not open"):
        book.commit("a2", steps=1)
    assert len(book.lines()) == 1


def test_a_kill_between_reserve_and_commit_counts_in_full(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLEEPER, str(tmp_path), "a", "1", "lives"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reserved\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert train_steps(tmp_path) == [10]
    assert [line.reservation for line in unsettled(journal(tmp_path).lines())] == ["a0"]
    journal(tmp_path).reserve(charge("a1"))  # the lock died with its holder


def test_processes_that_decide_and_reserve_at_once_stay_within_the_limit(tmp_path: Path) -> None:
    """Both see room again and again; together they take what one alone would get."""
    commands = [[sys.executable, "-c", SPENDER, str(tmp_path), name] for name in "ab"]
    spenders = [subprocess.Popen(command) for command in commands]
    assert [spender.wait() for spender in spenders] == [0, 0]
    assert sum(train_steps(tmp_path)) == 205
    assert {line.reservation[0] for line in journal(tmp_path).lines()} == {"a", "b"}


def test_a_disk_without_room_refuses_the_charge_and_keeps_every_line(tmp_path: Path) -> None:
    """A file system of 16 KiB, not a limit on one file: the system says ENOSPC."""
    inside = f'mount -t tmpfs -o size=16k tmpfs {tmp_path} && exec {sys.executable} -c "$0" $1'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", inside, FULL, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip("a private file system cannot be mounted here")
    whole, lines, number, *sentence = ended.stdout.split()
    assert (whole, lines) == ("True", number)
    assert int(lines) > 5
    assert re.search(r"(No space left|bytes written); make room on the disk", " ".join(sentence))


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_a_ledger_cut_in_the_middle_keeps_its_whole_lines_and_the_anchor_misses_the_rest(
    tmp_path: Path, cut: float
) -> None:
    book = journal(tmp_path)
    for name in ("a1", "a2", "a3"):
        book.reserve(charge(name))
        book.commit(name, steps=9)
    lines, head = book.lines(), book.head
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: int(len(whole) * cut)])
    kept = journal(tmp_path).lines()
    assert kept == lines[: len(kept)]
    assert len(kept) < 6
    with pytest.raises(LostLinesError, match=f"hash {head}"):
        check_anchor(head, kept)


def test_zeros_that_a_crashed_file_system_left_are_not_read_as_lines(tmp_path: Path) -> None:
    """Some file systems lengthen a file before its content is there."""
    journal(tmp_path).reserve(charge())
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + b"\0" * 512)
    assert train_steps(tmp_path) == [10]
    assert (tmp_path / FILE).read_bytes() == whole
