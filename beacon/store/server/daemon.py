"""The loop between the store's socket and the service.

From the bind of the socket on, `ping` and `hello` are answered, whatever the ledger needs before it can be served.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from beacon import wire
from beacon.bus import bus_server, client
from beacon.store.server import service

_BATCH = 512
_WAIT_S = 2.0  # longest wait between heartbeats
_PROGRESS_S = 5.0  # how often a long activity before serving is logged
_GROUPING_S = 0.01  # how long a settlement may wait to share the commit of an observation
_MANY = 16  # a claim with so many settlements does not wait
_BUSY_S = 0.02  # after an observation, another one is expected within this
_T = TypeVar("_T")


class Opening:
    """The store before it serves: answers `ping` and `hello`, refuses all else as `starting`."""

    def __init__(
        self,
        doing: str,
        *,
        settings: Mapping[str, object],
        digest: str,
        listener: Callable[[str, float], None] = lambda _doing, _share: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Report the activity `doing`, under the given configuration.

        `listener` is called every few seconds with the activity and the share of it that is done.
        """
        self._doing = doing
        self._listener = listener
        self._clock = clock
        self._reported_at = clock()
        self._pong = wire.Pong(state=doing, since_us=time.time_ns() // 1000)
        self._welcome = wire.HelloReply(settings=settings)
        self._digest = digest

    def report(self, doing: str, share: float) -> None:
        """Set the activity that `ping` reports, and the share of it that is done; called by the thread that does it."""
        since_us = self._pong.since_us if doing == self._doing else time.time_ns() // 1000
        self._doing = doing
        self._pong = wire.Pong(state=f"{doing}, {share:.0%} done" if share else doing, since_us=since_us)
        if self._clock() - self._reported_at >= _PROGRESS_S:
            self._reported_at = self._clock()
            self._listener(doing, share)

    def answer(self, server: bus_server.BusServer, beat: Callable[[], None], done: threading.Event) -> None:
        """Answer requests until `done` is set."""
        while not done.is_set():
            beat()
            for incoming in server.receive(0.1, limit=_BATCH):
                server.reply(incoming, wire.encode_reply(self._reply(incoming), settings=self._digest))

    def _reply(self, incoming: bus_server.Incoming) -> wire.Reply | wire.Refused:
        try:
            request, _ = wire.decode_request(incoming.data)
        except wire.ProtocolError as error:
            return wire.Refused(code=wire.Refusal.MALFORMED, message=str(error))
        if isinstance(request, wire.Ping):
            return self._pong
        if isinstance(request, wire.Hello):
            return self._welcome
        return wire.Refused(code=wire.Refusal.STARTING, message=self._pong.state)


def answer_while(
    server: bus_server.BusServer, opening: Opening, beat: Callable[[], None], work: Callable[[], _T]
) -> _T:
    """Run `work`, which must precede serving, and answer requests meanwhile: see `Opening`."""
    done = threading.Event()
    host = threading.Thread(target=opening.answer, args=(server, beat, done))
    host.start()
    try:
        return work()
    finally:
        done.set()
        host.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class _PendingReply:
    """A request that awaits its reply."""

    incoming: bus_server.Incoming
    verb: str
    arrived_at: float  # monotonic


class Daemon:
    """The loop between the socket and the service."""

    def __init__(
        self,
        server: bus_server.BusServer,
        served: service.StoreService,
        listener: service.ServiceListener,
        *,
        confirm: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve `served` on `server`; `confirm` raises before a transaction that must not be made."""
        self._server = server
        self._service = served
        self._listener = listener
        self._confirm = confirm
        self._clock = clock
        self._intake_at = -_BUSY_S
        self._is_behind = False  # deliveries wait for a claim

    def serve(self, *, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Receive requests, apply them in one transaction and reply, until the process is asked to stop."""
        while not stop.is_set():
            beat()
            self.step(_WAIT_S)

    def step(self, longest_s: float) -> None:
        """Run one round; wait no longer than `longest_s` for requests."""
        arrived = self._server.receive(self._service.longest_wait_s(longest_s), limit=_BATCH)
        requests = self._read_all(arrived)
        if requests and _may_wait(requests):
            requests = self._wait_for_intake(requests)
        if any(wire.kind_of(one.request) is wire.VerbKind.INTAKE for one in requests):
            self._intake_at = self._clock()
        self._confirm()
        answers = self._service.process(requests)
        self._notice_backlog(requests, answers)
        for pending, reply in sorted(answers, key=_is_low_priority):
            self._answer(pending, reply)
        self._service.catch_up()

    def _wait_for_intake(self, requests: list[service.QueuedRequest]) -> list[service.QueuedRequest]:
        """Wait briefly for observations with which settlements can share a commit, while observations keep arriving."""
        now = self._clock()
        if self._is_behind or now - self._intake_at > _BUSY_S:
            return requests
        deadline = now + _GROUPING_S
        while _may_wait(requests) and (left_s := deadline - self._clock()) > 0:
            requests += self._read_all(self._server.receive(left_s, limit=_BATCH))
        return requests

    def _notice_backlog(self, requests: Sequence[service.QueuedRequest], answers: Sequence[service.Answer]) -> None:
        """Record whether deliveries wait for a claim: then a claim must not wait."""
        leases = [reply for _, reply in answers if isinstance(reply, wire.Claimed) and reply.deliveries]
        if leases:
            self._is_behind = any(reply.backlog for reply in leases)
        elif any(isinstance(one.request, wire.Observe) and one.request.observations for one in requests):
            self._is_behind = True

    def _read_all(self, arrived: Sequence[bus_server.Incoming]) -> list[service.QueuedRequest]:
        now = self._clock()
        return [queued for incoming in arrived if (queued := self._read(incoming, now)) is not None]

    def _read(self, incoming: bus_server.Incoming, now: float) -> service.QueuedRequest | None:
        try:
            request, ledger = wire.decode_request(incoming.data)
        except wire.ProtocolError as error:
            refused = wire.Refused(code=wire.Refusal.MALFORMED, message=str(error))
            self._answer(_PendingReply(incoming=incoming, verb="malformed", arrived_at=now), refused)
            return None
        pending = _PendingReply(incoming=incoming, verb=wire.verb_of(request), arrived_at=now)
        return service.QueuedRequest(sender=pending, request=request, ledger=ledger)

    def _answer(self, pending: _PendingReply, reply: wire.Reply | wire.Refused) -> None:
        data = wire.encode_reply(reply, ledger=self._service.ledger_id, settings=self._service.digest)
        if len(data) > client.MOST_REPLY:
            message = str(client.too_large(pending.verb, len(data), client.MOST_REPLY))
            reply = wire.Refused(code=wire.Refusal.FAILED, message=message)
            data = wire.encode_reply(reply, ledger=self._service.ledger_id, settings=self._service.digest)
        self._server.reply(pending.incoming, data)
        result = reply.code if isinstance(reply, wire.Refused) else "ok"
        self._listener.answered(pending.verb, result, self._clock() - pending.arrived_at)


def _is_low_priority(answer: service.Answer) -> bool:
    """Return True if a reply may be sent after those that lease deliveries."""
    _, reply = answer
    return not (isinstance(reply, wire.Claimed) and reply.deliveries)


def _may_wait(requests: Sequence[service.QueuedRequest]) -> bool:
    """Return True if each request is a claim of another endpoint and only settles a few requests.

    A second claim of an endpoint means that its notifier soon sends nothing until its settlements are confirmed.
    """
    claims = [one.request for one in requests if isinstance(one.request, wire.Claim)]
    few = all(0 < len(one.settlements) < _MANY for one in claims)
    return few and len({one.endpoint for one in claims}) == len(requests)
