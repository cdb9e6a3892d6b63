"""nginx, HAProxy and Envoy in front of a receiver, each with the settings that users' endpoints have, only shorter.

All three know the same paths and listen at the same kinds of ports:

- `/small` refuses bodies over `SMALL` bytes with 413, `/limited` answers 429 beyond a few requests a second, and
  `/slow` gives the receiver a moment before it answers 504.
- `plain` keeps connections, `idle` closes one that was silent for a moment, `few` closes one after a few requests, and
  `tls` is `idle` with a certificate.
"""

import contextlib
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme

from beacon import codec
from beacon.dev import testkit
from tests.endpoints import envoy
from tests.gate import tiers

SMALL = 1024
IDLE_MS = 200
SLOW_MS = 200
FEW = 3
_STOP_S = 2  # then it is killed
_NGINX = """
daemon off;
user root;
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    limit_req_zone $server_port zone=few:64k rate=2r/s;
    limit_req_status 429;
    proxy_connect_timeout 2s;
    server {{ listen 127.0.0.1:{plain}; {locations} }}
    server {{ listen 127.0.0.1:{idle}; keepalive_timeout {idle_ms}ms; {locations} }}
    server {{ listen 127.0.0.1:{few}; keepalive_requests {few_requests}; {locations} }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        keepalive_timeout {idle_ms}ms;
        {locations}
    }}
}}
"""
_NGINX_LOCATIONS = """
    location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
    location /small {{ client_max_body_size {small}; proxy_pass http://127.0.0.1:{upstream}; }}
    location /limited {{ limit_req zone=few; add_header Retry-After 1 always; proxy_pass http://127.0.0.1:{upstream}; }}
    location /slow {{ proxy_read_timeout {slow_ms}ms; proxy_pass http://127.0.0.1:{upstream}; }}
"""
_HAPROXY = """
global
    maxconn 128
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    retries 0
frontend plain
    bind 127.0.0.1:{plain}
{rules}
frontend idle
    bind 127.0.0.1:{idle}
    timeout http-keep-alive {idle_ms}ms
{rules}
frontend few
    bind 127.0.0.1:{few}
    option httpclose
{rules}
frontend tls
    bind 127.0.0.1:{tls} ssl crt {certificate}
    timeout http-keep-alive {idle_ms}ms
{rules}
backend receiver
    server one 127.0.0.1:{upstream}
backend slow
    timeout server {slow_ms}ms
    server one 127.0.0.1:{upstream}
backend rates
    stick-table type ip size 16 expire 10s store http_req_rate(1s)
"""
_HAPROXY_RULES = """
    http-request deny deny_status 413 if {{ path_beg /small }} {{ req.body_size gt {small} }}
    http-request track-sc0 src table rates if {{ path_beg /limited }}
    http-request return status 429 hdr Retry-After 1 if {{ path_beg /limited }} {{ sc_http_req_rate(0,rates) gt 2 }}
    use_backend slow if {{ path_beg /slow }}
    default_backend receiver
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of proxy: how it is started, and its response when the receiver is unreachable."""

    name: str
    command: tuple[str, ...]
    unreachable: int
    reload: signal.Signals | None = None


NGINX = Kind(name="nginx", command=("nginx", "-p", "{place}", "-c", "{file}"), unreachable=502, reload=signal.SIGHUP)
HAPROXY = Kind(name="haproxy", command=("haproxy", "-W", "-f", "{file}"), unreachable=503, reload=signal.SIGUSR2)
ENVOY = Kind(
    name="envoy",
    command=("envoy", "-c", "{file}", "--concurrency", "1", "--disable-hot-restart", "--log-level", "off"),
    unreachable=503,
)
ALL = (NGINX, HAPROXY, ENVOY)


class Proxy:
    """A proxy process in front of the receiver."""

    def __init__(self, kind: Kind, place: Path, upstream: int, authority: trustme.CA) -> None:
        """Write its configuration without starting it."""
        self.kind = kind
        self.ports = {name: testkit.free_port() for name in ("plain", "idle", "few", "tls")}
        certificate = place / "certificate.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        file = place / f"{kind.name}.conf"
        given = {"place": place, "upstream": upstream, "certificate": certificate, **self.ports}
        file.write_text(_configured(kind, given), encoding="utf-8")
        program = tiers.program(kind.command[0])
        assert program is not None
        words = (word.format(place=place, file=file) for word in kind.command[1:])
        self._command = [program, *words]
        self._said = place / f"{kind.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: str = "/", *, port: str = "plain") -> str:
        """Return the URL of a path at one of its ports."""
        scheme = "https" if port == "tls" else "http"
        return f"{scheme}://127.0.0.1:{self.ports[port]}{path}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(self._command, stdout=said, stderr=said)
        testkit.until(self._listens, f"{self.kind.name}: {self._said.read_text()[-1000:]}", timeout=60)

    def stop(self) -> None:
        """Kill it, with all its connections."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Restart it in the usual way of its kind: by a reload, or by stop and start."""
        if self.kind.reload is None or self._process is None:
            self.stop()
            self.start()
        else:
            self._process.send_signal(self.kind.reload)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._said.read_text()
        for port in self.ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True


@contextlib.contextmanager
def running(kind: Kind, upstream: int, authority: trustme.CA) -> Iterator[Proxy]:
    """Run a proxy in front of the receiver at a port of this machine."""
    with tempfile.TemporaryDirectory(prefix="bx") as name:
        made = Proxy(kind, Path(name), upstream, authority)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def _configured(kind: Kind, given: Mapping[str, object]) -> str:
    values = {"small": SMALL, "idle_ms": IDLE_MS, "slow_ms": SLOW_MS, "few_requests": FEW, **given}
    if kind is NGINX:
        return _NGINX.format(locations=_NGINX_LOCATIONS.format(**values), **values)
    if kind is HAPROXY:
        return _HAPROXY.format(rules=_HAPROXY_RULES.format(**values), **values)
    return codec.encode_pretty(envoy.configured(values)).decode()
