"""The client end of the bus: a DEALER socket in each thread that talks to the store's ROUTER socket.

The bus does not interpret requests, but requires that each may be sent more than once. docs/decisions/0003-bus.md has
the measurements behind each socket option. A client belongs to one thread; others may call only `Client.wake`.
"""

import math
import os
import select
import struct
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import zmq

from beacon import errors, wire

_EVENT = struct.Struct("=Hi")  # an event and its value; zmq.utils.monitor parses it, too, but imports asyncio
_FRAME = struct.Struct("<QI")  # ticket of a request, transmission number
_SLICE_S = 0.5  # longest wait of a call between checks of the stop flag; how late a timeout may be noticed
_IDLE_S = 2.0  # longest wait between heartbeats
_READABLE = int(zmq.POLLIN)  # combining flags is slow
_RETRY_S = 0.05  # between two attempts to send a request that the socket does not accept
_PING_MS = 2000  # how often a client checks that the store is not frozen
_PONG_MS = 5000
_HIGH_WATER = 1000
_BACKOFF_S = (0.05, 2.0)
_AGAIN = frozenset({wire.Refusal.STARTING, wire.Refusal.FULL, wire.Refusal.STORAGE})
MOST_REQUEST = 24 * 1024 * 1024  # bytes; a list that an API server returns without paging may have 16 MiB
MOST_REPLY = 256 * 1024 * 1024  # a scope's whole tracked set: 6 million UIDs
_Q = TypeVar("_Q")
_LONGEST_PATH = 107  # bytes in sockaddr_un.sun_path, less its terminator


class LedgerChanged(errors.TransientError):
    """The store has another ledger than before: all known positions and deliveries are void."""


class SettingsChanged(errors.TransientError):
    """The store has restarted with another configuration: the process must restart to load it."""


def address(run_dir: Path) -> str:
    """Return the address of the store's socket in a run directory.

    Raises:
        errors.StartError: the path is too long for a unix socket.
    """
    path = run_dir / "store.sock"
    if len(os.fsencode(path)) > _LONGEST_PATH:
        message = f"{path} is longer than the {_LONGEST_PATH} bytes of a socket's path: choose a shorter BEACON_RUN_DIR"
        raise errors.StartError(message, exit_code=errors.EXIT_CONFIG)
    return f"ipc://{path}"


@dataclass(slots=True)
class _Pending:
    request: wire.AnyRequest
    timeout_s: float
    transmission: int = 0
    sent_at: float | None = None  # monotonic; None while it waits to be sent


class Client:
    """One thread's end of the bus.

    Replies arrive in any order. A request is sent again after a timeout, a lost connection or a temporary refusal, and
    is never abandoned, except by `try_call`.
    """

    def __init__(
        self,
        where: str,
        *,
        stop: threading.Event,
        on_beat: Callable[[], None] = lambda: None,
        timeout_s: float = 5.0,
        window: int = 64,
    ) -> None:
        """Connect to the store at `where`; at most `window` requests may be unanswered."""
        self._where = where
        self._stop = stop
        self._on_beat = on_beat
        self._timeout_s = timeout_s
        self._window = window
        self._tickets = 0
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._unsent: deque[int] = deque()
        self._answered: dict[int, tuple[wire.AnyRequest, wire.Reply | errors.PermanentError]] = {}
        self._hold_until = 0.0
        self._overdue_at = math.inf  # no request becomes overdue before
        self._backoff_s = _BACKOFF_S[0]
        self._also = -1
        self._wakeup_lock = threading.Lock()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._woken = False
        self._resting = select.poll()
        self._resting.register(self._wakeup, select.POLLIN)
        self.ledger = ""
        self.settings_digest = ""
        self.renewed_at = 0.0  # monotonic time when the connection was last lost or restored
        self._lost = False
        self._connect()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; unanswered requests stay unanswered."""
        self._disconnect()
        with self._wakeup_lock:
            if self._wakeup >= 0:
                os.close(self._wakeup)
                self._wakeup = -1

    @property
    def pending(self) -> int:
        """Return the number of unanswered requests."""
        return len(self._pending)

    @property
    def free_slots(self) -> int:
        """Return how many more requests `submit` accepts now."""
        return self._window - len(self._pending)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that become readable when `collect` has work; others after a reconnection.

        They show changes only: a caller that waits for them first asks `has_input`, and waits no longer than
        `patience_s`.
        """
        return self._descriptors

    @property
    def has_input(self) -> bool:
        """Return True if `collect` has work now. Sending may consume the change of a descriptor that shows it."""
        return bool(self._answered) or readable(self._socket)

    @property
    def patience_s(self) -> float:
        """Return after which time `collect` must be called even if no descriptor has become readable."""
        return _RETRY_S if self._unsent else self._patience_s

    def wake(self) -> None:
        """Make the current or next `collect` return early; no effect on a closed client.

        This is the only method that other threads may call.
        """
        with self._wakeup_lock:  # a closed descriptor may already belong to another file
            if self._wakeup >= 0 and not self._woken:
                self._woken = True
                os.eventfd_write(self._wakeup, 1)

    def rest(self, timeout_s: float) -> None:
        """Wait until woken, for up to `timeout_s`, without looking at replies: each wake-up costs more than a reply."""
        self._resting.poll(timeout_s * 1000)

    def wake_on(self, descriptor: int) -> None:
        """Make `gather` return early as soon as this descriptor is readable: that of an epoll object, for example."""
        self._also = descriptor
        self._pollers.clear()

    def call(self, request: wire.Request[wire.R], *, timeout_s: float | None = None) -> wire.R:
        """Send a request and wait for its reply; repeat it until the store answers.

        Raises:
            errors.Stopping: the process must stop.
            errors.PermanentError: the store rejected the request.
            LedgerChanged, SettingsChanged: see their descriptions.
        """
        ticket = self.submit(request, timeout_s=timeout_s)
        try:
            while not self._stop.is_set():
                if (reply := self._take(ticket, request)) is not None:
                    return reply
                self._advance(_SLICE_S)
        finally:
            self._forget(ticket)
        raise errors.Stopping("stopped while waiting for the store")

    def try_call(self, request: wire.Request[wire.R], *, timeout_s: float) -> wire.R:
        """Send a request and wait up to `timeout_s` for its reply.

        Raises:
            errors.TransientError: no answer in time, or a temporary refusal.
            errors.PermanentError: the store rejected the request.
        """
        ticket = self.submit(request, timeout_s=timeout_s * 2)
        deadline = time.monotonic() + timeout_s
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                if (reply := self._take(ticket, request)) is not None:
                    return reply
                self._advance(min(left_s, _SLICE_S))
            if (reply := self._take(ticket, request)) is not None:
                return reply
        finally:
            self._forget(ticket)
        raise errors.TransientError(f"the store did not answer within {timeout_s:g} s")

    def submit(self, request: wire.AnyRequest, *, timeout_s: float | None = None) -> int:
        """Send a request without waiting. Return the ticket with which `collect` returns its reply.

        The request is sent again if the store does not answer within `timeout_s`.
        """
        self._tickets += 1
        self._pending[self._tickets] = _Pending(request, self._timeout_s if timeout_s is None else timeout_s)
        self._unsent.append(self._tickets)
        self._transmit()
        return self._tickets

    def collect(self, verb: wire.Verb[_Q, wire.R], timeout_s: float) -> list[tuple[int, _Q, wire.R]]:
        """Wait up to `timeout_s` for replies, or until woken; return those to requests of `verb`.

        A reply is returned as (ticket, request, reply). Replies to other verbs are kept for their own callers.

        Raises:
            errors.PermanentError: the store rejected a request.
            LedgerChanged, SettingsChanged: see their descriptions; unanswered requests are dropped.
        """
        if not self._answered:
            self._advance(timeout_s, wakeable=True)
        collected: list[tuple[int, _Q, wire.R]] = []
        for ticket, (request, answer) in list(self._answered.items()):
            if not isinstance(request, verb.request):
                continue
            if isinstance(answer, errors.PermanentError):
                if collected:
                    break  # the replies before it are returned first
                del self._answered[ticket]
                raise answer
            del self._answered[ticket]
            collected.append((ticket, request, cast(Any, answer)))
        return collected

    def gather(self, timeout_s: float) -> list[tuple[int, wire.AnyRequest, wire.Reply | errors.PermanentError]]:
        """Wait as `collect` does; return all replies and refusals, of whatever verb, as (ticket, request, answer).

        Raises:
            LedgerChanged, SettingsChanged: see their descriptions; unanswered requests are dropped.
        """
        if not self._answered:
            self._advance(timeout_s, wakeable=True)
        gathered = [(ticket, request, answer) for ticket, (request, answer) in self._answered.items()]
        self._answered.clear()
        return gathered

    def _take(self, ticket: int, request: wire.Request[wire.R]) -> wire.R | None:
        """Return the reply to `request`, or None if it has not arrived."""
        _, answer = self._answered.pop(ticket, (request, None))
        if isinstance(answer, errors.PermanentError):
            raise answer
        return cast("wire.R | None", answer)  # `wire.reply_body` parsed it as the request's reply

    def _forget(self, ticket: int) -> None:
        if self._pending.pop(ticket, None) and ticket in self._unsent:
            self._unsent.remove(ticket)
        self._answered.pop(ticket, None)

    def _advance(self, timeout_s: float, *, wakeable: bool = False) -> None:
        """Send, receive, and detect timeouts and lost connections, for up to `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._on_beat()
            self._transmit()
            left_s = max(0.0, deadline - time.monotonic())
            events = dict(self._poller(wakeable=wakeable).poll(self._patience_ms(left_s)))
            if self._socket in events:
                self._receive()
            if self._monitor in events:
                self._notice_connection()
            self._resend_unanswered()
            if self._wakeup in events:
                os.eventfd_read(self._wakeup)
                self._woken = False  # only after the read, or a wake in between would suppress all later ones
                return
            if self._answered or self._also in events or time.monotonic() >= deadline:
                return

    def _poller(self, *, wakeable: bool) -> zmq.Poller:
        sending = bool(self._unsent) and time.monotonic() >= self._hold_until
        key = (wakeable, sending)
        poller = self._pollers.get(key)
        if poller is None:
            poller = self._pollers[key] = zmq.Poller()
            poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if sending else 0))
            poller.register(self._monitor, zmq.POLLIN)
            if wakeable:
                poller.register(self._wakeup, zmq.POLLIN)
            if wakeable and self._also >= 0:
                poller.register(self._also, zmq.POLLIN)
        return poller

    def _patience_ms(self, left_s: float) -> int:
        patience_s = min(left_s, self._patience_s)
        if self._unsent:
            held_s = self._hold_until - time.monotonic()
            patience_s = min(patience_s, max(held_s, 0.0)) if held_s > 0 else patience_s
        return int(patience_s * 1000 + 0.999)

    def _transmit(self) -> None:
        if not self._unsent or time.monotonic() < self._hold_until:
            return
        while self._unsent:
            ticket = self._unsent[0]
            pending = self._pending[ticket]
            data = wire.encode_request(pending.request, ledger=self.ledger)
            if len(data) > MOST_REQUEST:  # the store would close the connection at each attempt
                self._unsent.popleft()
                self._settle(ticket, too_large(wire.verb_of(pending.request), len(data), MOST_REQUEST))
                continue
            try:
                self._socket.send_multipart([_FRAME.pack(ticket, pending.transmission), data], zmq.DONTWAIT)
            except zmq.Again:
                return
            pending.sent_at = time.monotonic()
            self._overdue_at = min(self._overdue_at, pending.sent_at + pending.timeout_s)
            self._unsent.popleft()
            if self._lost:
                self._lost, self.renewed_at = False, pending.sent_at

    def _receive(self) -> None:
        while readable(self._socket):
            frames = self._socket.recv_multipart(zmq.DONTWAIT)
            if len(frames) == 2 and len(frames[0]) == _FRAME.size:
                ticket, transmission = _FRAME.unpack(frames[0])
                self._accept(ticket, transmission, frames[1])

    def _accept(self, ticket: int, transmission: int, data: bytes) -> None:
        pending = self._pending.get(ticket)
        if pending is None or pending.transmission != transmission or pending.sent_at is None:
            return  # the reply to an earlier transmission; the later one will be answered, too
        try:
            envelope = wire.decode_reply(data)
            self._notice_identity(envelope)
            if envelope.refused is not None:
                self._notice_refusal(ticket, pending.request, envelope.refused)
            else:
                self._settle(ticket, wire.reply_body(envelope, pending.request))
        except wire.ProtocolError as error:
            self._settle(ticket, error)

    def _notice_refusal(self, ticket: int, request: wire.AnyRequest, refused: wire.Refused) -> None:
        if refused.code in _AGAIN:
            self._go_back(ticket)
        elif refused.code is wire.Refusal.REPLACED:
            self._forget_all()
            raise LedgerChanged("the store has another ledger than before")
        else:
            foreign = refused.code is wire.Refusal.FOREIGN
            kind = errors.ForeignClusterError if foreign else errors.PermanentError
            self._settle(ticket, kind(f"{wire.verb_of(request)} refused: {refused.message}"))

    def _settle(self, ticket: int, answer: wire.Reply | errors.PermanentError) -> None:
        """Store a reply, or the error, for its caller."""
        pending = self._pending.pop(ticket)
        self._answered[ticket] = (pending.request, answer)
        self._backoff_s = _BACKOFF_S[0]

    def _notice_identity(self, envelope: wire.ReplyEnvelope) -> None:
        if envelope.settings:
            changed = self.settings_digest not in ("", envelope.settings)
            self.settings_digest = envelope.settings
            if changed:
                self._forget_all()
                raise SettingsChanged("the store has started with another configuration")
        if envelope.ledger:
            changed = self.ledger not in ("", envelope.ledger)
            self.ledger = envelope.ledger
            if changed:
                self._forget_all()
                raise LedgerChanged("the store has another ledger than before")

    def _forget_all(self) -> None:
        self._pending.clear()
        self._unsent.clear()
        self._answered.clear()

    def _go_back(self, ticket: int) -> None:
        """Send a refused request and all later ones again, in order, after a pause."""
        self._requeue([other for other in self._pending if other >= ticket])
        self._hold_until = time.monotonic() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, _BACKOFF_S[1])

    def _requeue(self, tickets: list[int]) -> None:
        for ticket in tickets:
            pending = self._pending[ticket]
            if pending.sent_at is not None:
                pending.transmission += 1
                pending.sent_at = None
        self._unsent = deque(ticket for ticket, pending in self._pending.items() if pending.sent_at is None)

    def _resend_unanswered(self) -> None:
        now = time.monotonic()
        if now < self._overdue_at:
            return
        sent = [pending for pending in self._pending.values() if pending.sent_at is not None]
        self._overdue_at = min((one.sent_at + one.timeout_s for one in sent), default=math.inf)  # type: ignore[operator]
        if self._overdue_at <= now:
            self._reconnect()

    @property
    def _patience_s(self) -> float:
        """Return how long to wait: a reply that has just been sent may still arrive in time."""
        return max(_SLICE_S, min(_IDLE_S, self._overdue_at - time.monotonic()))

    def _notice_connection(self) -> None:
        lost = False
        while self._monitor.poll(0):
            event, _ = _EVENT.unpack(self._monitor.recv_multipart()[0])
            lost |= event == zmq.EVENT_DISCONNECTED
        if lost:
            self._lost, self.renewed_at = True, time.monotonic()
            self._reconnect()

    def _reconnect(self) -> None:
        self._disconnect()
        self._connect()
        self._requeue(list(self._pending))

    def _connect(self) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        configure(self._socket, most=MOST_REPLY)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, _PING_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _PONG_MS)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._pollers: dict[tuple[bool, bool], zmq.Poller] = {}
        self._socket.connect(self._where)
        of_socket, of_monitor = int(self._socket.getsockopt(zmq.FD)), int(self._monitor.getsockopt(zmq.FD))
        self._descriptors = of_socket, of_monitor, self._wakeup

    def _disconnect(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)


def readable(socket: "zmq.Socket[bytes]") -> bool:
    """Return True if a message is waiting; this costs a tenth of an unsuccessful recv."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & _READABLE)


def too_large(verb: str, size: int, most: int) -> errors.PermanentError:
    """Return the error for a message that the other end would reject."""
    return errors.PermanentError(f"{verb}: a message of {size} bytes exceeds the bus limit of {most} bytes")


def configure(socket: "zmq.Socket[bytes]", *, most: int) -> None:
    """Set the options of both ends: bounded queues and messages, no lingering."""
    socket.setsockopt(zmq.MAXMSGSIZE, most)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, _HIGH_WATER)
