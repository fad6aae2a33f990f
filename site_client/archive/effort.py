"""The limits in force in this process, and the processor time that one file may take.

A reading process sets both before each file (``begin``). Time is the processor's, not the
clock's: a busy machine makes no file bad. When it is up the kernel ends the process, which
a loop inside a decoder cannot prevent; whoever sent the file sees it. In any other process
the default limits hold and no timer runs.
"""

from __future__ import annotations

import signal

from site_client.limits import Reading


class _Process:
    """What holds in this process."""

    limits = Reading()
    timed = False


def limits() -> Reading:
    """Return the limits in force in this process."""
    return _Process.limits


def use(wanted: Reading) -> None:
    """Put ``wanted`` in force in this process."""
    _Process.limits = wanted


def begin(seconds: float) -> None:
    """Allow ``seconds`` of processor time from now on."""
    _Process.timed = True
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def end() -> None:
    """Stop the timer."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    _Process.timed = False


def allow_pixels(pixels: int) -> None:
    """Add the time that decoding ``pixels`` claimed pixels may take, if a timer runs."""
    if not _Process.timed:
        return
    left, _ = signal.getitimer(signal.ITIMER_PROF)
    signal.setitimer(signal.ITIMER_PROF, left + limits().pixel_seconds(pixels))
