"""The process that reading processes are forked from, and what a reading process does.

Started by ``readers`` as a program of its own, with nothing of the asking process in it: no
torch, no key, no open file. It imports the parsers once, so that a worker that died is replaced
in milliseconds. A worker keeps the limits of ``effort``; what ends it is told by its signal.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from site_client.archive import effort
from site_client.archive.channel import BrokenChannelError, MessageTooLargeError, receive, send
from site_client.archive.faults import UnusableFileError, foreign_bytes
from site_client.limits import Reading

Answer = tuple[Any, Sequence[NDArray[Any]]]  # JSON and arrays
Work = Callable[..., Answer]
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_PARSERS = ("site_client.archive.facts", "pydicom.pixels", "openjpeg", "libjpeg", "rle")
_LAST_BREATHS, _BREATH_S = 1000, 0.001  # a closed channel comes shortly before the end
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Fork and end workers as the process at the other end of descriptor ``argv[1]`` asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold patients
    for name in _PARSERS:
        importlib.import_module(name)
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        while True:
            data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
            if not data:
                return
            verb, _, word = data.decode("ascii").partition(" ")
            if verb == "fork":
                send(control, _fork(control, descriptors[0], word.split(",")))
            else:
                send(control, (_end if verb == "end" else _bury)(int(word)))
    except BrokenChannelError:
        return


def work_on(channel: socket.socket) -> None:
    """Answer one request after the other until nobody asks any more.

    A request is ``[function, arguments, files, shares, limits]``: the function by
    ``module:name``, how many files' time and memory it may take. The answer is
    ``["done", result]`` with arrays, or ``["unusable", reason, detail]``.
    """
    at_rest, known = _address_space(), None
    try:
        while True:
            (name, arguments, files, shares, limits), _ = receive(channel)
            function = _function(name)
            if limits != known:
                effort.use(Reading(**limits))
                known = limits
            _limit_memory(at_rest + int(shares * effort.limits().memory_gib * 2**30))
            _answer(channel, function, arguments, files)
            _limit_memory(resource.RLIM_INFINITY)
    except BrokenChannelError:
        return


def _answer(
    channel: socket.socket, function: Work, arguments: Mapping[str, Any], files: int
) -> None:
    try:
        with foreign_bytes("unreadable"):
            effort.begin(effort.limits().seconds * files)
            try:
                result, arrays = function(**arguments)
            finally:
                effort.end()
            try:
                send(channel, ["done", result], arrays)
            except MessageTooLargeError:
                raise UnusableFileError("too-large", "more than can be handed over") from None
    except UnusableFileError as error:
        send(channel, ["unusable", error.reason, error.detail])


def _fork(control: socket.socket, descriptor: int, preload: list[str]) -> int:
    for name in filter(None, preload):
        importlib.import_module(name)
    worker = os.fork()
    if not worker:
        _become_worker(control, descriptor)
    os.close(descriptor)
    return worker


def _become_worker(control: socket.socket, descriptor: int) -> NoReturn:
    try:
        control.close()
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        work_on(socket.socket(fileno=descriptor))
    finally:
        os._exit(0)


def _end(worker: int) -> int:
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    return 0


def _bury(worker: int) -> int:
    """Return the signal that ended a worker whose channel is closed; 0 if none did."""
    for _ in range(_LAST_BREATHS):
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        time.sleep(_BREATH_S)
    return _end(worker)


def _function(name: str) -> Work:
    module, _, attribute = name.partition(":")
    found: Work = getattr(importlib.import_module(module), attribute)
    return found


def _limit_memory(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * _PAGE


if __name__ == "__main__":
    main()
