"""Whatever a file does to the process that reads it, the next one is read."""

import subprocess
import sys
from pathlib import Path

import pytest

from site_client.archive.faults import UnusableFileError
from site_client.archive.parent import the_nursery
from site_client.archive.readers import Answer, Outcome, Readers, Request
from site_client.limits import Reading

FINE = Request("site_client.archive.facts:read_chunk", {"folder": "", "files": [], "keywords": []})
CRASH = Request("os:abort", {})
SEGFAULT = Request("ctypes:string_at", {"ptr": 1, "size": 9})
LOOP = Request("re:match", {"pattern": "(a+)+$", "string": "a" * 40 + "b"})  # C code, for ever
HANG = Request("signal:pause", {})
GREEDY = Request("builtins:bytearray", {"source": 1 << 31})
SMALL = Reading(seconds=0.2, seconds_per_20_megapixels=0.001)


def said(outcome: Outcome) -> str:
    return "done" if isinstance(outcome, Answer) else outcome.reason


def test_each_way_to_end_a_worker_has_its_reason_and_the_rest_is_answered_in_order() -> None:
    requests = [FINE, CRASH, FINE, LOOP, SEGFAULT, FINE, HANG, GREEDY, FINE]
    with Readers(SMALL) as readers:
        reasons = [said(outcome) for outcome in readers.each(requests)]
    assert reasons == [
        "done", "crashed", "done", "too-slow", "crashed", "done", "too-slow", "too-large", "done",
    ]  # fmt: skip


def test_a_nursery_that_dies_is_replaced() -> None:
    with Readers(SMALL) as readers:
        readers.one(FINE)
        the_nursery().stop()
        assert readers.one(FINE).result == []


def test_workers_end_with_the_block_and_when_somebody_stops_listening() -> None:
    with Readers(SMALL) as readers:
        answers = readers.each([Request("builtins:int", {"no": 1}), *[FINE] * 20])
        assert said(next(answers)) == "unreadable"
    with pytest.raises(UnusableFileError, match="crashed"), Readers(SMALL) as readers:
        readers.one(CRASH)


def test_a_worker_has_the_parsers_and_neither_torch_nor_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import sys, site_client.archive.nursery, site_client.archive.facts;"
        "print(sorted({'torch', 'monai', 'flwr', 'pandas', 'site_client.home'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)
    assert ran.stdout.strip() == b"[]"
    the_nursery().stop()
    monkeypatch.setenv("FEDRAD_SECRET", "x")
    with Readers(SMALL) as readers:
        readers.one(FINE)
        status = Path(f"/proc/{readers.processes()[0]}/environ").read_bytes()
    names = {line.partition(b"=")[0].decode() for line in status.split(b"\0") if line}
    assert "FEDRAD_SECRET" not in names
    assert "OMP_NUM_THREADS" in names
