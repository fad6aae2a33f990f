"""Open one association with a PACS, within time limits, and say why where it does not open.

Messages name the host, the AE titles and what to correct, never what a PACS wrote in a
comment: comments quote what they are about.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from site_client.archive.credentials import client_tls
from site_client.archive.packets import watch_packets
from site_client.archive.pacs import PacsError, PacsRefusedError, PacsUnreachableError
from site_client.archive_settings import Dimse

_PENDING, _SUCCESS, _SOME_FAILED = (0xFF00, 0xFF01), 0x0000, 0xB000
_NEVER = {  # statuses that trying again does not mend, PS3.4 C.4 and PS3.7 annex C
    0x0122: "it does not know the request",
    0x0124: "this AE title may not do that",
    0xA801: "it does not know this AE title as a destination",
    0xA900: "it finds the request does not fit its kind",
}
_TRANSIENT = 2  # result of a rejection, PS3.8 table 9-21


class Caller:
    """The site as the one who opens associations."""

    def __init__(self, settings: Dimse) -> None:
        """Read certificates; nothing is sent yet.

        Raises:
            SettingsError: A file that ``[archive.dimse]`` names cannot be used.
        """
        self.settings = settings
        self._tls = _tls(settings)
        self._ae = AE(ae_title=settings.own_ae_title)
        self._ae.connection_timeout = settings.connect_s
        self._ae.acse_timeout = settings.association_s
        self._ae.dimse_timeout = settings.dimse_s
        self._ae.network_timeout = settings.network_s

    @contextlib.contextmanager
    def associated(
        self,
        contexts: list[PresentationContext],
        roles: Sequence[Any] = (),
        handlers: Sequence[Any] = (),
    ) -> Iterator[Association]:
        """Open an association; it is released at the end, and aborted by an error.

        Raises:
            PacsError: It does not open, or one of its kinds.
        """
        opened: list[bool] = []
        heard = [
            (evt.EVT_CONN_OPEN, lambda _: opened.append(True)),
            (evt.EVT_CONN_OPEN, watch_packets),
            *handlers,
        ]
        association = self._ae.associate(
            self.settings.host,
            self.settings.port,
            contexts=contexts,
            ae_title=self.settings.ae_title,
            ext_neg=list(roles),
            evt_handlers=heard,
            tls_args=self._tls,
        )
        try:
            if not association.is_established:
                raise self._why_not(association, connected=bool(opened))
            yield association
        except BaseException:
            association.abort()
            raise
        association.release()

    def _why_not(self, association: Association, *, connected: bool) -> PacsError:
        place = f"{self.settings.host}:{self.settings.port}"
        if not connected:
            return self._unreachable(place)
        answer = association.acceptor.primitive
        if not association.is_rejected or answer is None:
            own = self.settings.own_ae_title
            return PacsError(
                f"{place} ended the association before it began; does it know {own!r}?"
            )
        said = f"{place} rejects the association: {str(answer.reason_str).lower()}"
        if answer.result == _TRANSIENT:
            return PacsError(f"{said}; try again")
        own, theirs = self.settings.own_ae_title, self.settings.ae_title
        return PacsRefusedError(
            f"{said}; its title here is {theirs!r} and this site's {own!r}: correct them in "
            "[archive.dimse], or give the PACS's administrator `fedrad-site pacs-request`"
        )

    def _unreachable(self, place: str) -> PacsError:
        if self._tls is not None:
            try:
                with (
                    socket.create_connection(
                        (self.settings.host, self.settings.port), self.settings.connect_s
                    ) as plain,
                    self._tls[0].wrap_socket(plain, server_hostname=self._tls[1]),
                ):
                    pass
            except ssl.SSLCertVerificationError as error:
                return PacsRefusedError(
                    f"the certificate of {place} is refused: {error.verify_message}; ask for a "
                    "valid one, or correct [archive.dimse] ca and host"
                )
            except (OSError, ValueError):
                pass
        return PacsUnreachableError(f"no connection to {place}; is the PACS running?")


def _tls(settings: Dimse) -> tuple[ssl.SSLContext, str] | None:
    if not settings.tls:
        return None
    return client_tls(settings.ca, settings.certificate, settings.key), settings.host


def is_pending(status: Dataset, what: str) -> bool:
    """Say whether more is to come; a failure is raised, its comment (it may quote) is not shown."""
    if "Status" not in status:
        raise PacsError(f"no answer to {what} in time, or the association broke; try again")
    code = int(status.Status)
    if code in _PENDING:
        return True
    if code in (_SUCCESS, _SOME_FAILED):
        return False
    if code in _NEVER:
        raise PacsRefusedError(f"the PACS refuses {what} (0x{code:04X}): {_NEVER[code]}")
    raise PacsError(f"the PACS answers {what} with failure 0x{code:04X}; try again")


@contextlib.contextmanager
def spoken() -> Iterator[None]:
    """Turn what a foreign answer makes the library raise into one of this package's errors."""
    try:
        yield
    except PacsError:
        raise
    except ValueError as error:
        if "presentation context" in str(error).lower():
            raise PacsRefusedError(
                "the PACS does not offer this site the Study Root model that it needs; give its "
                "administrator `fedrad-site pacs-request`"
            ) from None
        raise PacsError("the PACS's answer cannot be read; try again") from None
    except Exception:  # noqa: BLE001  the edge to foreign bytes: a parser may raise anything
        raise PacsError("the PACS's answer cannot be read, or the connection broke") from None
