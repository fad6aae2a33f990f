"""The process that works on patients: ``python -m site_client.node.runner``.

It answers one task after the other with the installed ClientApp and stays warm between
them: libraries, prepared images and the network's fixed part stay in memory. While none is there
it measures the newest model for the hospital's own screen. It can be ended
at any time: what was charged is on disk before a patient is read. Outside the site's hours
it waits between two training steps.

It is told on its standard input, one line of JSON each, and says on its standard output,
one word a line (``worker``), how far it is.
"""

from __future__ import annotations

import json
import logging
import select
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TextIO

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedrad import flower
from fedrad.errors import ProtocolError, SettingsError
from fedrad.flower.tasks import Runtime, answer
from fedrad.logs import begin
from fedrad.protocol.codec import content_bytes, decode_request
from site_client import correspondence
from site_client.app import client_app
from site_client.approvals import refuse_unapproved_software
from site_client.device import device_of
from site_client.node.worker import BEGUN, DONE, LOST, PAUSING, READY, WORKING
from site_client.pausing import works_now
from site_client.round import Site, SiteRuntime
from site_client.settings import read_site

_LOOK_S = 5.0
_log = logging.getLogger(__name__)


def main(home: Path) -> None:
    """Answer what is asked on the standard input until it ends."""
    begin()
    flower.quiet()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    say = _speaker()
    settings = read_site(home)
    refuse_unapproved_software(home, settings)
    device_of(settings.resources.device)
    site = Site(SiteRuntime(home, pause=partial(_wait_for_hours, home, say), looks=True))
    app = installed_app(home, site, say)
    say(READY)
    for line in sys.stdin:
        say(_work(json.loads(line), app))
        if _works(home):
            _look(site)


def installed_app(
    home: Path, site: Site, say: Callable[[str], None]
) -> Callable[[Message, Context], Message]:
    """Return the site's app, which refuses what came too late without reading a patient."""
    app: ClientApp = client_app(lambda _: site.runtime, {site.runtime: site})

    def answered(message: Message, context: Context) -> Message:
        say(BEGUN)
        late_s = _late_s(message)
        if late_s > 0:
            reason = f"the question was answered {late_s:.0f} s after its deadline: not worked on"
            _note_late(home, message, reason)
            return Message(Error(code=flower.REFUSED, reason=reason), reply_to=message)
        begun_s = time.monotonic()
        reply = app(message, context)
        kind, group = message.metadata.message_type, message.metadata.group_id
        _log.info("%s of round %s worked on for %.3f s", kind, group, time.monotonic() - begun_s)
        return reply

    return answered


def _note_late(home: Path, message: Message, reason: str) -> None:
    """Write into the site's record what was asked, and that it came too late."""
    size = content_bytes(message)
    with suppress(ProtocolError):
        correspondence.received(home, decode_request(message)[0], size)
    correspondence.not_answered(home, size, reason)


def _late_s(message: Message) -> float:
    """Return how long after its deadline a request is read; 0 in time, or if nothing says."""
    try:
        deadline_s = float(message.content["fedrad"]["deadline_s"])
    except (KeyError, TypeError, ValueError):
        return 0.0  # the app refuses what is no request
    return max(0.0, time.time() - float(message.metadata.created_at) - deadline_s)


def _work(task: dict[str, str], app: Callable[[Message, Context], Message]) -> str:
    """Answer one task; return whether the answer was handed over."""
    try:
        answer(Runtime(task["address"]), task["token"], b64decode(task["packed"]), app)
    except Exception as error:  # noqa: BLE001  # the edge of this program; its next task is another
        _log.warning("an answer was not handed over: %s", type(error).__name__)
        return LOST
    return DONE


def _look(site: Site) -> None:
    """Measure the newest model for the site's own screen until the next task comes.

    The launcher sends none before it heard of the last one, so none waits in a buffer.
    """
    try:
        site.look(lambda: bool(select.select([sys.stdin], [], [], 0.0)[0]))
    except Exception as error:  # noqa: BLE001  # nobody asked for it, so nobody is told
        _log.warning("the model was not measured: %s", type(error).__name__)


def _wait_for_hours(home: Path, say: Callable[[str], None]) -> None:
    """Wait while the site is closed or paused; called between steps."""
    if _works(home) is not False:
        return
    say(PAUSING)
    while not _works(home):
        time.sleep(_LOOK_S)
    say(WORKING)


def _works(home: Path) -> bool | None:
    """Whether the site works now; ``None``: site.toml cannot be used, so all stays as it is."""
    try:
        return works_now(home, datetime.now().astimezone())
    except (SettingsError, OSError):
        return None


def _speaker() -> Callable[[str], None]:
    """Return what writes to the launcher; whatever else is printed goes to the log."""
    out: TextIO = sys.stdout
    sys.stdout = sys.stderr

    def say(word: str) -> None:
        out.write(f"{word}\n")
        out.flush()

    return say


if __name__ == "__main__":
    main(Path(sys.argv[1]))
