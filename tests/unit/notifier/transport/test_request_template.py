"""The bytes of requests: equal to those of the library, with all three places filled in."""

import contextlib
import http.client
import socket

import pytest

from beacon.notifier.transport import request_template


def test_a_filled_template_equals_the_request_of_the_library() -> None:
    headers: dict[str, str | bytes] = {"Host": "example:8080", "User-Agent": "beacon", "X-Own": "säule".encode()}
    ids = {"X-Request-ID": b"11111111-2222", "X-Beacon-Event-ID": b"33333333-4444"}

    template = request_template.RequestTemplate("PUT", "/in?a=b", headers)
    filled = template.fill("11111111-2222", "33333333-4444", b'{"a":1}')

    with socket.create_server(("127.0.0.1", 0)) as server:
        library = http.client.HTTPConnection(*server.getsockname())
        library.connect()
        other, _ = server.accept()
        with contextlib.closing(library), other:
            library.request("PUT", "/in?a=b", b'{"a":1}', {**headers, **ids})
            sent = other.recv(4096)
    assert sorted(filled.split(b"\r\n")) == sorted(sent.split(b"\r\n"))
    assert filled.endswith(b'\r\n\r\n{"a":1}')


def test_a_header_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="header"):
        request_template.RequestTemplate("POST", "/", {"Authorization": b"Bearer a\r\nX-Smuggled: b"})
