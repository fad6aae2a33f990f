"""What a site makes of an answer to its greeting that no coordinator of fedrad's would give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from joined import open_hub

from fedrad.errors import ProtocolError
from fedrad.protocol import versions
from site_client.node import greeting
from site_client.node.connector import node_options
from site_client.settings import read_site


class Endless(httpx.SyncByteStream):
    """A body without an end; notes how much of it was taken."""

    taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while self.taken < 1 << 24:
            self.taken += 500
            yield b"x" * 500


def test_an_answer_without_an_end_is_read_to_the_longest_that_there_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined, body = open_hub(tmp_path), Endless()
    joined.enrol()
    joined.accept("east")
    home = joined.home("east")
    door = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body)))
    monkeypatch.setattr(greeting, "http_client", lambda _: door)
    with pytest.raises(ProtocolError, match="no JSON"):
        greeting.greet(home, node_options(home, read_site(home), port=1))
    assert body.taken <= 2 * versions.MOST_BYTES
