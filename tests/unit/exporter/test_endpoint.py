"""The HTTP server: its answers, and that no client can prevent it from answering others."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import pytest

from beacon import errors
from beacon.exporter import answering, endpoint, listening
from beacon.runtime import log
from tests.integration import processes


def hello(accept: str) -> answering.HttpAnswer:
    return answering.plain(HTTPStatus.OK, f"hello {accept}".strip())


@contextmanager
def serving(routes: dict[str, answering.Route], host: str = "127.0.0.1") -> Iterator[endpoint.HttpEndpoint]:
    made = endpoint.HttpEndpoint(0, "health.port", routes, host=host)
    threads = [threading.Thread(target=work.run, name=work.name) for work in made.threads]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        for thread in threads:
            thread.join()
        made.server_close()


@pytest.fixture
def served() -> Iterator[endpoint.HttpEndpoint]:
    with serving({"/hello": answering.Route(hello, choose=str)}) as made:
        yield made


def connected(served: endpoint.HttpEndpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=100)


def exchange(served: endpoint.HttpEndpoint, request: bytes) -> bytes:
    """Send bytes and return the complete answer."""
    with connected(served) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(
    served: endpoint.HttpEndpoint, method: str, path: str, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=100)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_a_route_is_answered_and_the_connection_closed(served: endpoint.HttpEndpoint) -> None:
    response, body = ask(served, "GET", "/hello?probe=1", Accept="text/html")

    assert (response.status, body) == (200, b"hello text/html\n")
    assert response.headers["Connection"] == "close"
    assert response.headers["Server"] == "beacon"


def test_head_is_answered_like_get_without_a_body(served: endpoint.HttpEndpoint) -> None:
    response, body = ask(served, "HEAD", "/hello")

    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "6")


def test_an_unknown_path_is_404_with_the_available_paths(served: endpoint.HttpEndpoint) -> None:
    response, body = ask(served, "GET", "/")

    assert (response.status, body) == (404, b"available: /hello\n")
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_405(served: endpoint.HttpEndpoint, method: str) -> None:
    response, body = ask(served, method, "/hello")

    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert body == b"only GET and HEAD\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /hello HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /hello HTTP/2.0\r\n\r\n", b"505"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"GET /hello\r\n\r\n", b"505"),
        (b"GET /hello HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /hello HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"y" * 3000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /hello HTTP/1.0\n\n", b"200"),
        (b"\r\n\r\nGET /hello HTTP/1.1\r\n\r\n", b"200"),
        (b"GET http://beacon:8080/hello?a=b HTTP/1.1\r\nHost: beacon\r\n\r\n", b"200"),
        (b"GET http://[broken/hello HTTP/1.1\r\n\r\n", b"404"),
        (b"GET http://beacon HTTP/1.1\r\n\r\n", b"404"),
        (b"GET //hello HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /%68ello HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /hello/../hello HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /hello%00 HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /hello\0 HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /h\xe9llo HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /hello?name[]=a&name[]=%00&=&%zz HTTP/1.1\r\n\r\n", b"200"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", b"405"),
        (b"CONNECT beacon:80 HTTP/1.1\r\n\r\n", b"405"),
        (b"get /hello HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /hello HTTP/1.1\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\n\r\n", b"200"),
        (b"GET /hello HTTP/1.1\r\nContent-Type: text/plain; charset=\0\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nContent-Type: text/plain; charset*=\xff''%00\r\n\r\n", b"200"),
        (b"GET /hello HTTP/1.1\r\n" + b"Expect: 100-continue\r\n" * 90 + b"\r\n", b"200"),
        (b"GET /hello HTTP/1.1\r\n" + b"Expect: 100-continue\r\n" * 160 + b"\r\n", b"431"),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"200"),
        (b"GET /hello HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nabc", b"200"),
        (b"GET /hello HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nrubbish", b"200"),
        (b"POST /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", b"405"),
        (b"GET /hello HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nPRI * HTTP/2.0", b"200"),
        (b"GET /hello HTTP/1.1\r\nA : b\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\n folded\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nA: b\rc\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), b"400"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"400"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_odd_request_gets_a_valid_answer_and_does_not_affect_later_ones(
    served: endpoint.HttpEndpoint, request_: bytes, status: bytes
) -> None:
    assert exchange(served, request_).startswith(b"HTTP/1.1 " + status)
    assert ask(served, "GET", "/hello")[0].status == 200


def test_of_pipelined_requests_the_first_is_answered(served: endpoint.HttpEndpoint) -> None:
    answer = exchange(served, b"GET /hello HTTP/1.1\r\nAccept: a\r\n\r\nGET /none HTTP/1.1\r\nAccept: b\r\n\r\n" * 20)

    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"\r\n\r\nhello a\n")


def test_a_head_is_read_in_pieces_of_any_size(served: endpoint.HttpEndpoint) -> None:
    with connected(served) as connection:
        for byte in b"HEAD /hello?a HTTP/1.1\r\nHost: x\r\naCCept: y\r\n\r\n":
            connection.sendall(bytes([byte]))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert b"Content-Length: 8\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_client_that_sends_a_body_gets_its_answer_whole(served: endpoint.HttpEndpoint) -> None:
    answer = exchange(served, b"POST /hello HTTP/1.1\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)

    assert answer.endswith(b"only GET and HEAD\n")


def test_an_accept_header_of_any_length_is_bounded(served: endpoint.HttpEndpoint) -> None:
    assert ask(served, "GET", "/hello", Accept="a," * 5000)[1] == b"hello\n"


def test_a_head_without_end_is_cut_off(served: endpoint.HttpEndpoint) -> None:
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=100)

    with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe
        connection.sendall(b"x" * 50_000_000)

    connection.close()


def test_slow_clients_do_not_keep_a_probe_waiting(served: endpoint.HttpEndpoint) -> None:
    slow = [connected(served) for _ in range(3 * endpoint._MOST[endpoint._Stage.READING])]
    for connection in slow:
        connection.send(b"GET /hello HT")

    response, _ = ask(served, "GET", "/hello")

    assert response.status == 200
    assert gone(slow[0])  # the oldest was closed
    for connection in slow:
        connection.close()


def test_a_client_that_drips_is_cut_off_at_the_deadline(
    served: endpoint.HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(endpoint._DEADLINES_S, endpoint._Stage.READING, 0.2)
    with connected(served) as connection:
        connection.settimeout(0.02)
        while not gone(connection):
            with suppress(OSError):
                connection.send(b"G")


def test_a_client_that_does_not_read_its_answer_is_cut_off_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(endpoint._DEADLINES_S, endpoint._Stage.SENDING, 0.2)
    large = answering.HttpAnswer(status=HTTPStatus.OK, content_type="x", body=bytes(30_000_000))
    with serving({"/large": answering.Route(lambda _: large)}) as served, connected(served) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        processes.wait_for(lambda: bool(served._stages[endpoint._Stage.SENDING]), "an answer that is not read")

        processes.wait_for(lambda: not any(served._stages.values()), "the end of it")


def test_the_oldest_clients_that_do_not_read_their_answer_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(endpoint._MOST, endpoint._Stage.SENDING, 3)
    large = answering.HttpAnswer(status=HTTPStatus.OK, content_type="x", body=bytes(30_000_000))
    routes = {"/large": answering.Route(lambda _: large), "/hello": answering.Route(hello)}
    with serving(routes) as served:
        clients = [connected(served) for _ in range(10)]
        for client in clients:
            client.sendall(b"GET /large HTTP/1.1\r\n\r\n")

        assert ask(served, "GET", "/hello")[0].status == 200
        processes.wait_for(lambda: not served._stages[endpoint._Stage.ASKED], "all answers")
        assert len(served._stages[endpoint._Stage.SENDING]) <= 3
        for client in clients:
            client.close()


def test_a_client_that_stays_after_its_answer_is_cut_off(
    served: endpoint.HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(endpoint._DEADLINES_S, endpoint._Stage.LEAVING, 0.1)
    with connected(served) as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\n\r\n")

        processes.wait_for(lambda: bool(connection.recv(65536)) is False, "the answer's end")
        processes.wait_for(lambda: not any(served._stages.values()), "the connection's end")


def test_a_slow_route_does_not_keep_another_waiting() -> None:
    released = threading.Event()
    slow = answering.Route(lambda _: answering.plain(HTTPStatus.OK, str(released.wait(60))))
    with serving({"/slow": slow, "/hello": answering.Route(hello)}) as served:
        clients = [connected(served) for _ in range(40)]
        for client in clients:
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")

        assert ask(served, "GET", "/hello")[0].status == 200
        released.set()
        for client in clients:
            assert b"".join(iter(lambda one=client: one.recv(65536), b"")).endswith(b"True\n")  # type: ignore[misc]
            client.close()


def test_while_too_many_wait_for_an_answer_no_more_are_accepted_and_none_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(endpoint._MOST, endpoint._Stage.ASKED, 4)
    released = threading.Event()
    slow = answering.Route(lambda _: answering.plain(HTTPStatus.OK, str(released.wait(60))))
    with serving({"/slow": slow}) as served:
        clients = []
        for number in range(12):
            clients.append(connected(served))
            clients[-1].sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            waiting = min(4, number + 1)
            processes.wait_for(lambda: len(served._stages[endpoint._Stage.ASKED]) == waiting, "four")  # noqa: B023

        assert not served._stages[endpoint._Stage.READING]
        released.set()

        for client in clients:
            assert b"".join(iter(lambda one=client: one.recv(65536), b"")).endswith(b"True\n")  # type: ignore[misc]
            client.close()


def test_without_file_descriptors_connections_wait_and_are_answered_later(
    served: endpoint.HttpEndpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("exporter")
    calls: list[int] = []

    class Exhausted:
        """A listener whose process has no free file descriptor, three times."""

        def __init__(self, real: socket.socket) -> None:
            self.fileno = real.fileno
            self.close = real.close
            self._accept = real.accept

        def accept(self) -> tuple[socket.socket, object]:
            calls.append(1)
            if len(calls) <= 3:
                raise OSError(24, "too many open files")
            return self._accept()

    served._listener = Exhausted(served._listener)  # type: ignore[assignment]

    assert ask(served, "GET", "/hello")[0].status == 200
    assert len(calls) < 50  # it does not spin
    assert capfd.readouterr().out.count("accepting connections failed") == 1


def gone(connection: socket.socket) -> bool:
    """Return True if the server closes the connection within the socket's timeout."""
    try:
        return connection.recv(65536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_many_clients_at_a_time_are_all_answered(served: endpoint.HttpEndpoint) -> None:
    answered: list[int] = []
    threads = [
        threading.Thread(target=lambda: answered.append(ask(served, "GET", "/hello")[0].status)) for _ in range(20)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answered == [200] * 20


def test_a_client_that_leaves_before_its_answer_is_no_error(served: endpoint.HttpEndpoint) -> None:
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(b"GET /hello HTTP/1.1\r\n\r\n")
        connection.close()

    assert ask(served, "GET", "/hello")[0].status == 200


def test_a_port_in_use_is_named_with_its_key(served: endpoint.HttpEndpoint) -> None:
    with pytest.raises(errors.StartError) as raised:
        endpoint.HttpEndpoint(served.port, "metrics.port", {}, host="127.0.0.1")

    assert str(raised.value) == f"port {served.port} (metrics.port) is in use"
    assert raised.value.exit_code == errors.EXIT_TEMPORARY


def test_a_port_that_another_has_on_one_family_only_is_in_use_too(served: endpoint.HttpEndpoint) -> None:
    with pytest.raises(errors.StartError, match="is in use"):
        endpoint.HttpEndpoint(served.port, "metrics.port", {})


def test_without_a_host_both_families_are_served() -> None:
    with serving({"/hello": answering.Route(hello)}, host="") as made:
        for host in ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]:
            connection = http.client.HTTPConnection(host, made.port, timeout=100)
            connection.request("GET", "/hello")
            assert connection.getresponse().status == 200
            connection.close()


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (13, errors.EXIT_CONFIG, "port 80 (health.port) requires a privilege"),
        (98, errors.EXIT_TEMPORARY, "port 80 (health.port) is in use"),
        (12, errors.EXIT_TEMPORARY, "can't listen on port 80 (health.port)"),
    ],
)
def test_the_error_of_a_port_that_cannot_be_opened_is_one_sentence(number: int, code: int, words: str) -> None:
    error = listening.start_error(OSError(number, "strerror"), 80, "health.port")

    assert str(error).startswith(words)
    assert error.exit_code == code
