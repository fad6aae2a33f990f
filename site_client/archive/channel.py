"""Messages between the process that asks and those that read: JSON, and arrays beside it.

Nothing is unpickled: what comes back was made by code that parsed a stranger's file. A message
is a length and JSON; each array lies in a piece of memory of its own (``memfd_create``), whose
descriptor travels with the message; it is sealed, so that nobody can cut or change it while
the receiver reads it in place. Linux only.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ARRAYS = 2
_MOST_BYTES = 1 << 25  # of one message, arrays apart
_DTYPES = ("float32", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float64")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE  # else reading could fault
_LENGTH = Struct("<I")
_ARRAYS = "arrays"


class BrokenChannelError(Exception):
    """The other process is gone, or what it sent is no message."""


class MessageTooLargeError(BrokenChannelError):
    """More than one message may hold; nothing of it was sent."""


def send(channel: socket.socket, message: Any, arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Send one message.

    Raises:
        BrokenChannelError: Nobody is there to receive it.
        MessageTooLargeError: It is too large.
    """
    shapes = [[str(array.dtype), list(array.shape)] for array in arrays]
    content = json.dumps([message, shapes], ensure_ascii=True).encode("ascii")
    if len(content) > _MOST_BYTES or len(arrays) > MOST_ARRAYS:
        raise MessageTooLargeError
    if not all(str(array.dtype) in _DTYPES for array in arrays):
        raise TypeError("an array of numbers that no message holds")
    memories = [_memory_of(array) for array in arrays]
    try:
        socket.send_fds(channel, [_LENGTH.pack(len(content))], memories)
        channel.sendall(content)
    except OSError:
        raise BrokenChannelError from None
    finally:
        for memory in memories:
            os.close(memory)


def receive(channel: socket.socket) -> tuple[Any, list[NDArray[Any]]]:
    """Wait for one message and its arrays.

    Raises:
        BrokenChannelError: The other process is gone, or what it sent is no message.
    """
    memories: list[int] = []
    try:
        head, memories, _, _ = socket.recv_fds(channel, _LENGTH.size, MOST_ARRAYS)
        if len(head) != _LENGTH.size or _LENGTH.unpack(head)[0] > _MOST_BYTES:
            raise BrokenChannelError
        message, shapes = json.loads(_exactly(channel, _LENGTH.unpack(head)[0]))
        described = zip(memories, shapes, strict=True)
        return message, [_array_of(memory, *shape) for memory, shape in described]
    except (OSError, ValueError, TypeError, RecursionError):
        raise BrokenChannelError from None
    finally:
        for memory in memories:
            os.close(memory)


def _exactly(channel: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = channel.recv(min(length - len(parts), 1 << 20))
        if not part:
            raise BrokenChannelError
        parts += part
    return bytes(parts)


def _memory_of(array: NDArray[Any]) -> int:
    memory = os.memfd_create("array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    left = np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")
    while left:
        left = left[os.write(memory, left) :]
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    return memory


def _array_of(memory: int, dtype: str, shape: list[int]) -> NDArray[Any]:
    if dtype not in _DTYPES or not all(isinstance(length, int) and length >= 0 for length in shape):
        raise BrokenChannelError
    wanted = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    sealed = fcntl.fcntl(memory, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    if not sealed or os.fstat(memory).st_size != wanted:
        raise BrokenChannelError
    if not wanted:
        return np.empty(shape, dtype)
    pages = mmap.mmap(memory, wanted, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(pages, dtype).reshape(shape)
