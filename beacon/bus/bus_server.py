"""The store's end of the bus: one ROUTER socket.

It receives requests and sends replies without interpreting them. It never waits for a client: a reply that can't be
sent immediately is dropped, because the client repeats the request.
"""

import os
import threading
from dataclasses import dataclass
from types import TracebackType

import zmq

from beacon import errors
from beacon.bus import client


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A received request; pass it to `BusServer.reply`."""

    peer: bytes
    frame: bytes
    data: bytes


class BusServer:
    """The store's end of the bus.

    The caller must hold the lock on the run directory: a second bind on the same path would replace the first one.
    """

    def __init__(self, where: str) -> None:
        """Bind to `where`; only processes of this user can connect.

        Raises:
            errors.StartError: binding failed.
        """
        self._wakeup_lock = threading.Lock()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wakeup, zmq.POLLIN)
        client.configure(self._socket, most=client.MOST_REQUEST)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        before = os.umask(0o177)
        try:
            self._socket.bind(where)
        except zmq.ZMQError as error:
            self.close()
            raise errors.StartError(f"can't listen at {where}: {error}", exit_code=errors.EXIT_CANNOT_CREATE) from error
        finally:
            os.umask(before)

    def __enter__(self) -> "BusServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
        with self._wakeup_lock:
            if self._wakeup >= 0:
                os.close(self._wakeup)
                self._wakeup = -1

    def wake(self) -> None:
        """Make the current or next `receive` return early; no effect after `close`. For any thread."""
        with self._wakeup_lock:  # a closed descriptor may already belong to another file
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    def receive(self, timeout_s: float, *, limit: int) -> list[Incoming]:
        """Wait up to `timeout_s` for requests, or until woken. Return those that have arrived, at most `limit`."""
        arrived: list[Incoming] = []
        events = dict(self._poller.poll(int(timeout_s * 1000 + 0.999)))
        if self._wakeup in events:
            os.eventfd_read(self._wakeup)
        while len(arrived) < limit and client.readable(self._socket):
            frames = self._socket.recv_multipart(zmq.DONTWAIT)
            if len(frames) == 3:
                arrived.append(Incoming(peer=frames[0], frame=frames[1], data=frames[2]))
        return arrived

    def reply(self, incoming: Incoming, data: bytes) -> bool:
        """Send a reply without waiting. Return False if the client is gone or its queue is full."""
        try:
            self._socket.send_multipart([incoming.peer, incoming.frame, data], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                return False
            raise
        return True
