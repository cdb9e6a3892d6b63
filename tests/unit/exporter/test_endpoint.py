"""The listening port: what it answers, and that nobody can keep it from answering others."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from beacon import errors
from beacon.exporter import endpoint


def hello(accept: str) -> endpoint.Answer:
    return endpoint.plain(HTTPStatus.OK, f"hello {accept}".strip())


@pytest.fixture
def served() -> Iterator[endpoint.Endpoint]:
    made = endpoint.Endpoint(0, "health.port", {"/hello": hello}, host="127.0.0.1")
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def ask(served: endpoint.Endpoint, method: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_a_route_is_answered_and_the_connection_closed(served: endpoint.Endpoint) -> None:
    response, body = ask(served, "GET", "/hello?probe=1", Accept="text/html")

    assert (response.status, body) == (200, b"hello text/html\n")
    assert response.headers["Connection"] == "close"
    assert response.headers["Server"] == "beacon"


def test_head_is_answered_like_get_without_a_body(served: endpoint.Endpoint) -> None:
    response, body = ask(served, "HEAD", "/hello")

    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "6")


def test_another_path_is_404_in_plain_text_and_says_what_there_is(served: endpoint.Endpoint) -> None:
    response, body = ask(served, "GET", "/")

    assert (response.status, body) == (404, b"there is /hello\n")
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_405(served: endpoint.Endpoint, method: str) -> None:
    response, body = ask(served, method, "/hello")

    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert body == b"only GET and HEAD\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /hello HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /hello HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /hello HTTP/1.0\n\n", b"200"),
        (b"GET http://[broken/hello HTTP/1.1\r\n\r\n", b"404"),
    ],
)
def test_an_odd_request_gets_a_proper_answer(served: endpoint.Endpoint, request_: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(request_)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert status in answer.split(b"\r\n")[0]


def test_a_head_without_end_is_cut_off(served: endpoint.Endpoint) -> None:
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)

    with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe
        connection.sendall(b"x" * 50_000_000)

    connection.close()


def test_slow_clients_do_not_keep_a_probe_waiting(served: endpoint.Endpoint) -> None:
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(3 * endpoint._MOST_CONNECTIONS)]
    for connection in slow:
        connection.setblocking(False)
        connection.send(b"GET /hello HT")
    started = time.perf_counter()

    response, _ = ask(served, "GET", "/hello")

    assert response.status == 200
    assert time.perf_counter() - started < 2
    slow[0].settimeout(endpoint._DEADLINE_S / 2)
    assert slow[0].recv(1) == b""  # the oldest had to give way, long before its deadline
    for connection in slow:
        connection.close()


def test_a_client_that_drips_is_cut_off_at_the_deadline(
    served: endpoint.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_DEADLINE_S", 0.5)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.settimeout(0.05)
        for _ in range(200):
            try:
                connection.send(b"G")
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break

    assert 0.3 < time.perf_counter() - started < 5


def test_many_clients_at_a_time_are_all_answered(served: endpoint.Endpoint) -> None:
    answered: list[int] = []
    threads = [
        threading.Thread(target=lambda: answered.append(ask(served, "GET", "/hello")[0].status)) for _ in range(20)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answered == [200] * 20


def test_a_client_that_leaves_before_its_answer_is_no_error(served: endpoint.Endpoint) -> None:
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", served.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(b"GET /hello HTTP/1.1\r\n\r\n")
        connection.close()

    assert ask(served, "GET", "/hello")[0].status == 200


def test_a_port_in_use_is_named_with_its_key(served: endpoint.Endpoint) -> None:
    with pytest.raises(errors.StartError) as raised:
        endpoint.Endpoint(served.port, "metrics.port", {}, host="127.0.0.1")

    assert str(raised.value) == f"port {served.port} (metrics.port) is in use"
    assert raised.value.exit_code == errors.EXIT_TEMPORARY


def test_a_port_that_another_has_on_one_family_only_is_in_use_too(served: endpoint.Endpoint) -> None:
    with pytest.raises(errors.StartError, match="is in use"):
        endpoint.Endpoint(served.port, "metrics.port", {})


def test_without_a_host_both_families_are_served() -> None:
    made = endpoint.Endpoint(0, "health.port", {"/hello": hello})
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    hosts = ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]

    for host in hosts:
        connection = http.client.HTTPConnection(host, made.port, timeout=10)
        connection.request("GET", "/hello")
        assert connection.getresponse().status == 200
        connection.close()

    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (13, errors.EXIT_CONFIG, "port 80 (health.port) needs a privilege"),
        (98, errors.EXIT_TEMPORARY, "port 80 (health.port) is in use"),
        (12, errors.EXIT_TEMPORARY, "can't listen on port 80 (health.port)"),
    ],
)
def test_why_a_port_cannot_be_had_is_said_in_one_sentence(number: int, code: int, words: str) -> None:
    error = endpoint._start_error(OSError(number, "strerror"), 80, "health.port")

    assert str(error).startswith(words)
    assert error.exit_code == code
