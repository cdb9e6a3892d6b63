"""Parking with real proxies that refuse: Envoy whose tokens expire, nginx whose location has moved."""

import base64
import contextlib
import hashlib
import hmac
import json
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon.dev import testkit
from tests.endpoints import envoy
from tests.gate import tiers
from tests.integration import test_notifier_parking as places

OBJECTS = [f"o{number}" for number in range(50)]
_KEY = b"a key of the tests, of 32 bytes.."
_TYPE = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(lasts_s: float) -> str:
    """Return a JWT that expires."""
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = encoded(json.dumps({"iss": "tests", "exp": int(time.time() + lasts_s)}).encode())
    signature = hmac.new(_KEY, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{encoded(signature)}"


def guarded(port: int, upstream: int) -> dict[str, Any]:
    """Return a configuration of Envoy that demands a token which has not expired."""
    values = {
        "plain": port,
        "idle": 0,
        "few": 0,
        "tls": 0,
        "idle_ms": 1000,
        "few_requests": 1,
        "small": 1,
        "slow_ms": 1000,
    }
    config = envoy.configured({**values, "certificate": "", "upstream": upstream})
    resources = config["static_resources"]
    resources["listeners"] = resources["listeners"][:1]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    keys = json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": encoded(_KEY)}]})
    provider = {"issuer": "tests", "local_jwks": {"inline_string": keys}, "clock_skew_seconds": 1}
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "tests"}}]
    authentication = {"@type": _TYPE, "providers": {"tests": provider}, "rules": rules}
    manager["http_filters"].insert(0, {"name": "envoy.filters.http.jwt_authn", "typed_config": authentication})
    return config


@contextlib.contextmanager
def started(program: str, *words: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    found = tiers.program(program)
    assert found is not None
    process = subprocess.Popen([found, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        testkit.until(lambda: listens(port), program, timeout=60)
        yield process
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.needs("envoy")
def test_a_token_that_expires_before_envoy_costs_no_event_and_no_order() -> None:
    port = testkit.free_port()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bx")))

        def before(upstream: int) -> str:
            file = directory / "envoy.json"
            file.write_text(json.dumps(guarded(port, upstream)))
            words = ("-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "off")
            stack.enter_context(started("envoy", *words, port=port))
            return f"http://127.0.0.1:{port}/"

        place = stack.enter_context(places.made(before=before))
        place.checks_token = False
        place.use(token(5.0))
        stack.enter_context(place.notifier())
        while place.statistics.parked_us == 0:
            place.change(*OBJECTS)
            time.sleep(0.2)
        place.change(*OBJECTS)
        assert place.statistics.parked_cause == "unauthorized"

        place.use(token(600.0))

        place.until_delivered()
        place.check()


NGINX = """
daemon off; user root; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location {path} {{ proxy_pass http://127.0.0.1:{upstream}; }}
        location / {{ return 404; }}
    }}
}}
"""


@pytest.mark.needs("nginx")
def test_a_location_that_nginx_loses_at_a_reload_and_gets_back_costs_no_event() -> None:
    port = testkit.free_port()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bx")))
        file, ports, running = directory / "nginx.conf", [0], []

        def write(path: str) -> None:
            file.write_text(NGINX.format(place=directory, port=port, path=path, upstream=ports[0]))

        def before(upstream: int) -> str:
            ports[0] = upstream
            write("/hook")
            words = ("-p", str(directory), "-c", str(file))
            running.append(stack.enter_context(started("nginx", *words, port=port)))
            return f"http://127.0.0.1:{port}/hook"

        place = stack.enter_context(places.made(before=before))
        place.checks_token = False
        stack.enter_context(place.notifier())
        place.change(*OBJECTS)
        place.until_delivered()

        write("/moved")
        running[0].send_signal(signal.SIGHUP)
        while place.statistics.parked_us == 0:
            place.change(*OBJECTS)
            time.sleep(0.2)
        assert place.statistics.parked_cause == "not-found"
        write("/hook")
        running[0].send_signal(signal.SIGHUP)

        place.change("new")
        place.until_delivered()
        place.check()
