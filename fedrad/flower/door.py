"""A hospital's way out: to the coordinator's gateway, with its certificate, through its proxy.

What a node is told, and the one HTTP client that reaches the gateway. Nothing of Flower's is
loaded here, so that a site's own command stays small.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from fedrad.errors import MessageTooLargeError


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a SuperNode needs; every path is a file of the site's home."""

    address: str  # the coordinator's gateway, host:port
    ca: Path  # PEM: who may sign the gateway's certificate
    certificate: Path  # PEM: the site's TLS certificate
    key: Path  # PEM: its private key
    node_key: Path  # the site's identity, OpenSSH private format
    secret: Path  # shared with the site's launcher
    port: int  # of the Runtime API, on the loopback
    proxy: str = ""  # http://host:port of an HTTP CONNECT proxy
    proxy_user: str = ""
    proxy_password: str = field(default="", repr=False)
    most_bytes: int = 1 << 31  # of one message that is taken


def tls_context(options: NodeOptions) -> ssl.SSLContext:
    """Return the TLS settings towards the gateway: its CA alone, the site's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=options.ca)
    context.load_cert_chain(options.certificate, options.key)
    return context


def http_client(options: NodeOptions) -> httpx.Client:
    """Return a client of the gateway: the site's certificate, its proxy, no other route."""
    proxy = None
    if options.proxy:
        auth = (options.proxy_user, options.proxy_password) if options.proxy_user else None
        proxy = httpx.Proxy(options.proxy, auth=auth)
    return httpx.Client(
        verify=tls_context(options),
        proxy=proxy,
        timeout=30.0,
        trust_env=False,
        event_hooks={"response": [partial(_refuse_large, options.most_bytes)]},
    )


def _refuse_large(most: int, response: httpx.Response) -> None:
    """Refuse an answer that is too large, or that does not say how large, before it is read.

    Raises:
        MessageTooLargeError: It is.
    """
    said = response.headers.get("content-length", "")
    if not (said.isascii() and said.isdigit() and int(said) <= most):
        response.close()
        raise MessageTooLargeError(f"an answer of {said or 'unknown'} bytes; taken: {most}")
