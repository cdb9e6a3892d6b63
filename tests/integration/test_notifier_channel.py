"""The HTTP sender against misbehaving sockets: the total deadline, TLS and its files, headers, stored texts."""

import contextlib
import datetime as dt
import socket
import ssl
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from beacon.notifier.transport import answer, blocking_sender, route, tls_context
from tests.unit.notifier import endpoints

Send = Callable[..., answer.EndpointAnswer]


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Return a stack that closes the senders of a test."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def endpoint() -> Iterator[endpoints.Endpoint]:
    served = endpoints.Endpoint()
    yield served
    served.down()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def open_sender(
    url: str,
    opened: contextlib.ExitStack,
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    token: str = "",
    files: tls_context.TlsFiles | None = None,
    on_tls_error: Callable[[str], None] = lambda _: None,
) -> blocking_sender.BlockingSender:
    target = route.Target(
        url=url,
        method=method,
        agent="beacon/1.2.3",
        width=4,
        headers=headers or {},
        files=files or tls_context.TlsFiles(),
    )
    listener = route.RouteListener(tls_error=on_tls_error)
    line = blocking_sender.BlockingSender(target, token=lambda: token, listener=listener)
    opened.callback(line.close)
    return line


def send(line: blocking_sender.BlockingSender, *, timeout_s: float = 60.0) -> answer.EndpointAnswer:
    return line.send(b'{"specversion":"1.0"}', event_id="event-1", timeout_s=timeout_s)


def drip(line: socket.socket, head: bytes, more: bytes) -> None:
    """Send something, then bytes for ever, each within any socket timeout."""
    line.sendall(head)
    with contextlib.suppress(OSError):
        while True:
            time.sleep(0.05)
            line.sendall(more)


# --- the total deadline


def hang(_request: endpoints.Received, line: socket.socket) -> None:
    line.recv(1)


def drip_headers(_request: endpoints.Received, line: socket.socket) -> None:
    drip(line, b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n")


def drip_body(_request: endpoints.Received, line: socket.socket) -> None:
    drip(line, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x")


def drip_chunks(_request: endpoints.Received, line: socket.socket) -> None:
    drip(line, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")


def drip_continues(_request: endpoints.Received, line: socket.socket) -> None:
    drip(line, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def drip_until_closed(_request: endpoints.Received, line: socket.socket) -> None:
    drip(line, b"HTTP/1.1 200 OK\r\n\r\n", b"x")


@pytest.mark.parametrize("behave", [drip_until_closed, hang, drip_headers, drip_body, drip_chunks, drip_continues])
def test_the_deadline_holds_against(
    behave: endpoints.Behaviour, endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = behave
    line = open_sender(endpoint.url, opened)

    got = send(line, timeout_s=0.4)

    assert got.duration_s > 0.35
    assert (got.code, got.status) == ("timeout", 0)


def test_the_deadline_holds_against_a_connection_that_is_never_accepted(opened: contextlib.ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        line = open_sender(f"http://127.0.0.1:{listener.getsockname()[1]}/", opened)

        got = send(line, timeout_s=0.4)

        assert got.code == "timeout"
        for filler in fillers:
            filler.close()


def test_the_deadline_holds_against_a_tls_handshake_that_never_ends(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = open_sender(f"https://127.0.0.1:{listener.getsockname()[1]}/", opened)

        got = send(line, timeout_s=0.4)

        assert got.code == "timeout"


def test_the_deadline_holds_against_a_name_server_that_hangs(
    opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    lookups: list[object] = []

    def getaddrinfo(*_: object) -> list[object]:
        lookups.append(1)
        release.wait(300)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    line = open_sender("http://slow.example/", opened)

    answers = [send(line, timeout_s=0.2), send(line, timeout_s=0.2)]
    release.set()

    assert [got.code for got in answers] == ["timeout", "timeout"]
    assert len(lookups) == 1


def test_a_connection_that_was_shut_down_is_not_reused(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    line = open_sender(endpoint.url, opened)
    assert send(line).status == 204
    endpoint.behave = hang
    send(line, timeout_s=0.2)
    endpoint.behave = lambda _request, _line: endpoints.Reply()

    assert send(line).status == 204
    assert endpoint.connections == 2


def test_cancel_all_ends_current_and_future_requests(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = hang
    line = open_sender(endpoint.url, opened)
    threading.Timer(0.2, line.cancel_all).start()

    assert send(line, timeout_s=3600).status == 0
    assert send(line, timeout_s=3600).status == 0


# --- connections


def test_one_connection_serves_many_requests(endpoint: endpoints.Endpoint, opened: contextlib.ExitStack) -> None:
    line = open_sender(endpoint.url, opened)

    assert [send(line).status for _ in range(20)] == [204] * 20
    assert endpoint.connections == 1


def test_an_answer_with_a_body_leaves_the_connection_usable(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(500, b"x" * 60_000)
    line = open_sender(endpoint.url, opened)

    assert [send(line).status for _ in range(5)] == [500] * 5
    assert endpoint.connections == 1


def test_a_huge_answer_is_not_read_to_its_end(endpoint: endpoints.Endpoint, opened: contextlib.ExitStack) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(500, b"x" * 5_000_000)
    line = open_sender(endpoint.url, opened)

    got = send(line)

    assert got.status == 500
    assert len(got.error.encode()) == answer.LONGEST_ERROR


def test_a_connection_that_was_closed_while_idle_costs_no_request(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    line = open_sender(endpoint.url, opened)
    for _ in range(20):
        assert send(line).status == 204
        endpoint.drop()

    assert len(endpoint.received) == 20


def test_a_reset_in_the_middle_of_a_request_is_a_network_error(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    def reset(_request: endpoints.Received, line: socket.socket) -> None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
        raise OSError

    endpoint.behave = reset
    line = open_sender(endpoint.url, opened)

    got = send(line)

    assert (got.code, got.status) == ("network", 0)
    assert got.error
    assert len(endpoint.received) == 1


def test_a_truncated_answer_is_a_network_error(endpoint: endpoints.Endpoint, opened: contextlib.ExitStack) -> None:
    def break_off(_request: endpoints.Received, line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    endpoint.behave = break_off

    got = send(open_sender(endpoint.url, opened))

    assert (got.code, got.status) == ("network", 0)


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nA: b\r\n"]
)
def test_truncated_headers_are_a_network_error(
    text: bytes, endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = lambda _request, line: line.sendall(text)

    got = send(open_sender(endpoint.url, opened))

    assert (got.code, got.status) == ("network", 0)


def test_an_answer_that_ends_with_its_connection_is_whole(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = lambda _request, line: line.sendall(b"HTTP/1.0 422 No\r\n\r\nwhy")

    got = send(open_sender(endpoint.url, opened))

    assert (got.status, got.error) == (422, "why")


@pytest.mark.parametrize(
    "text", [b"what?\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500]
)
def test_a_response_that_is_not_http_is_a_network_error(
    text: bytes, endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = lambda _request, line: line.sendall(text)

    assert send(open_sender(endpoint.url, opened)).code == "network"


def test_a_refused_connection_is_a_network_error_in_words(opened: contextlib.ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    got = send(open_sender(f"http://127.0.0.1:{port}/", opened))

    assert (got.code, got.error) == ("network", "Connection refused")


def test_a_name_that_does_not_exist_is_a_network_error_in_words(opened: contextlib.ExitStack) -> None:
    got = send(open_sender("http://nowhere.invalid/", opened), timeout_s=20)

    assert got.code == "network"
    assert "nowhere.invalid" in got.error


def test_a_name_is_resolved(endpoint: endpoints.Endpoint, opened: contextlib.ExitStack) -> None:
    assert send(open_sender(f"http://localhost:{endpoint.port}/", opened)).status == 204


def test_a_redirect_is_not_followed(endpoint: endpoints.Endpoint, opened: contextlib.ExitStack) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(302, headers={"Location": "/elsewhere"})

    got = send(open_sender(endpoint.url, opened))

    assert got.status == 302
    assert "/elsewhere" in got.error
    assert len(endpoint.received) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_the_configured_method_is_used_and_not_repeated_by_itself(
    method: str, endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(503, headers={"Retry-After": "1"})

    got = send(open_sender(endpoint.url, opened, method=method))

    assert [request.method for request in endpoint.received] == [method]
    assert got.retry_after == "1"


# --- headers and what is kept


def test_headers_of_the_contract_and_the_configured_ones_are_sent(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    headers = {"X-Team": "größe", "content-type": "text/plain", "HOST": "evil", "X-Request-ID": "mine"}
    line = open_sender(endpoint.url + "?a=1&b=%20", opened, headers=headers, token="t0ken")

    send(line)
    send(line)

    first, second = endpoint.received
    assert first.path == "/hook?a=1&b=%20"
    assert first.headers["user-agent"] == "beacon/1.2.3"
    assert first.headers["authorization"] == "Bearer t0ken"
    assert first.headers["content-type"] == "application/cloudevents+json; charset=UTF-8"
    assert first.headers["host"] == f"127.0.0.1:{endpoint.port}"
    assert first.headers["x-beacon-event-id"] == "event-1"
    assert first.headers["x-team"] == "größe"
    assert first.headers["x-request-id"] not in ("mine", second.headers["x-request-id"])


def test_a_token_takes_the_place_of_a_configured_authorization(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    headers = {"authorization": "Basic abcdef"}

    send(open_sender(endpoint.url, opened, headers=headers, token="t0ken"))
    send(open_sender(endpoint.url, opened, headers=headers))

    assert [request.headers["authorization"] for request in endpoint.received] == ["Bearer t0ken", "Basic abcdef"]


def test_the_token_is_read_for_every_request(endpoint: endpoints.Endpoint, opened: contextlib.ExitStack) -> None:
    tokens = iter(["one", "two"])
    target = route.Target(url=endpoint.url, method="POST", agent="b", width=1)
    line = blocking_sender.BlockingSender(target, token=lambda: next(tokens))
    opened.callback(line.close)

    send(line)
    send(line)

    assert [request.headers["authorization"] for request in endpoint.received] == ["Bearer one", "Bearer two"]


def test_a_token_that_cannot_be_sent_is_reported_without_showing_it(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    got = send(open_sender(endpoint.url, opened, token="sec\nret"))

    assert got.status == 0
    assert "sec" not in got.error
    assert not endpoint.received


def test_credentials_that_an_endpoint_echoes_are_not_stored(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    echo = b"got t0ken-1234, header-secret, query-secret and query%2Fsecret2 \x1b[31m\x00 end"
    endpoint.behave = lambda _request, _line: endpoints.Reply(400, echo)
    url = f"{endpoint.url}?key=query-secret&other=query%2Fsecret2"
    line = open_sender(url, opened, headers={"X-Key": "header-secret"}, token="t0ken-1234")

    got = send(line)

    assert got.error == "got ***, ***, *** and *** [31m end"


def test_the_text_of_an_accepting_answer_is_not_stored(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    endpoint.behave = lambda _request, _line: endpoints.Reply(200, b"thanks")

    assert send(open_sender(endpoint.url, opened)).error == ""


def test_an_environment_proxy_is_used_and_no_proxy_is_honoured(
    endpoint: endpoints.Endpoint, opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{endpoint.port}")
    send(open_sender("http://far.example/hook?x=1", opened))

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    send(open_sender(endpoint.url, opened))

    through, direct = endpoint.received
    assert through.path == "http://far.example/hook?x=1"
    assert through.headers["proxy-authorization"].startswith("Basic ")
    assert direct.path == "/hook"


# --- TLS


class Authority:
    """A certificate authority with its files in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self.ca = trustme.CA()
        self.file = directory / f"{name}.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def server(self, *, clients: "Authority | None" = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            clients.ca.configure_trust(context)
        return context

    def client(self, directory: Path, *, lifetime_s: float = 3600) -> tuple[str, str]:
        until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=lifetime_s)
        issued = self.ca.issue_cert("client@example", not_after=until)
        certificate, key = directory / "client.pem", directory / "client.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def secure(authority: Authority) -> Iterator[endpoints.Endpoint]:
    served = endpoints.Endpoint(context=authority.server())
    yield served
    served.down()


def test_the_configured_authority_is_trusted(
    secure: endpoints.Endpoint, authority: Authority, opened: contextlib.ExitStack
) -> None:
    line = open_sender(secure.url, opened, files=tls_context.TlsFiles(ca=str(authority.file)))

    assert [send(line).status for _ in range(3)] == [204] * 3
    assert secure.connections == 1


def test_a_certificate_of_another_authority_is_a_tls_error(
    secure: endpoints.Endpoint, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")

    for files in (tls_context.TlsFiles(ca=str(other.file)), tls_context.TlsFiles()):
        got = send(open_sender(secure.url, opened, files=files))
        assert (got.code, got.status) == ("tls", 0)
        assert got.error.startswith("certificate not accepted")


def test_an_environment_bundle_does_not_override_the_configured_one(
    secure: endpoints.Endpoint,
    authority: Authority,
    opened: contextlib.ExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Authority(tmp_path, "other").file))

    assert send(open_sender(secure.url, opened, files=tls_context.TlsFiles(ca=str(authority.file)))).status == 204


def test_a_certificate_for_another_name_is_a_tls_error(authority: Authority, opened: contextlib.ExitStack) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("other.example").configure_cert(context)
    served = endpoints.Endpoint(context=context)

    got = send(open_sender(served.url, opened, files=tls_context.TlsFiles(ca=str(authority.file))))

    assert got.code == "tls"
    served.down()


def test_plain_http_on_a_tls_port_is_a_tls_error(endpoint: endpoints.Endpoint, opened: contextlib.ExitStack) -> None:
    endpoint.behave = lambda _request, line: line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk_plain() -> None:
            line, _ = listener.accept()
            line.recv(1000)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            line.close()

        threading.Thread(target=talk_plain, daemon=True).start()
        got = send(open_sender(f"https://127.0.0.1:{listener.getsockname()[1]}/", opened))

    assert got.code == "tls"


def test_verification_can_be_switched_off_without_a_warning_per_request(
    secure: endpoints.Endpoint, opened: contextlib.ExitStack
) -> None:
    line = open_sender(secure.url, opened, files=tls_context.TlsFiles(verify=False))

    with warnings.catch_warnings(record=True) as shown:
        assert send(line).status == 204

    assert not shown


def test_a_replaced_authority_is_used_within_seconds_even_on_open_connections(
    authority: Authority, secure: endpoints.Endpoint, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    file = tmp_path / "in-force.pem"
    file.write_bytes(authority.file.read_bytes())
    line = open_sender(secure.url, opened, files=tls_context.TlsFiles(ca=str(file)))
    assert send(line).status == 204

    replace(file, Authority(tmp_path, "other").file.read_bytes())
    wait_for(lambda: send(line).code == "tls")
    replace(file, authority.file.read_bytes())

    wait_for(lambda: send(line).status == 204)


def test_a_broken_authority_file_leaves_the_previous_one_in_use_and_is_logged_once(
    authority: Authority, secure: endpoints.Endpoint, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    file = tmp_path / "in-force.pem"
    file.write_bytes(authority.file.read_bytes())
    problems: list[str] = []
    line = open_sender(secure.url, opened, files=tls_context.TlsFiles(ca=str(file)), on_tls_error=problems.append)
    send(line)

    replace(file, b"-----BEGIN CERTIFICATE-----\nhalf")
    wait_for(lambda: send(line).status == 204 and bool(problems))
    time.sleep(1.1)  # after that the file is read again

    assert send(line).status == 204
    assert len(problems) == 1
    assert str(file) in problems[0]


def test_an_authority_file_that_is_missing_at_first_is_used_when_it_appears(
    authority: Authority, secure: endpoints.Endpoint, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    file = tmp_path / "late.pem"
    line = open_sender(secure.url, opened, files=tls_context.TlsFiles(ca=str(file)))

    got = send(line)
    assert got.code == "tls"
    assert str(file) in got.error

    replace(file, authority.file.read_bytes())
    wait_for(lambda: send(line).status == 204)


def test_a_client_certificate_is_shown_and_a_replaced_one_too(
    authority: Authority, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    clients, others = Authority(tmp_path, "clients"), Authority(tmp_path, "others")
    served = endpoints.Endpoint(context=authority.server(clients=clients))
    certificate, key = others.client(tmp_path)
    files = tls_context.TlsFiles(ca=str(authority.file), certificate=certificate, key=key)
    line = open_sender(served.url, opened, files=files)

    assert send(line).status == 0
    clients.client(tmp_path)
    wait_for(lambda: send(line).status == 204)

    without = open_sender(served.url, opened, files=tls_context.TlsFiles(ca=str(authority.file)))
    assert send(without).status == 0
    served.down()


def test_an_encrypted_key_does_not_ask_for_a_password(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.client(tmp_path)
    locked = tmp_path / "locked.key"
    locked.write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        "DEK-Info: AES-128-CBC,00000000000000000000000000000000\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    )

    with pytest.raises(Exception, match=r"can't be used for TLS"):
        tls_context.make_context(tls_context.TlsFiles(certificate=certificate, key=str(locked)))


def replace(file: Path, content: bytes) -> None:
    """Replace a file atomically, with another inode, like a mounted secret."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(file)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
