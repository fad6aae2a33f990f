"""Messages between processes: what comes out is what went in, and nothing else is believed."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from site_client.archive.channel import BrokenChannelError, receive, send


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a channel."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.uint8, np.int16]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
    )
)
def test_an_array_arrives_as_it_was_and_may_be_changed(ends: Any, array: Any) -> None:
    send(ends[0], {"text": "ü"}, [array])
    message, (found,) = receive(ends[1])
    assert message == {"text": "ü"}
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    found[...] = 0


@pytest.mark.parametrize(
    "sent",
    [b'\x05\0\0\0{"a":', b"\xff\xff\xff\xff", b"\x02\0\0\0{}", b"\x02\0\0\0[]", b"\x01", b""],
)
def test_what_is_no_message_is_refused(ends: Any, sent: bytes) -> None:
    ends[0].sendall(sent)
    ends[0].close()
    with pytest.raises(BrokenChannelError):
        receive(ends[1])


@pytest.mark.parametrize("shape", ["[2, 2]", "[-1]", "[1e9]", '["4"]'])
def test_memory_that_is_not_sealed_or_not_as_large_as_told_is_refused(
    ends: Any, shape: str
) -> None:
    """Else its owner could cut it while it is read, which ends the reader."""
    memory = os.memfd_create("array", os.MFD_ALLOW_SEALING)
    os.write(memory, bytes(4))
    content = f'[0, [["uint8", {shape}]]]'.encode()
    socket.send_fds(ends[0], [len(content).to_bytes(4, "little")], [memory])
    ends[0].sendall(content)
    os.close(memory)
    with pytest.raises(BrokenChannelError):
        receive(ends[1])
