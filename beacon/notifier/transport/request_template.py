"""The bytes of requests: rendered once by urllib3, then only filled in.

All requests differ in three places: rendering each request with requests took as long as all other work together.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from urllib3 import connection

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"  # structured mode of CloudEvents
_OF_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
_CONNECTION_HEADERS = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OWN_HEADERS = {"content-length", "content-type", "host", "x-beacon-event-id", "x-request-id"}
REFUSED_HEADERS = frozenset(_CONNECTION_HEADERS | _OWN_HEADERS)
_PORTS = {"http": 80, "https": 443}
_MARKS = {
    "X-Request-ID": "mark-of-a-request",
    "X-Beacon-Event-ID": "mark-of-an-event",
    "Content-Length": "mark-of-a-length",
}


class RequestTemplate:
    """The bytes that all requests share."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str | bytes]) -> None:
        """Render a request with urllib3 and split it where requests differ.

        Raises:
            ValueError: a header contains characters that can't be sent.
        """
        scribe = _Scribe("a-host-is-among-the-headers")
        scribe.request(method, target, headers={**headers, **_MARKS})  # type: ignore[dict-item]  # bytes are written unchanged
        rest = b"".join(scribe.written)
        self._parts: list[bytes] = []
        for mark in _MARKS.values():
            before, _, rest = rest.partition(mark.encode())
            self._parts.append(before)
        self._end = rest.removesuffix(b"\r\n")

    def fill(self, request_id: str, event_id: str, body: bytes, *, more: bytes = b"") -> bytes:
        """Return the bytes of a request; `more` are further header lines, each with its line end."""
        first, second, third = self._parts
        return b"%b%b%b%b%b%d%b%b\r\n%b" % (
            first, request_id.encode(), second, event_id.encode(), third, len(body), self._end, more, body
        )  # fmt: skip


class _Scribe(connection.HTTPConnection):
    """Collects the bytes of a request instead of sending them."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.written: list[bytes] = []

    def send(self, data: object) -> None:
        self.written.append(bytes(data))  # type: ignore[call-overload]  # a bytes-like object


class Headers:
    """The headers of an endpoint: Beacon's own, the configured ones, and the credentials."""

    def __init__(self, url: str, agent: str, configured: Mapping[str, str], *, is_form: bool = False) -> None:
        """Keep the headers; configured ones that Beacon sets itself are ignored. `is_form`: the body is no event."""
        self._own = {"Host": _host(url), "User-Agent": agent}
        self._own |= _OF_FORM if is_form else {"Content-Type": CONTENT_TYPE}
        self._configured = {
            name: value.encode("utf-8")
            for name, value in configured.items()
            if name.strip().lower() not in REFUSED_HEADERS
        }

    def with_token(
        self, token: str, credentials: Mapping[str, bytes], *, proxy: Mapping[str, str]
    ) -> dict[str, str | bytes]:
        """Return the headers of a request, with a bearer token, "" for none, and further headers with credentials.

        `proxy` are those for a proxy that forwards it.
        """
        headers: dict[str, str | bytes] = {**self._own, **proxy}
        _put_all(headers, self._configured)
        if token:
            _put_all(headers, {"Authorization": b"Bearer " + token.encode("utf-8")})
        _put_all(headers, credentials)
        return headers


def _host(url: str) -> str:
    """Return the Host header for a URL: without the default port of its scheme."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if parts.port in (None, _PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _put_all(headers: dict[str, str | bytes], more: Mapping[str, bytes]) -> None:
    """Add headers, replacing those of the same name in any case."""
    for name, value in more.items():
        for present in [other for other in headers if other.lower() == name.lower()]:
            del headers[present]
        headers[name] = value
