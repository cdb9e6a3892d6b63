"""Each answer belongs to one request: HttpSender against endpoints and proxies that send anything, also over TLS."""

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import pytest
import trustme

from beacon.domain import model
from beacon.notifier.delivery import breaker, claim_session, retry, settlement
from beacon.notifier.transport import answer, blocking_sender, event_loop, http_sender, route, tls_context
from tests.unit.notifier import endpoints, pairs, running, stores

ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"
REFUSED = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


class World:
    """An endpoint whose answers are bytes of the test, and a sender to it."""

    def __init__(self, authority: trustme.CA | None, directory: Path, opened: contextlib.ExitStack) -> None:
        context, files = None, tls_context.TlsFiles()
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            authority.cert_pem.write_to_path(str(directory / "ca.pem"))
            files = tls_context.TlsFiles(ca=str(directory / "ca.pem"))
        self.endpoint = endpoints.Endpoint(context=context)
        self.context = context
        self.files = files
        self.opened = opened

    def target(self, *, width: int = 4, idle_timeout_s: float = 50.0, url: str = "") -> route.Target:
        return route.Target(
            url=url or self.endpoint.url,
            method="POST",
            agent="b",
            width=width,
            idle_timeout_s=idle_timeout_s,
            files=self.files,
        )

    def channel(self, *, idle_timeout_s: float = 50.0, url: str = "") -> blocking_sender.BlockingSender:
        target = self.target(idle_timeout_s=idle_timeout_s, url=url)
        line = blocking_sender.BlockingSender(target, token=lambda: "")
        self.opened.callback(line.close)
        return line

    def script(self, *answers: bytes) -> None:
        """Answer the next requests with these bytes, and all later ones with the last."""
        left = list(answers)

        def behave(_request: endpoints.Received, line: socket.socket) -> endpoints.Reply | None:
            line.sendall(left.pop(0) if len(left) > 1 else left[0])
            return KEEP

        self.endpoint.behave = behave


class _Keep(endpoints.Reply):
    """Send no reply; the connection stays open."""


KEEP = _Keep()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    render = endpoints.render
    monkeypatch.setattr(endpoints, "render", lambda reply: b"" if reply is KEEP else render(reply))


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Return a stack that closes the senders of a test."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(params=["plain", "tls"])
def world(request: pytest.FixtureRequest, tmp_path: Path, opened: contextlib.ExitStack) -> Iterator[World]:
    made = World(trustme.CA() if request.param == "tls" else None, tmp_path, opened)
    yield made
    made.endpoint.down()


@pytest.fixture
def secure(tmp_path: Path, opened: contextlib.ExitStack) -> Iterator[World]:
    made = World(trustme.CA(), tmp_path, opened)
    yield made
    made.endpoint.down()


def send(
    line: blocking_sender.BlockingSender, *, timeout_s: float = 60.0, event: str = "event-1", size: int = 2
) -> answer.EndpointAnswer:
    return line.send(b"{}".ljust(size), event_id=event, timeout_s=timeout_s)


# --- one answer


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    ],
)
def test_an_interim_answer_is_not_the_answer(interim: bytes, world: World) -> None:
    line = world.channel()
    world.script(interim + ACCEPTED, interim + REFUSED, ACCEPTED)

    assert [send(line).status for _ in range(3)] == [204, 500, 204]
    assert world.endpoint.connections == 1


def test_an_interim_answer_that_comes_long_before_is_not_the_answer(world: World) -> None:
    read_on = threading.Event()

    def behave(request: endpoints.Received, line: socket.socket) -> endpoints.Reply:
        line.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        if len(world.endpoint.received) == 1:
            read_on.wait(0.3)
        line.sendall(REFUSED if len(world.endpoint.received) == 1 else ACCEPTED)
        return KEEP

    world.endpoint.behave = behave
    line = world.channel()

    assert [send(line).status, send(line).status] == [500, 204]
    assert world.endpoint.connections == 1


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + ACCEPTED,
        b"HTTP/1.1 +200 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2_00 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 X\r\nContent-Length: " + b"1" * 4300 + b"\r\n\r\nok",
        b"HTTP/1.1 200 X\r\nno colon\r\n\r\n",
    ],
)
def test_an_invalid_answer_is_a_network_error_that_quotes_it(text: bytes, world: World) -> None:
    line = world.channel()
    world.script(text, ACCEPTED)

    got = send(line)

    assert (got.code, got.status) == ("network", 0)
    assert got.error.startswith("malformed answer: ")
    assert "can't be sent" not in got.error
    assert got.error.isprintable()
    assert send(line).status == 204
    assert world.endpoint.connections == 2


def test_a_header_that_ends_the_email_package_is_an_ordinary_header(world: World) -> None:
    world.script(
        b"HTTP/1.1 503 No\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\nContent-Length: 0\r\n\r\n"
    )

    assert send(world.channel()).status == 503


def test_an_answer_without_a_body_ends_with_its_head_whatever_it_announces(world: World) -> None:
    world.script(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
    line = world.channel()

    assert [send(line).status for _ in range(3)] == [204] * 3
    assert world.endpoint.connections == 1


def test_a_refusal_of_a_large_event_is_read_before_it_was_sent_whole(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, futures.ThreadPoolExecutor() as pool:

        def serve() -> None:
            plain, _ = server.accept()
            with world.context.wrap_socket(plain, server_side=True) if world.context else plain as line:
                line.sendall(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
                line.recv(1)
                done.wait(300)

        done = threading.Event()
        serving = pool.submit(serve)
        scheme = "https" if world.context else "http"
        got = send(world.channel(url=f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"), size=8_000_000)
        done.set()
        serving.result(300)

    assert got.status == 413


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", ACCEPTED])
def test_the_deadline_holds_while_a_large_event_is_sent(text: bytes, world: World) -> None:
    """Endpoint that reads nothing, with or without an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server, futures.ThreadPoolExecutor() as pool:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the deadline may come before the connection or within the handshake
                plain, _ = server.accept()
                with plain, world.context.wrap_socket(plain, server_side=True) if world.context else plain as line:
                    line.sendall(text)
                    done.wait(300)

        done = threading.Event()
        serving = pool.submit(serve)
        scheme = "https" if world.context else "http"
        got = send(world.channel(url=f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"), size=8_000_000, timeout_s=1.0)
        done.set()
        server.shutdown(socket.SHUT_RDWR)
        serving.result(300)

    assert (got.code, got.status) == ("timeout", 0)


# --- unread bytes


@pytest.mark.parametrize("surplus", [ACCEPTED, b"\r\n", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_bytes_that_arrive_with_an_answer_are_not_used_as_the_next_one(surplus: bytes, world: World) -> None:
    world.script(ACCEPTED + surplus, REFUSED, ACCEPTED)
    line = world.channel()

    assert [send(line).status for _ in range(3)] == [204, 500, 204]
    assert world.endpoint.connections == 2


def test_bytes_that_arrive_after_an_answer_are_not_used_as_the_next_one(world: World) -> None:
    later = threading.Event()
    sent = threading.Event()

    def behave(_request: endpoints.Received, line: socket.socket) -> endpoints.Reply:
        line.sendall(ACCEPTED if len(world.endpoint.received) == 1 else REFUSED)
        if len(world.endpoint.received) == 1:
            later.wait(300)
            line.sendall(ACCEPTED)
            pairs.wait_until_arrived(line)
            sent.set()
        return KEEP

    world.endpoint.behave = behave
    line = world.channel()

    assert send(line).status == 204
    later.set()
    assert sent.wait(100)
    assert send(line).status == 500
    assert world.endpoint.connections == 2


def test_a_connection_that_was_closed_with_notice_costs_no_request(secure: World) -> None:
    closed = threading.Event()

    def behave(_request: endpoints.Received, line: socket.socket) -> endpoints.Reply:
        line.sendall(ACCEPTED)
        if len(secure.endpoint.received) == 1:
            with contextlib.suppress(OSError, ValueError):
                line.settimeout(0)
                line.unwrap()  # type: ignore[attr-defined]  # the alert alone; TCP stays open
            line.settimeout(None)
            pairs.wait_until_arrived(line)
            closed.set()
        return KEEP

    secure.endpoint.behave = behave
    line = secure.channel()

    assert send(line).status == 204
    assert closed.wait(100)
    assert send(line).status == 204
    assert secure.endpoint.connections == 2


# --- idle connections


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(world: World) -> None:
    line = world.channel(idle_timeout_s=0.001)

    for _ in range(3):
        assert send(line).status == 204
        time.sleep(0.01)

    assert world.endpoint.connections == 3


def test_a_connection_that_was_dropped_silently_does_not_cost_the_next_event(world: World) -> None:
    """A load balancer forgets a connection: requests on it get no response."""
    silent = threading.Event()

    def behave(request: endpoints.Received, line: socket.socket) -> endpoints.Reply:
        if silent.is_set() and request.connection == 1:
            line.recv(1)
        line.sendall(ACCEPTED)
        return KEEP

    world.endpoint.behave = behave
    line = world.channel(idle_timeout_s=0.001)
    assert send(line).status == 204
    silent.set()
    time.sleep(0.01)

    assert send(line, timeout_s=60).status == 204
    assert world.endpoint.connections == 2


def test_the_kernel_probes_idle_connections(world: World) -> None:
    line = world.channel()
    assert send(line).status == 204

    (kept,) = line._sender._connections.idle
    sock = kept.stream._sock  # type: ignore[attr-defined]

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) <= 30
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) <= 5


# --- proxies


class Proxy:
    """Answers CONNECT with given bytes, then optionally connects the client to an endpoint."""

    def __init__(self, text: bytes, port: int) -> None:
        self._text = text
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.asked: list[bytes] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as inner:
            head = b""
            while b"\r\n\r\n" not in head:
                head += line.recv(65536)
            self.asked.append(head)
            line.sendall(self._text)
            back = threading.Thread(target=_copy, args=(inner, line), daemon=True)
            back.start()
            _copy(line, inner)
            inner.shutdown(socket.SHUT_RDWR)
            back.join()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)


@pytest.fixture
def through(secure: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], answer.EndpointAnswer]]:
    """Send through a proxy with this answer."""
    opened: list[Proxy] = []

    def run(text: bytes) -> answer.EndpointAnswer:
        opened.append(Proxy(text, secure.endpoint.port))
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{opened[-1].port}")
        got = send(secure.channel())
        assert opened[-1].asked[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % secure.endpoint.port)
        assert b"Proxy-Authorization: Basic " in opened[-1].asked[0]
        assert opened[-1].asked[0].lower().count(b"\r\nhost:") == 1
        return got

    yield run
    for proxy in opened:
        proxy.close()


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200\r\nProxy-Agent: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_tunnel_that_a_proxy_opens_is_used(text: bytes, through: Callable[[bytes], answer.EndpointAnswer]) -> None:
    assert through(text).status == 204


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 502 No\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\n\r\n", "502 No"),
        (b"HTTP/1.1 +200 OK\r\n\r\n", "+200"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "101"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "no colon"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + ACCEPTED, "more than its answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, "65536"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000, "65536"),
    ],
)
def test_a_tunnel_that_is_refused_is_a_network_error(
    text: bytes, error: str, through: Callable[[bytes], answer.EndpointAnswer]
) -> None:
    got = through(text)

    assert (got.code, got.status) == ("network", 0)
    assert got.error.startswith("Tunnel connection failed: ")
    assert error in got.error


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 407 No\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\n\r\n",
    ],
)
def test_a_proxy_that_refuses_the_credentials_is_reported_with_its_status(
    text: bytes, through: Callable[[bytes], answer.EndpointAnswer]
) -> None:
    got = through(text)

    assert (got.code, got.status) == ("407", 407)


def test_a_name_that_tls_refuses_is_a_network_error(secure: World, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(b"HTTP/1.1 200 OK\r\n\r\n", secure.endpoint.port)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")

    got = send(secure.channel(url=f"https://{'a' * 64}.example/"))

    assert got.code == "network"
    assert f"the name {'a' * 64}.example can't be used" in got.error
    assert not proxy.asked
    proxy.close()


# --- one error is not another


def test_a_bug_is_not_reported_as_a_token_that_cannot_be_sent(world: World) -> None:
    line = world.channel()

    reply = send(line, event="\ud800")

    assert (reply.code, reply.error) == (answer.INTERNAL, "unexpected UnicodeEncodeError, see the log")


# --- all of it at random


TEMPLATES = [
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 %s x\r\nContent-Length: 5\r\nX-Event: %e\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 %s x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 %s x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.0 %s x\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 %s x\nRetry-After: 1\n folded\nContent-Length: 2\n\nok",
    b"HTTP/1.1 %s x\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\nContent-Length: 0\r\n\r\n",
]
INSERTED = [
    b"\r\n",
    b"\r\n\r\n",
    b"\x00",
    b":",
    b" ",
    b"0",
    b"9" * 30,
    b"HTTP/1.1 204 No\r\n\r\n",
    b"\xff\xfe",
    b"-",
    b",",
]


def _mutated(chance: random.Random, text: bytes) -> bytes:
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(4):
            case 0:
                text = text[:at]
            case 1:
                text = text[:at] + chance.choice(INSERTED) + text[at:]
            case 2:
                text = text[:at] + text[at + chance.randint(1, 8) :]
            case _:
                text = text[:at] + chance.randbytes(1) + text[at + 1 :]
        text = text or b"\r\n"
    return text


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("seed", range(2))
def test_whatever_an_endpoint_sends_no_event_gets_the_answer_of_another(seed: int, width: int, world: World) -> None:
    """The endpoint answers each event with a status of its own, so that an answer to another event is detected."""

    def behave(request: endpoints.Received, line: socket.socket) -> endpoints.Reply | None:
        chance = random.Random(f"{seed} {request.headers['x-beacon-event-id']}")
        event = request.headers["x-beacon-event-id"].encode()
        text = chance.choice(TEMPLATES[1:]).replace(b"%s", event).replace(b"%e", event)
        text = _mutated(chance, text) + chance.choice([b"", b"", text])
        cut = chance.randrange(len(text) + 1)
        line.sendall(text[:cut])
        line.sendall(text[cut:])
        return KEEP if chance.random() < 0.6 else None

    world.endpoint.behave = behave
    events = [str(number) for number in range(400, 480)]
    accepted = 0

    for timeout_s in (0.1, 1.0, 10.0):  # a busy machine needs more time for a whole response
        got = send_all(world, events, width=width, timeout_s=timeout_s)
        foreign = {
            event: reply.status
            for event, reply in got.items()
            if str(reply.status) in got and str(reply.status) != event
        }
        assert not foreign
        for reply in got.values():
            _settle(reply)
        accepted = sum(str(reply.status) == event for event, reply in got.items())
        if accepted > 5:
            break
    assert accepted > 5


def send_all(
    world: World, events: list[str], *, width: int, timeout_s: float, size: int = 2
) -> dict[str, answer.EndpointAnswer]:
    """Send an event for each name, `width` at a time, all in one loop."""
    left, got = list(reversed(events)), dict[str, answer.EndpointAnswer]()

    def send_next() -> None:
        event = left.pop()
        body = b"{}".ljust(size)
        sender.send(body, event_id=event, timeout_s=timeout_s, done=lambda reply: take(event, reply))

    def take(event: str, reply: answer.EndpointAnswer) -> None:
        assert event not in got
        got[event] = reply
        if left:
            send_next()

    with contextlib.closing(event_loop.EventLoop()) as loop:
        sender = http_sender.HttpSender(world.target(width=width), token=lambda: "", loop=loop, start=running.start)
        with contextlib.closing(sender):
            for _ in range(min(width, len(left))):
                send_next()
            until = time.monotonic() + 300
            while len(got) < len(events):
                assert time.monotonic() < until
                loop.run_once(1.0)
    return got


def _settle(reply: answer.EndpointAnswer) -> model.Outcome:
    policy = retry.Policy(max_attempts=3, initial_s=1.0, max_s=300.0, multiplier=2.0, jitter=0.0)
    job = claim_session.LeasedDelivery(delivery=stores.delivery(1), ledger="l")
    return settlement.settle(job, reply, breaker.BreakerVerdict(counted=True), policy, roll=0.0)
