"""C-MOVE, for a PACS that cannot do C-GET: listen while fetching, and only for that PACS.

The listener is bound to the address and port of ``[archive.dimse]`` from the first to the last
question of a fetch. It takes connections from the PACS's host, associations from its AE title
to the site's, and instances while a retrieval is waiting for them; everything else is turned
away. Off unless ``move = true``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from socketserver import BaseServer
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from fedrad.errors import SettingsError
from site_client.archive.arrivals import Arrivals
from site_client.archive.dimse import DimsePacs
from site_client.archive.packets import watch_packets
from site_client.archive.pacs import PacsUnreachableError
from site_client.archive.storage_classes import MOVE
from site_client.archive_settings import Dimse

_NOT_NOW = 0xA700  # nothing was asked for, PS3.4 table B.2-1


class MovePacs(DimsePacs):
    """A PACS that answers C-FIND and C-MOVE, and the listener it sends to; a ``Pacs``."""

    retrieve_model = MOVE

    def __init__(self, settings: Dimse, modalities: Sequence[str]) -> None:
        """Start to listen.

        Raises:
            SettingsError: The address cannot be listened on, and as ``DimsePacs``.
            PacsUnreachableError: The PACS's host has no address.
        """
        super().__init__(settings, modalities)
        self._settings = settings
        self._awaited: Arrivals | None = None
        self._server = self._listen()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()

    def _retrieve(self, asked: Dataset, arrivals: Arrivals) -> None:
        self._awaited = arrivals
        try:
            with self._caller.associated([build_context(MOVE)]) as association:

                def send(identifier: Dataset, query_model: str) -> Any:
                    return association.send_c_move(
                        identifier, self._settings.own_ae_title, query_model
                    )

                self._drain(send, asked, arrivals)
        finally:
            self._awaited = None

    def _listen(self) -> ThreadedAssociationServer:
        settings = self._settings
        receiver = AE(ae_title=settings.own_ae_title)
        receiver.require_called_aet = True
        receiver.require_calling_aet = [settings.ae_title]
        receiver.acse_timeout = settings.association_s
        receiver.dimse_timeout = settings.dimse_s
        receiver.network_timeout = settings.network_s
        place = (settings.listen_address, settings.listen_port)
        try:
            server = receiver.make_server(
                place,
                contexts=_by_class(self._storage),
                evt_handlers=[
                    (evt.EVT_CONN_OPEN, watch_packets),
                    (evt.EVT_C_STORE, self._on_store),
                    (evt.EVT_PDU_RECV, self._on_data),
                ],
                server_class=_only_from(_addresses(settings.host)),
            )
        except OSError as error:
            said = f"cannot listen on {place[0]} port {place[1]}: {error.strerror}"
            raise SettingsError("[archive.dimse]", (said,)) from None
        return server

    def _on_store(self, event: evt.Event) -> int:
        awaited = self._awaited
        return _NOT_NOW if awaited is None else awaited.on_store(event)

    def _on_data(self, event: evt.Event) -> None:
        if self._awaited is not None:
            self._awaited.on_data(event)


def _by_class(storage: Sequence[tuple[str, tuple[str, ...]]]) -> list[PresentationContext]:
    """Return one context a class: an acceptor chooses among syntaxes for each proposal."""
    syntaxes: dict[str, list[str | UID]] = {}
    for name, group in storage:
        syntaxes.setdefault(name, []).extend(group)
    return [build_context(name, group) for name, group in syntaxes.items()]


def _only_from(hosts: set[str]) -> type[ThreadedAssociationServer]:
    class OnlyFrom(ThreadedAssociationServer):
        """Closes connections of any other host before a byte is read."""

        def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
            return client_address[0] in hosts

        def shutdown(self) -> None:
            """Stop, and end what is still open; the library's own expects its own start."""
            BaseServer.shutdown(self)
            for association in self.active_associations:
                association.abort()
            self.server_close()

    return OnlyFrom


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        raise PacsUnreachableError(f"{host} has no address; correct [archive.dimse] host") from None
