"""One request and its response on a connection that never blocks: the order of sending and receiving.

`response_parser` parses the response. Used by `http_sender`; knows nothing about events and deadlines.
"""

import ssl
from dataclasses import replace

from beacon.notifier.transport import event_loop, response_parser, stream

_AT_ONCE = 16 * 1024
_SENT_AT_ONCE = 64 * 1024  # before checking for an early response
_PIECES = 8  # before other connections have their turn


class HttpExchange:
    """One request and its response on a connected, idle stream.

    `sent` is True once the request was sent completely. `events` are those for which the stream must be watched.
    """

    __slots__ = ("_blocked", "_early", "_parser", "_response", "_rest", "_stopped", "_stream", "sent")

    def __init__(self, connected: stream.NonBlockingStream, data: bytes) -> None:
        """Create an exchange without sending anything."""
        self._stream = connected
        self._rest = memoryview(data)
        self._parser: response_parser.ResponseParser | None = None  # unless the response is known at once
        self._response: response_parser.EndpointResponse | None = None
        self._early = False  # the response began before the end of the request
        self._stopped = False  # the rest of the request will not be sent
        self._blocked = 0  # the event for which sending or receiving waits, besides bytes of the response
        self.sent = False

    @property
    def events(self) -> int:
        """Return the events for which the exchange waits."""
        return self._blocked | (event_loop.READ if self._response is None else 0)

    def start(self) -> response_parser.EndpointResponse | None:
        """Send what can be sent without waiting; otherwise like `advance`."""
        self._blocked = 0
        self._send()
        return self._result()

    def advance(self) -> response_parser.EndpointResponse | None:
        """Send and receive what is possible without waiting. Return the response when the exchange is complete.

        If the response began before the end of the request, the connection is not reusable. If the request was not sent
        completely, the response can't accept the event.

        Raises:
            OSError: the connection broke.
            response_parser.InvalidResponse: there is no complete response.
        """
        self._blocked = 0
        if self._response is None:
            self._receive()  # first, because a response that is here already is early
        if not (self.sent or self._stopped):
            self._send()
        return self._result()

    def _result(self) -> response_parser.EndpointResponse | None:
        response = self._response
        if response is None or not (self.sent or self._stopped):
            return None
        if self._early or not self.sent:
            response = replace(response, reusable=False)
        if response.status < 300 and not self.sent:
            raise response_parser.InvalidResponse("the event was accepted, but could not be sent whole")
        return response

    def _send(self) -> None:
        """Send until the stream accepts no more, or a final response refuses the request."""
        for _ in range(_PIECES):
            if not self._send_piece():
                return
            if self._response is None:
                self._receive()
            if self._stopped:
                return
        self._blocked |= event_loop.WRITE

    def _send_piece(self) -> bool:
        """Send a piece. Return True if another one may follow at once."""
        try:
            if self._rest:
                self._rest = self._rest[self._stream.send(self._rest[:_SENT_AT_ONCE]) :]
            if self._rest:
                return True
            flushed = self._stream.flush()
        except ssl.SSLWantReadError:
            self._blocked |= event_loop.READ
        except stream.WOULD_BLOCK:
            self._blocked |= event_loop.WRITE
        except OSError:
            self._stopped = True  # the endpoint may have answered before it closed the connection
        else:
            self.sent, self._early = flushed, self._has_begun
            self._blocked |= 0 if flushed else event_loop.WRITE
        return False

    def _receive(self) -> None:
        """Parse the bytes that can be read without waiting, one piece if the descriptor shows further ones."""
        while self._response is None:
            try:
                piece = self._stream.recv(_AT_ONCE)
            except ssl.SSLWantWriteError:
                self._blocked |= event_loop.WRITE
                return
            except stream.WOULD_BLOCK:
                return
            self._response = self._parse(piece)
            if not self.sent and self._status >= 300:
                self._stopped = True
            if not self._stream.has_pending():
                return

    def _parse(self, piece: bytes) -> response_parser.EndpointResponse | None:
        if self._parser is None:
            if 0 < len(piece) <= response_parser.LONGEST_KNOWN and (known := response_parser.known(piece)) is not None:
                return known
            self._parser = response_parser.ResponseParser()
        return self._parser.feed(piece) if piece else self._parser.end_of_stream()

    @property
    def _has_begun(self) -> bool:
        """Return True if more than complete interim responses has arrived."""
        return self._response is not None or (self._parser is not None and self._parser.begun)

    @property
    def _status(self) -> int:
        """Return the status of the response, 0 before its head has arrived."""
        if self._response is not None:
            return self._response.status
        return 0 if self._parser is None else self._parser.status
