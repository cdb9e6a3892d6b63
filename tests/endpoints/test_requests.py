"""One request through nginx, HAProxy and Envoy: the sender reports what each does to it."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import trustme

from beacon.dev import testkit
from beacon.notifier.transport import answer, blocking_sender, route, tls_context
from tests.endpoints import proxies
from tests.unit.notifier import endpoints

Send = Callable[..., answer.EndpointAnswer]
BODY = b'{"specversion":"1.0"}'


@pytest.fixture
def send(authority: trustme.CA, tmp_path: Path) -> Iterator[Send]:
    """Send through one sender for each URL."""
    channels: dict[str, blocking_sender.BlockingSender] = {}
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def through(url: str, body: bytes = BODY, *, timeout_s: float = 60.0) -> answer.EndpointAnswer:
        files = tls_context.TlsFiles(ca=str(tmp_path / "ca.pem")) if url.startswith("https") else tls_context.TlsFiles()
        target = route.Target(url=url, method="POST", agent="beacon/test", width=4, files=files)
        if url not in channels:
            channels[url] = blocking_sender.BlockingSender(target, token=lambda: "")
        line = channels[url]
        return line.send(body, event_id=f"event-{len(body)}", timeout_s=timeout_s)

    yield through
    for line in channels.values():
        line.close()


def raw(data: bytes) -> endpoints.Behaviour:
    """Send these bytes as the response and close."""

    def behave(_request: endpoints.Received, line: socket.socket) -> None:
        line.sendall(data)

    return behave


def until_closed_by(proxy: proxies.Proxy, port: str) -> None:
    """Wait until the proxy has closed this process' connections to one of its ports."""

    def states() -> list[str]:
        kept = psutil.Process(os.getpid()).net_connections("tcp")
        return [one.status for one in kept if one.raddr and one.raddr.port == proxy.ports[port]]

    testkit.until(lambda: psutil.CONN_ESTABLISHED not in states(), "the proxy to close", timeout=60)


def test_an_event_arrives_as_it_was_sent(proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send) -> None:
    got = send(proxy.url("/hook"))

    (request,) = receiver.received
    assert (got.code, got.error) == ("204", "")
    assert (request.method, request.path, request.body) == ("POST", "/hook", BODY)
    assert request.headers["x-beacon-event-id"] == f"event-{len(BODY)}"
    assert request.headers["content-type"] == "application/cloudevents+json; charset=UTF-8"


@pytest.mark.parametrize("size", [proxies.SMALL * 2, 3_000_000])
def test_a_body_over_the_limit_is_a_413_whatever_its_size(
    size: int, proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    got = send(proxy.url("/small"), b"x" * size)

    assert (got.code, got.status) == ("413", 413)
    assert "Too Large" in got.error
    assert send(proxy.url("/small")).code == "204"
    assert [request.body for request in receiver.received] == [BODY]


def test_a_receiver_that_is_too_slow_is_the_proxys_504(
    proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    receiver.behave = lambda _request, line: receiver_hangs(line)

    assert send(proxy.url("/slow")).code == "504"

    receiver.behave = lambda _request, _line: endpoints.Reply()
    assert send(proxy.url("/slow")).code == "204"


def receiver_hangs(line: socket.socket) -> None:
    """Send nothing until the proxy closes the connection."""
    line.recv(1)


def test_the_proxys_own_error_for_a_stopped_receiver_is_one_clean_line(
    proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    receiver.down()
    got = send(proxy.url())
    receiver.up()

    assert (got.code, got.status) == (str(proxy.kind.unreachable), proxy.kind.unreachable)
    assert got.error
    assert got.error.isprintable()
    testkit.until(lambda: send(proxy.url()).code == "204", "the proxy to find it again", timeout=60)


def test_a_receiver_that_closes_without_an_answer_is_a_bad_gateway(
    proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    receiver.behave = raw(b"")

    assert send(proxy.url()).status in (502, 503)


def test_a_429_carries_the_delay_that_the_proxy_requests(proxy: proxies.Proxy, send: Send) -> None:
    got = [send(proxy.url("/limited"))]
    while got[-1].code == "204":
        got.append(send(proxy.url("/limited")))

    assert (got[-1].code, got[-1].retry_after) == ("429", "1")


@pytest.mark.parametrize("port", ["few", "plain"])
def test_a_limit_of_requests_on_a_connection_causes_no_failure(
    port: str, proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    got = [send(proxy.url(port=port), BODY + b" " * number).code for number in range(4 * proxies.FEW)]

    assert set(got) == {"204"}
    assert [len(request.body) - len(BODY) for request in receiver.received] == [*range(4 * proxies.FEW)]


@pytest.mark.parametrize("port", ["idle", "tls"])
def test_a_connection_that_the_proxy_has_closed_as_idle_is_not_used_again(
    port: str, proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    for _ in range(2):
        assert send(proxy.url(port=port)).code == "204"
        until_closed_by(proxy, port)

    assert send(proxy.url(port=port)).code == "204"
    assert len(receiver.received) == 3


@pytest.mark.parametrize("port", ["plain", "tls"])
def test_a_restart_of_the_proxy_between_two_requests_fails_neither(
    port: str, proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    assert send(proxy.url(port=port)).code == "204"
    proxy.restart()
    until_closed_by(proxy, port)

    assert send(proxy.url(port=port)).code == "204"
    assert len(receiver.received) == 2


def test_a_100_before_the_response_is_skipped(proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send) -> None:
    receiver.behave = raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    assert send(proxy.url()).code == "204"
    assert len(receiver.received) == 1


@pytest.mark.parametrize("interim", [b"102 Processing\r\n", b"103 Early Hints\r\nLink: </a.css>; rel=preload\r\n"])
def test_other_interim_responses_are_skipped(
    interim: bytes, proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    if proxy.kind is proxies.NGINX:
        pytest.skip("nginx before 1.29 forwards it and never the final answer")
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    receiver.behave = raw(b"HTTP/1.1 " + interim + b"\r\n" + final)

    assert send(proxy.url()).code == "200"
    receiver.behave = lambda _request, _line: endpoints.Reply()
    assert send(proxy.url()).code == "204"


def test_a_receiver_that_speaks_http_1_0_is_understood(
    proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    receiver.behave = raw(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
    assert send(proxy.url()).code == "200"

    receiver.behave = raw(b"HTTP/1.0 503 Busy\r\nRetry-After: 7\r\n\r\nbusy")
    got = send(proxy.url())

    assert (got.code, got.retry_after, got.error) == ("503", "7", "busy")
    receiver.behave = raw(b"HTTP/1.0 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    assert send(proxy.url()).code == "202"


def test_an_incomplete_response_is_a_network_failure(
    proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    receiver.behave = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    got = send(proxy.url())

    assert (got.code, got.status) == ("network", 0)


def test_a_long_chunked_response_is_read_to_its_end_and_truncated(
    proxy: proxies.Proxy, receiver: endpoints.Endpoint, send: Send
) -> None:
    chunks = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n"
    receiver.behave = raw(b"HTTP/1.1 400 Bad\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

    got = send(proxy.url())

    assert (got.code, len(got.error.encode())) == ("400", answer.LONGEST_ERROR)
    receiver.behave = lambda _request, _line: endpoints.Reply()
    assert send(proxy.url()).code == "204"
