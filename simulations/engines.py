"""Run the same ServerApp and ClientApp on this machine: in processes of our own or on Ray.

A ClientApp is built by a picklable factory without arguments, in whatever process it is
needed. It learns which site it is from the context: ``partition-id`` is the place of the
site among the sorted names, on every engine.
"""

from __future__ import annotations

import importlib.util
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedrad import flower
from fedrad.errors import RunError
from fedrad.protocol.checks import site_of
from fedrad.protocol.codec import decode_reply
from simulations.grid import LocalGrid, Observer, observe
from simulations.pool import Inline, Pool
from simulations.worker import ClientFactory, Relay


def run_local(
    server_app: ServerApp,
    sites: Iterable[str],
    client_factory: ClientFactory,
    *,
    workers: int = 2,
    observer: Observer | None = None,
) -> None:
    """Run a federation on this machine without sockets, the sites in worker processes.

    Args:
        server_app: The aggregator's app.
        sites: The sites' names.
        client_factory: Builds the sites' app, once in each process.
        workers: Processes; 0 answers in this process, one site after the other.
        observer: Is told every reply that leaves a site, as the bytes that left.

    Raises:
        RunError: A worker could not start, or the run could not go on.
    """
    flower.quiet()
    names = _distinct(sites)
    with _delivery(names, client_factory, workers) as delivery:
        grid = LocalGrid(names, delivery, observer)
        server_app(grid, server_context(grid.run.run_id))


@contextmanager
def _delivery(
    names: list[str], client_factory: ClientFactory, workers: int
) -> Iterator[Inline | Pool]:
    delivery: Inline | Pool
    if workers > 0:
        delivery = Pool(names, client_factory, min(workers, len(names)))
    else:
        delivery = Inline(names, client_factory)
    try:
        yield delivery
    finally:
        delivery.close()


def run_ray(
    server_app: ServerApp,
    sites: Iterable[str],
    client_factory: ClientFactory,
    *,
    workers: int = 2,
    observer: Observer | None = None,
) -> None:
    """Run the same federation on Flower's simulation runtime.

    Arguments as of ``run_local``; ``workers`` is the number of CPUs that Ray may use when
    it starts on this machine. With ``RAY_ADDRESS`` set it joins that cluster instead.

    Raises:
        RunError: Ray is not installed, or the run could not go on.
    """
    if importlib.util.find_spec("ray") is None:
        raise RunError(
            "Ray is not installed; install fedrad[ray] or use the local engine (--engine local)"
        )
    flower.quiet()
    from flwr.simulation import run_simulation

    names = _distinct(sites)
    stop = threading.Event()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run_simulation(
                server_app=_watched(server_app, names, observer, stop),
                client_app=_relayed(client_factory),
                num_supernodes=len(names),
                backend_config=_ray_settings(workers),
            )
        finally:
            stop.set()


def server_context(run_id: int) -> Context:
    """Return the context that a ServerApp is called with."""
    return Context(run_id=run_id, node_id=0, node_config={}, state=RecordDict(), run_config={})


def _distinct(sites: Iterable[str]) -> list[str]:
    names = sorted(sites)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RunError(f"two sites are called {twice[0]!r}; every site needs a name of its own")
    if not names:
        raise RunError("a federation needs sites; none was given")
    return names


def _relayed(client_factory: ClientFactory) -> ClientApp:
    app, relay = ClientApp(), Relay(client_factory)
    for register in (app.train, app.evaluate, app.query):
        register()(relay)
    return app


def _ray_settings(workers: int) -> dict[str, Any]:
    import os

    init: dict[str, Any] = {"log_to_driver": False, "logging_level": 40}
    if "RAY_ADDRESS" not in os.environ:
        init |= {"num_cpus": max(1, workers), "include_dashboard": False}
    return {"init_args": init, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}


def _watched(
    server_app: ServerApp, names: list[str], observer: Observer | None, stop: threading.Event
) -> ServerApp:
    def main(grid: Grid, context: Context) -> None:
        with suppress(KeyboardInterrupt):  # raised below; the main thread has its own
            server_app(WatchedGrid(grid, names, observer, stop), context)

    app = ServerApp()
    app.main()(main)
    return app


class WatchedGrid:
    """A Flower grid whose replies are seen on the way in and which can be interrupted.

    Ray's runtime calls the ServerApp in a thread that Ctrl-C does not reach.
    """

    poll_s = 0.02

    def __init__(
        self, grid: Grid, names: list[str], observer: Observer | None, stop: threading.Event
    ) -> None:
        self._grid, self._names, self._observer, self._stop = grid, names, observer, stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there.

        Raises:
            KeyboardInterrupt: The run was interrupted.
        """
        if self._stop.is_set():
            raise KeyboardInterrupt
        replies = list(self._grid.pull_messages(message_ids))
        if self._observer is not None:
            for reply in replies:
                self._observe(self._observer, reply)
        return replies

    def _observe(self, observer: Observer, reply: Message) -> None:
        site = ""  # an error of the engine has no sender
        if reply.has_content():
            site = site_of(decode_reply(reply), self._names)
        observe(observer, site, reply, flower.message_to_bytes(reply))
