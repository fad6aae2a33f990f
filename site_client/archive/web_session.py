"""An HTTP session that does only what ``[archive.dicomweb]`` says, and speaks of what fails.

Certificates, passwords and tokens come from the named files alone. Errors tell a person what
to change and never repeat an address: addresses of DICOMweb hold UIDs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from site_client.archive.credentials import read_secret, refuse_files
from site_client.archive.pacs import PacsError, PacsRefusedError, PacsUnreachableError
from site_client.archive_settings import DicomWeb

_MOST_JSON = 64 << 20  # bytes of one page of answers
_LOGGERS = ("dicomweb_client", "retrying", "urllib3", "requests")  # they quote addresses


def open_session(settings: DicomWeb) -> requests.Session:
    """Return a session with the site's certificate and secrets; nothing is sent yet.

    Raises:
        SettingsError: A file is missing, or a secret can be read by others.
    """
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    own = settings.certificate.name != ""
    named = [path for path in (settings.ca, settings.certificate) if path.name]
    refuse_files(public=tuple(named), private=(settings.key,) if own else ())
    session = requests.Session()
    session.trust_env = False  # no .netrc, no proxy and no certificate that site.toml does not name
    session.max_redirects = 0  # another address could be another PACS, or without TLS
    session.verify = str(settings.ca) if settings.ca.name else True
    if own:
        session.cert = (str(settings.certificate), str(settings.key))
    if settings.user:
        session.auth = (settings.user, read_secret(settings.password_file))
    elif settings.token_file.name:
        session.headers["Authorization"] = f"Bearer {read_secret(settings.token_file)}"
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("https://", "http://"):
        session.mount(scheme, _CappedAdapter())
    return session


@contextlib.contextmanager
def spoken() -> Iterator[None]:
    """Turn what a request raises into one of this package's errors, without its address."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise _of_tls(str(error)) from None
    except requests.HTTPError as error:
        raise _of_status(error) from None
    except requests.TooManyRedirects:
        raise PacsRefusedError(
            "the PACS sends elsewhere (redirect); write the final address into url"
        ) from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _of_connection(error) from None
    except (requests.RequestException, ValueError, AttributeError, TypeError):
        raise PacsError("the PACS's answer cannot be read; try again") from None


class _CappedAdapter(HTTPAdapter):
    """Stops reading an answer that is not streamed after ``_MOST_JSON`` bytes."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send as ever, and watch what comes back."""
        response = super().send(*args, **kwargs)
        if not kwargs.get("stream"):
            response.raw = _CappedBody(response.raw)
        return response


class _CappedBody:
    """A body of urllib3 that ends in an error where it grows too long."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """Yield what arrives, as long as it is not too much."""
        size = 0
        for piece in self._body.stream(*args, **kwargs):
            size += len(piece)
            if size > _MOST_JSON:
                raise PacsRefusedError(f"an answer has more than {_MOST_JSON} bytes; ask for less")
            yield piece


def _of_tls(text: str) -> PacsError:
    if "certificate verify failed" not in text:
        return PacsError("the TLS connection broke; does the PACS ask for a client certificate?")
    reason = text.rpartition("certificate verify failed: ")[2].partition(" (_ssl")[0]
    return PacsRefusedError(
        f"the PACS's certificate is refused: {reason}; ask for a valid one, or correct "
        "[archive.dicomweb] ca and url"
    )


def _of_status(error: requests.HTTPError) -> PacsError:
    status = error.response.status_code if error.response is not None else 0
    if status in (401, 403):
        return PacsRefusedError(
            f"the PACS answers {status}: the user, password, token or client certificate of "
            "[archive.dicomweb] is wrong or lacks the right to search and retrieve"
        )
    if status in (408, 425, 429) or status >= 500:
        return PacsError(f"the PACS answers {status}: it is busy or in trouble; try again")
    return PacsRefusedError(f"the PACS answers {status}; is [archive.dicomweb] url right?")


def _of_connection(error: requests.RequestException) -> PacsError:
    if isinstance(error, requests.ConnectTimeout) or "establish a new connection" in str(error):
        return PacsUnreachableError("no connection to [archive.dicomweb] url; is the PACS running?")
    return PacsError("the connection to the PACS broke; try again")
