"""One watch: returns lines as they arrive, without waiting longer than the caller allows.

Once the HTTP client has read the response's head, the socket is taken over from it and read without blocking: a stream
must store its position, collect replies and check the stop flag while the cluster is silent, and a timeout in the
middle of a line would lose the part that http.client has read. Nothing is read ahead of the caller, so TCP flow control
stops the server when the caller stops reading.
"""

import select
import socket
import ssl
import time
from types import TracebackType

import urllib3

from beacon.cluster import connection, discovery, failures, framing

_AT_ONCE = 64 * 1024
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class OpenWatch:
    """An open watch; a context manager. `ended` is True once the server has ended it properly, or its time is over."""

    def __init__(self, response: urllib3.BaseHTTPResponse, *, inactive_s: float, longest_s: float) -> None:
        """Take over the socket of a response, for `longest_s`; `inactive_s` without a line are reported.

        Raises:
            failures.Broken: the response has no streamed body.
        """
        self._response = response
        self._inactive_s = inactive_s
        self._socket, self._leftover = _take_over(response)
        self._chunks = framing.Chunks() if _is_chunked(response) else None
        self._lines = framing.Lines()
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._silent_s = 0.0
        self._noise = False  # the last bytes completed no line
        self._until = time.monotonic() + longest_s
        self.ended = False
        self.more = False  # the last read left bytes that the socket may not report as readable again

    def fileno(self) -> int:
        """Return the socket's descriptor, for `select`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    def __enter__(self) -> "OpenWatch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, timeout_s: float) -> list[bytes]:
        """Return the complete lines, after waiting up to `timeout_s` for bytes; the list may be empty.

        Raises:
            failures.Broken: the connection ended in the middle of the response.
            failures.Silent: nothing was received for too long. The watch is still open and may be read again.
            failures.Stuck: bytes were received, but no whole line.
        """
        began = time.monotonic()
        if began >= self._until:
            self.ended = True
            return []
        lines = self._read(timeout_s)
        if lines:
            self._silent_s = 0.0
        elif timeout_s:
            self.waited(time.monotonic() - began)
        return lines

    def waited(self, seconds: float) -> None:
        """Count time in which nothing arrived, and the caller would have read it: time of its other work is no silence.

        Raises:
            failures.Silent, failures.Stuck: as `read`.
        """
        self._silent_s += seconds
        if time.monotonic() >= self._until:
            self.ended = True
        if self._silent_s >= self._inactive_s and not self.ended:
            self._silent_s = 0.0
            self._report_silence()

    def _report_silence(self) -> None:
        if self._noise or self._lines.partial:
            raise failures.Stuck(f"only parts of a line were received for {self._inactive_s:g} s")
        raise failures.Silent(f"nothing was received for {self._inactive_s:g} s, not even a bookmark")

    def _read(self, timeout_s: float) -> list[bytes]:
        data = self._receive(timeout_s)
        if data is None:
            return []
        if not data:
            self._finish(whole=self._chunks is None)
            return []
        lines = self._lines.feed(self._chunks.feed(data) if self._chunks else data)
        self._noise = not lines
        if self._chunks and self._chunks.complete:
            self._finish(whole=True)
        return lines

    def _receive(self, timeout_s: float) -> bytes | None:
        """Return the received bytes, b"" at the end of the connection, or None if nothing arrived in time."""
        if (data := self._take()) is None and timeout_s:
            self._poll.poll(timeout_s * 1000)
            data = self._take()
        return data

    def _take(self) -> bytes | None:
        taken, self._leftover, self.more = self._leftover, b"", False
        parts = [taken] if taken else []
        size = len(taken)
        try:
            while size < _AT_ONCE and (data := self._socket.recv(_AT_ONCE)):
                parts.append(data)
                size += len(data)
        except _WOULD_BLOCK:
            return b"".join(parts) if parts else None
        except OSError as error:
            if not parts:
                raise failures.Broken(f"the connection broke: {error.strerror or error}") from error
        self.more = True  # the limit was reached, or the end, which the next read returns
        return b"".join(parts)

    def _finish(self, *, whole: bool) -> None:
        if not whole:
            raise failures.Broken("the connection ended before the end of the response")
        if self._lines.partial:
            raise failures.Broken("the response ended in the middle of a line")
        self.ended = True


def start(
    api: connection.Connection,
    resource: discovery.ServedResource,
    namespace: str,
    *,
    position: int,
    timeout_s: int,
    inactive_s: float,
    grace_s: float = 10.0,
) -> OpenWatch:
    """Watch a collection from a position; the server ends the watch after `timeout_s`, or Beacon `grace_s` later.

    Raises:
        failures.ApiRefused: another status than 200.
        failures.Unreachable: no response.
        failures.Broken: the response has no streamed body.
    """
    query = [
        ("watch", "true"),
        ("resourceVersion", str(position)),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(timeout_s)),
    ]
    response = api.open(resource.path(namespace), query=query, accept=connection.METADATA)
    try:
        return OpenWatch(response, inactive_s=inactive_s, longest_s=timeout_s + grace_s)
    except failures.Broken:
        response.close()
        raise


def _is_chunked(response: urllib3.BaseHTTPResponse) -> bool:
    return response.headers.get("Transfer-Encoding", "").lower() == "chunked"


def _take_over(response: urllib3.BaseHTTPResponse) -> tuple[socket.socket, bytes]:
    """Return the response's socket, non-blocking now, and the bytes of the body that arrived with the head."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise failures.Broken("the API server compressed the watch, which was not requested")
    if "Content-Length" in response.headers:
        raise failures.Broken("the API server responded to the watch with a document instead of a stream")
    # urllib3 has no public access to its reader; tests/contract/test_list_watch.py checks these names.
    reader = getattr(getattr(response, "_fp", None), "fp", None)
    if reader is None:
        raise failures.Broken("the API server responded to the watch without a body")
    taken: socket.socket = reader.raw.release()
    taken.settimeout(0)
    try:
        leftover: bytes = reader.peek()
    except _WOULD_BLOCK:
        leftover = b""
    except OSError as error:
        raise failures.Broken(f"the connection broke: {error.strerror or error}") from error
    return taken, leftover
