"""A stand-in for the store on a real bus that implements only the claim rules, for tests of the dispatcher."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from beacon import wire
from beacon.bus import bus_server
from beacon.domain import model

ENDPOINT = "default"
READY = model.DeliveryState.READY
QUEUED = model.DeliveryState.QUEUED


@dataclass(slots=True, kw_only=True)
class Row:
    """One delivery as the store sees it."""

    id: int
    name: str
    state: model.DeliveryState
    generation: int = 0
    attempts: int = 0
    requests: int = 0
    next_at: float = 0.0
    tried_at: float = 0.0
    forgiven: bool = False
    committed_us: int = 0
    settled_at: float = 0.0
    outcomes: list[model.Outcome] = field(default_factory=list)


@dataclass(slots=True)
class _Parked:
    incoming: bus_server.Incoming
    claim: wire.Claim
    until: float


class Store:
    """Serves claims from memory, by all rules of the protocol that a notifier can observe."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.rows: dict[int, Row] = {}
        self.claims: list[wire.Claim] = []
        self.ledger = "ledger-1"
        self.settings = "settings-1"
        self.plain: Mapping[str, Any] = {}
        self.lose: Callable[[wire.Claim], bool] = lambda _: False
        self.commit_s = 0.0
        self._forget_sessions()

    def _forget_sessions(self) -> None:
        self.session = ""
        self.number = 0
        self.fenced: set[str] = set()
        self.held: set[int] = set()
        self.given: dict[int, wire.Claimed] = {}
        self.parked: _Parked | None = None

    def start(self) -> "Store":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def restart(self) -> None:
        """Restart with the ledger, but without any sessions."""
        self.stop()
        self._forget_sessions()
        self.start()

    def fence(self) -> None:
        """Fence the notifier, as if another one had claimed."""
        with self._lock:
            self.fenced.add(self.session)
            self.session = ""

    def add(self, name: str, *, count: int = 1, attempts: int = 0, requests: int = 0) -> list[int]:
        """Commit events of one object."""
        ids = []
        with self._lock:
            for _ in range(count):
                key = len(self.rows) + 1
                taken = any(row.name == name and row.state in (READY, QUEUED) for row in self.rows.values())
                row = Row(id=key, name=name, state=QUEUED if taken else READY, attempts=attempts, requests=requests)
                row.committed_us = time.time_ns() // 1000
                self.rows[key] = row
                ids.append(key)
        return ids

    def state(self, key: int) -> model.DeliveryState:
        with self._lock:
            return self.rows[key].state

    def count(self, state: model.DeliveryState) -> int:
        with self._lock:
            return sum(row.state is state for row in self.rows.values())

    def _serve(self) -> None:
        with bus_server.BusServer(self.where) as server:
            while not self._stop.is_set():
                arrived = server.receive(0.002, limit=100)
                with self._lock:
                    if arrived and self.commit_s:
                        time.sleep(self.commit_s)
                    for incoming in arrived:
                        self._handle(server, incoming)
                    self._look_at_parked(server)

    def _handle(self, server: bus_server.BusServer, incoming: bus_server.Incoming) -> None:
        request, ledger = wire.decode_request(incoming.data)
        if isinstance(request, wire.Hello):
            self._answer(server, incoming, wire.HelloReply(settings=self.plain))
            return
        if isinstance(request, wire.TakeTestEvent):
            self._answer(server, incoming, wire.TakenTestEvent(id=""))
            return
        assert isinstance(request, wire.Claim)
        if ledger != self.ledger and (ledger or wire.is_bound(request)):
            self._answer(server, incoming, wire.Refused(code=wire.Refusal.REPLACED))
            return
        self.claims.append(request)
        self._settle_all(request)
        if self.lose(request):
            return
        if self.parked and self.parked.claim.number != request.number:
            self._answer(server, self.parked.incoming, self._give(self.parked.claim, now=True))
            self.parked = None
        reply = self._give(request, now=request.wait_s <= 0 or request.want == 0)
        if reply is None:
            self.parked = _Parked(incoming, request, time.monotonic() + request.wait_s)
        else:
            self._answer(server, incoming, reply)

    def _settle_all(self, claim: wire.Claim) -> None:
        for outcome in claim.settlements:
            self._settle(outcome)
        for row in self.rows.values() if claim.resume else ():
            if row.forgiven:
                row.forgiven, row.next_at = False, 0.0

    def _look_at_parked(self, server: bus_server.BusServer) -> None:
        if self.parked is None:
            return
        reply = self._give(self.parked.claim, now=time.monotonic() >= self.parked.until)
        if reply is not None:
            self._answer(server, self.parked.incoming, reply)
            self.parked = None

    def _answer(
        self, server: bus_server.BusServer, incoming: bus_server.Incoming, reply: wire.Reply | wire.Refused | None
    ) -> None:
        assert reply is not None
        server.reply(incoming, wire.encode_reply(reply, ledger=self.ledger, settings=self.settings))

    def _give(self, claim: wire.Claim, *, now: bool) -> wire.Claimed | None:
        if claim.session in self.fenced:
            return wire.Claimed(number=claim.number, fenced=True)
        if claim.session != self.session:
            if self.session:
                self.fenced.add(self.session)
            self.session, self.number, self.given = claim.session, 0, {}
        if claim.number in self.given:
            return self.given[claim.number]
        if claim.number <= self.number:
            return wire.Claimed(number=claim.number)
        self.given = {number: reply for number, reply in self.given.items() if number > claim.seen}
        self.held = set(claim.held)
        out = self.held | {one.id for reply in self.given.values() for one in reply.deliveries}
        chosen = [self._delivery(row) for row in self._choose(claim, out)]
        if not chosen and not now:
            return None
        self.number = claim.number
        reply = self.given[claim.number] = wire.Claimed(number=claim.number, deliveries=tuple(chosen))
        return reply

    def _choose(self, claim: wire.Claim, out: set[int]) -> list[Row]:
        ready = [row for row in self.rows.values() if row.state is READY and row.id not in out]
        fresh = [row for row in ready if row.requests == 0]
        again = [row for row in ready if row.requests]
        if claim.probe and claim.want:
            return (fresh or ([] if claim.fresh_only else sorted(again, key=lambda row: row.tried_at)))[:1]
        return (fresh + [row for row in again if row.next_at <= time.monotonic()])[: claim.want]

    def _settle(self, outcome: model.Outcome) -> None:
        row = self.rows.get(outcome.delivery)
        if row is None or row.generation != outcome.generation or outcome.result is model.DeliveryResult.RELEASED:
            return
        if outcome.result is model.DeliveryResult.CHARGED:
            if any(one.attempt == outcome.attempt and not one.counted for one in row.outcomes):
                row.attempts += 1
                row.forgiven = False
            return
        late = outcome.result is model.DeliveryResult.FAILED and outcome.attempt == row.requests and row.state is READY
        if outcome.attempt <= row.requests and not late:
            return
        row.outcomes.append(outcome)
        row.requests = outcome.attempt
        row.attempts += outcome.counted and not late
        row.tried_at = row.settled_at = time.monotonic()
        if outcome.result is model.DeliveryResult.RETRY:
            row.next_at, row.forgiven = row.tried_at + outcome.delay_s, outcome.forgiven
            return
        row.state = model.DeliveryState(outcome.result.value)
        following = next(
            (other for other in self.rows.values() if other.name == row.name and other.state is QUEUED), None
        )
        if following:
            following.state = READY

    def _delivery(self, row: Row) -> model.Delivery:
        return delivery(
            row.id, name=row.name, attempts=row.attempts, requests=row.requests, committed_us=row.committed_us
        )


def delivery(
    key: int,
    *,
    name: str = "web",
    attempts: int = 0,
    requests: int = 0,
    committed_us: int = 0,
    group: str = "apps",
    kind: str = "Deployment",
    namespace: str = "default",
    data: str = '{"resource":{}}',
    redelivered: bool = False,
) -> model.Delivery:
    """Return a delivery as the store leases it."""
    return model.Delivery(
        id=key,
        generation=0,
        event_id=f"event-{key}",
        sequence=key,
        previous=0,
        type=model.EventType.CREATED,
        api_version="apps/v1",
        kind=kind,
        group=group,
        namespace=namespace,
        name=name,
        detected_us=1_700_000_000_000_000,
        committed_us=committed_us,
        attempts=attempts,
        requests=requests,
        data=data,
        redelivered=redelivered,
    )
