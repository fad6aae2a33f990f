"""The one door of the coordinator: nginx, with hospitals' certificates bound to their keys.

It lets an enrolled hospital reach what its node needs and nothing else: anyone who reached
the control path behind it could start runs. What it refuses it refuses with a status of its
own: 400 no certificate or not a good one, 403 not a path for hospitals, 404 no such fleet
path, 413 too large, 421 a certificate with another hospital's key, 503 too many requests.
Flower tries 503 again and gives up after 429, so the limit answers 503.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aggregator.authority import CA, CRL, SERVER, SERVER_KEY
from aggregator.home import CoordinatorSettings, key_path
from aggregator.registry import Enrolled
from fedrad import durable
from fedrad.errors import RunError
from fedrad.flower.keys import header_of_key
from fedrad.protocol import versions

CONFIGURATION, PID, LOG = "nginx.conf", "nginx.pid", "nginx.log"
ANSWER, GREETINGS = "fedrad.json", "greetings.log"  # what both ends say that they speak
FLEET_PATHS = (
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "pull-object",
    "push-object",
    "confirm-message-received",
)
_CONNECTIONS = 4096  # of one worker; a stranger holds one for 10 s by half a handshake
_SCRATCH = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway's files are and what it is made from."""

    home: Path
    settings: CoordinatorSettings

    @property
    def folder(self) -> Path:
        """Where its configuration, log and scratch files are."""
        return self.home / "gateway"

    def command(self) -> tuple[str, ...]:
        """Return the command that runs it in the foreground.

        Raises:
            RunError: nginx is not installed.
        """
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RunError("nginx is not installed; on Debian: apt-get install nginx-light")
        path = self.folder / CONFIGURATION
        return (program, "-p", str(self.folder), "-c", str(path), "-e", str(self.folder / LOG))

    def write(self, sites: Mapping[str, Enrolled]) -> bool:
        """Write the configuration for these hospitals; whether it differs from the last one."""
        for name in _SCRATCH:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        path, text = self.folder / CONFIGURATION, self._text(sites.values()).encode()
        durable.write_bytes(self.folder / ANSWER, versions.to_text(versions.ours()).encode())
        same = path.exists() and path.read_bytes() == text
        if not same:
            durable.write_bytes(path, text)
        return not same

    def answers(self, wait_s: float) -> bool:
        """Whether somebody listens at its address."""
        host, _, port = self.settings.gateway.listen.rpartition(":")
        here = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104
        try:
            socket.create_connection((here, int(port)), timeout=wait_s).close()
        except OSError:
            return False
        return True

    def _text(self, sites: Iterable[Enrolled]) -> str:
        gateway, ports = self.settings.gateway, self.settings.ports
        bound = "\n".join(f'    "{pair}" 1;' for site in sites for pair in _pairs(site))
        keys = {name: key_path(self.home, name) for name in (CA, CRL, SERVER, SERVER_KEY)}
        return _TEXT.format(
            folder=self.folder,
            user=_user(),
            connections=_CONNECTIONS,
            files=_files(),
            pid=self.folder / PID,
            log=self.folder / LOG,
            greet=versions.PATH,
            answer=self.folder / ANSWER,
            greetings=self.folder / GREETINGS,
            bound=bound,
            paths="|".join(FLEET_PATHS),
            rate=gateway.requests_per_s,
            burst=2 * gateway.requests_per_s,
            listen=gateway.listen,
            body_mib=gateway.body_mib,
            link=f"127.0.0.1:{ports.superlink}",
            ca=keys[CA],
            crl=keys[CRL],
            certificate=keys[SERVER],
            key=keys[SERVER_KEY],
        )


def _pairs(site: Enrolled) -> list[str]:
    """Return what a live hospital's requests carry: certificate serial and node key."""
    if not site.live:
        return []
    return [f"CN={site.site}|{serial}|{header_of_key(site.node_key)}" for serial in site.serials]


def _user() -> str:
    """Return who workers run as; nginx changes it only where root started it."""
    return "" if os.geteuid() else "user root;\n"


def _files() -> int:
    """Return how many files a worker may open: two for each connection, if the system allows."""
    wanted, most = 2 * _CONNECTIONS + 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


_TEXT = """\
# Written by fedrad-aggregator start; changes here are lost.
daemon off;
{user}worker_processes 2;
pid {pid};
error_log {log} warn;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  server_tokens off;
  client_body_temp_path {folder}/client_body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map_hash_bucket_size 1024;
  map "$ssl_client_s_dn|$ssl_client_serial|$http_flwr_public_key" $bound {{
    default 0;
{bound}
  }}
  map $request_uri $fleet {{
    default 0;
    ~^/v1/fleet/({paths})$ 1;
  }}
  map $status $heard {{ default 0; 200 1; }}
  map $arg_wire $wire {{ "~^[0-9]{{1,9}}$" $arg_wire; }}
  map $arg_release $release {{ "~^[0-9A-Za-z.%+-]{{1,40}}$" $arg_release; }}
  log_format greeting escape=json
    '{{"site":"$ssl_client_s_dn","time":"$msec","wire":"$wire","release":"$release"}}';
  limit_req_zone $ssl_client_s_dn zone=greetings:1m rate=20r/m;
  limit_req_zone $ssl_client_s_dn zone=requests:2m rate={rate}r/s;
  limit_conn_zone $ssl_client_s_dn zone=connections:2m;
  limit_conn_zone $binary_remote_addr zone=addresses:2m;
  limit_req_status 503;
  limit_conn_status 503;
  upstream superlink {{ server {link}; keepalive 16; keepalive_timeout 3s; }}
  server {{
    listen {listen} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_client_certificate {ca};
    ssl_crl {crl};
    ssl_verify_client on;
    ssl_verify_depth 1;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:2m;
    client_max_body_size {body_mib}m;
    client_body_buffer_size 1m;
    client_header_timeout 10s;
    client_body_timeout 20s;
    send_timeout 30s;
    keepalive_timeout 75s;
    large_client_header_buffers 4 8k;
    limit_req zone=requests burst={burst} nodelay;
    limit_conn connections 16;
    limit_conn addresses 256;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host localhost;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 1;
    proxy_ssl_trusted_certificate {ca};
    proxy_ssl_name localhost;
    proxy_read_timeout 60s;
    proxy_request_buffering on;
    location = /health {{ proxy_pass https://superlink; }}
    location = {greet} {{
      if ($bound = 0) {{ return 421; }}
      limit_req zone=greetings burst=10 nodelay;
      access_log {greetings} greeting if=$heard;
      default_type application/json;
      alias {answer};
    }}
    location /v1/fleet/ {{
      if ($request_method != POST) {{ return 405; }}
      if ($fleet = 0) {{ return 404; }}
      if ($bound = 0) {{ return 421; }}
      proxy_pass https://superlink;
    }}
    location / {{ return 403; }}
  }}
}}
"""
