"""Three endpoints against receivers that check what they get: order, `previous`, repeats, and in the end their set.

The cluster changes; the store, the notifier or both die; names appear, return and are removed, selections, types and
rules change between two starts; requests fail, and their answers are lost; operators pause, redeliver and discard; rows
are pruned. Each receiver is proved on its own.

`BEACON_MACHINE_EXAMPLES=5000` in the environment plays more histories than the gate does.
"""

import os
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings, stateful
from hypothesis import strategies as st

from beacon import wire
from beacon.domain import model, rules
from beacon.store import catch_up, database, endpoints, verification
from tests.unit.store import world

NAMES = ("a", "b", "c")
PLACES = ("x", "y", "z")
RULES = (world.scope_of(), world.scope_of(values=["red"]))
CREATED, UPDATED, DELETED = model.EventType.CREATED, model.EventType.UPDATED, model.EventType.DELETED
SOME_TYPES = (
    *(endpoints.ALL_TYPES for _ in range(12)),
    frozenset({CREATED, DELETED}),
    frozenset({CREATED}),
    frozenset({UPDATED, DELETED}),
)
MOST_STEPS = 2000
EXAMPLES = int(os.environ.get("BEACON_MACHINE_EXAMPLES", "80"))
MEMORY = Path("/dev/shm")  # a power cut is the subject of other tests: nothing must wait for a disk


def endpoint(
    name: str,
    chosen: str = "",
    types: frozenset[model.EventType] = endpoints.ALL_TYPES,
    start: endpoints.StartFrom = endpoints.StartFrom.CREATED,
) -> endpoints.LedgerEndpoint:
    return endpoints.LedgerEndpoint(
        name=name,
        url_digest=name.encode(),
        start=start,
        selects=lambda _group, _kind, _namespace, object_: not chosen or object_ in chosen,
        selection=chosen,
        types=types,
    )


ENDPOINTS = st.builds(
    endpoint,
    st.just(""),
    st.sampled_from(("", "", "", "xy", "yz")),
    st.sampled_from(SOME_TYPES),
    st.sampled_from(endpoints.StartFrom),
)
CONFIGURATIONS = st.lists(ENDPOINTS, min_size=3, max_size=3)


@dataclass
class Receiver:
    """What an endpoint has accepted, and what it may demand of the next request.

    `unanswered`: sequences that may come again. `disturbed`: objects of which an event failed or was discarded.
    `withheld`: UIDs that `start: now` left out. `unmanaged`: objects that may have been deleted while they were
    unmanaged, and never sent. `unsure`: it was configured without `created` or `deleted` at some time.
    """

    holds: dict[str, tuple[str, str]] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    received: set[int] = field(default_factory=set)
    unanswered: set[int] = field(default_factory=set)
    disturbed: set[str] = field(default_factory=set)
    withheld: set[str] = field(default_factory=set)
    unmanaged: set[str] = field(default_factory=set)
    unsure: bool = False

    def receive(self, delivery: model.Delivery, uid: str, value: str) -> None:
        name, sequence = delivery.name, delivery.sequence
        if sequence in self.received:
            assert sequence in self.unanswered or delivery.redelivered, f"{sequence} was repeated"
            assert self.last[name] == sequence, f"{sequence} was repeated after a later event"
            return
        last, held = self.last.get(name, 0), self.holds.get(name)
        assert last < sequence, f"{sequence} came after {last}"
        assert delivery.previous < sequence
        assert delivery.previous >= last or (not delivery.previous and not held), f"{sequence} hides {last}"
        if name not in self.disturbed:
            assert delivery.previous in (*self.received, 0), f"{sequence}: {delivery.previous} was never sent"
        if name not in self.disturbed and not self.unsure:
            self.check_meaning(delivery, uid, held)
        self.received.add(sequence)
        self.last[name] = sequence
        if delivery.type is DELETED:
            self.holds.pop(name, None)
        else:
            self.holds[name] = (uid, value)

    def check_meaning(self, delivery: model.Delivery, uid: str, held: tuple[str, str] | None) -> None:
        if delivery.type is CREATED:
            assert held is None, f"{delivery.sequence}: created while it has {held}"
            assert uid not in self.withheld, f"{delivery.sequence}: created, but start: now left it out"
        elif held or (uid not in self.withheld and not (delivery.type is DELETED and delivery.name in self.unmanaged)):
            assert (held or ("",))[0] == uid, f"{delivery.sequence}: {delivery.type} of {uid} while it has {held}"


@dataclass(frozen=True)
class Thing:
    uid: str
    version: int
    value: str | None


class EndpointsMachine(stateful.RuleBasedStateMachine):
    """A correct watcher and a correct notifier with three endpoints; everything around them changes and fails."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="beacon-", dir=MEMORY if MEMORY.is_dir() else None)
        self.version = 10
        self.things: dict[str, Thing] = {}
        self.log: list[tuple[int, str, Thing, bool]] = []
        self.receivers: dict[str, Receiver] = {}
        self.unmanaged: set[str] = set()
        self.life = 0
        self.held: dict[str, dict[int, model.Delivery]] = {name: {} for name in NAMES}
        self.settled: dict[str, list[model.Outcome]] = {name: [] for name in NAMES}
        self.steps = 0
        path = Path(self.directory.name) / "e.db"
        path.write_bytes(empty_ledger())
        self.world = world.World(path, RULES[0], updates=True, endpoints_=(endpoint("a"),))
        self.receivers = {one.name: Receiver() for one in self.world.endpoints}
        self.open()
        self.relist(whole=True)

    def teardown(self) -> None:
        whole = tuple(endpoint(name) for name in NAMES if name in self.receivers)
        self.restart_with(RULES[0], whole, notifier_dies=True)
        for name in self.receivers:
            self.world.ask(wire.ResumeEndpoint(endpoint=name))
        self.become_quiet()
        for name, receiver in self.receivers.items():
            self.check_set(name, receiver)
        self.check_rows()
        written = len(self.world.events())
        for configured in (whole, tuple(endpoint(one.name, "x") for one in whole), whole):
            self.restart_with(RULES[0], configured, notifier_dies=True)
            self.world.catch_up()
            assert len(self.world.events()) == written, "an event was written although nothing has changed"
        self.world.ledger.close()
        self.directory.cleanup()

    # The cluster and the watcher

    @stateful.rule(name=st.sampled_from(PLACES), value=st.sampled_from(("red", "blue", None)), anew=st.booleans())
    def put(self, name: str, value: str | None, anew: bool) -> None:
        self.version += 1
        old = self.things.get(name)
        if old and anew:
            self.log.append((self.version, name, replace(old, version=self.version), True))
            self.version += 1
            old = None
        thing = Thing(old.uid if old else f"{name}{self.version}", self.version, value)
        self.things[name] = thing
        self.log.append((self.version, name, thing, False))

    @stateful.rule(name=st.sampled_from(PLACES))
    def delete(self, name: str) -> None:
        if name in self.things:
            self.version += 1
            self.log.append((self.version, name, replace(self.things.pop(name), version=self.version), True))

    def seen(self, name: str, thing: Thing, change: model.ChangeKind) -> model.Observation:
        values = self.world.scopes[0].rule.values
        accepted = thing.value is not None and (values is None or thing.value in values)
        verdict = model.RuleVerdict.ACCEPTED if accepted else model.RuleVerdict.ANNOTATION
        return world.seen(name, thing.version, change, verdict, uid=thing.uid, value=thing.value or "")

    def open(self) -> None:
        self.position = self.world.open().cursor

    @stateful.rule(size=st.integers(1, 3))
    def watch(self, size: int) -> None:
        lines = [line for line in self.log if line[0] > self.position][:size]
        if not self.position or not lines:
            return
        seen = [
            self.seen(name, thing, model.ChangeKind.DELETED if gone else model.ChangeKind.MODIFIED)
            for _, name, thing, gone in lines
        ]
        reply = self.world.observe(self.position, lines[-1][0], *seen)
        if reply.place is wire.ApplyResult.APPLIED:
            self.position = lines[-1][0]
        else:
            self.open()

    @stateful.rule()
    def expire(self) -> None:
        if self.position:
            opened = self.world.opened[self.world.scopes[0].id]
            self.world.ask(
                wire.Expire(
                    scope=self.world.scopes[0].id, session=opened.session, epoch=opened.epoch, prev=self.position
                )
            )
            self.open()

    @stateful.rule(whole=st.booleans())
    def relist(self, whole: bool) -> None:
        if self.position:
            return
        seen = [self.seen(name, thing, model.ChangeKind.LISTED) for name, thing in self.things.items()]
        reply = self.world.relist(self.version, *seen, end=whole)
        assert reply.place is wire.ApplyResult.APPLIED, reply
        self.open()

    # The processes and the configuration

    @stateful.rule()
    def page(self) -> None:
        self.world.service._turn.at = 0.0
        self.world.service.catch_up()

    @stateful.rule(notifier_dies=st.booleans())
    def the_store_dies(self, notifier_dies: bool) -> None:
        self.restart_with(self.world.scopes[0], self.world.endpoints, notifier_dies=notifier_dies)

    @stateful.rule(
        which=st.sampled_from(RULES),
        chosen=st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
        of=CONFIGURATIONS,
    )
    def the_configuration_changes(
        self, which: rules.Scope, chosen: list[str], of: list[endpoints.LedgerEndpoint]
    ) -> None:
        configured = tuple(
            replace(one, name=name, url_digest=name.encode()) for name, one in zip(chosen, of, strict=False)
        )
        self.restart_with(which, configured, notifier_dies=True)

    def restart_with(
        self, scope: rules.Scope, configured: tuple[endpoints.LedgerEndpoint, ...], *, notifier_dies: bool
    ) -> None:
        if notifier_dies:
            self.life += 1
            for name in self.receivers:
                self.held[name].clear()
                answered = [one for one in self.settled[name] if one.result is model.DeliveryResult.DELIVERED]
                self.receivers[name].unanswered |= {one.delivery >> 12 for one in answered}
                self.settled[name].clear()
        new = [one for one in configured if one.name not in self.receivers]
        if scope is not self.world.scopes[0]:
            self.unmanaged.update(PLACES)
        self.world.restart(scope, endpoints_=configured)
        for one in new:
            self.receivers[one.name] = Receiver()
            if one.start is endpoints.StartFrom.NOW:
                rows = self.world.ledger.rows("SELECT uid, name FROM readable_objects WHERE state = 'tracked'")
                self.receivers[one.name].withheld |= {uid for uid, name in rows if one.selects("", "", "", name)}
        for one in configured:
            self.receivers[one.name].unsure |= not {CREATED, DELETED} <= one.types
        for receiver in self.receivers.values():
            receiver.unmanaged = self.unmanaged
        self.open()

    # The notifier

    @stateful.rule(name=st.sampled_from(NAMES), want=st.integers(0, 3), repeated=st.booleans())
    def claim(self, name: str, want: int, repeated: bool) -> None:
        if name not in {one.name for one in self.world.endpoints}:
            return
        held = self.held[name]
        self.world.claims += 1
        request = wire.Claim(
            endpoint=name,
            session=f"s{self.life}",
            number=self.world.claims,
            want=want,
            wait_s=0.0,
            settlements=tuple(self.settled[name]),
            held=tuple(held),
        )
        reply = self.world.ask(request)
        assert not reply.fenced
        if repeated:
            assert self.world.ask(request).deliveries == reply.deliveries
        self.settled[name].clear()
        for delivery in reply.deliveries:
            assert delivery.id not in held, "a delivery was leased twice"
            held[delivery.id] = delivery
        names = [delivery.name for delivery in held.values()]
        assert len(names) == len(set(names)), "two deliveries of one object are leased at a time"

    @stateful.rule(
        name=st.sampled_from(NAMES), result=st.sampled_from(("accepted", "accepted", "failed", "lost", "retry"))
    )
    def send(self, name: str, result: str) -> None:
        if not self.held[name]:
            return
        delivery = self.held[name].pop(min(self.held[name]))
        receiver = self.receivers[name]
        if result in ("accepted", "lost"):
            (row,) = self.world.ledger.rows(
                "SELECT uid, coalesce(json_extract(data, '$.resource.annotationValue'), '') FROM readable_events"
                " WHERE sequence = ?",
                (delivery.sequence,),
            )
            receiver.receive(delivery, *row)
        if result == "lost":
            receiver.unanswered.add(delivery.sequence)
        if result == "failed":
            receiver.disturbed.add(delivery.name)
        results = {"accepted": model.DeliveryResult.DELIVERED, "failed": model.DeliveryResult.FAILED}
        outcome = replace(world.delivered(delivery), result=results.get(result, model.DeliveryResult.RETRY))
        self.settled[name].append(outcome)

    # Operators and retention

    @stateful.rule(name=st.sampled_from(NAMES), pause=st.booleans())
    def pause(self, name: str, pause: bool) -> None:
        if name in self.receivers:
            self.world.ask(wire.PauseEndpoint(endpoint=name) if pause else wire.ResumeEndpoint(endpoint=name))

    @stateful.rule(redeliver=st.booleans())
    def act_on_a_failed_one(self, redeliver: bool) -> None:
        failed = self.world.ledger.rows(
            "SELECT id, generation FROM deliveries WHERE state = 'failed' ORDER BY id LIMIT 1"
        )
        pairs = tuple((row[0], row[1]) for row in failed)
        request = (
            wire.Redeliver(deliveries=pairs) if redeliver else wire.Discard(deliveries=pairs, reason="no longer needed")
        )
        self.world.ask(request)

    @stateful.rule()
    def discard_what_is_left_of_removed_ones(self) -> None:
        for name in self.receivers.keys() - {one.name for one in self.world.endpoints}:
            keys = self.world.ledger.rows(
                "SELECT DISTINCT k.name FROM deliveries d JOIN order_keys k ON k.id = d.key JOIN endpoints p"
                " ON p.id = d.endpoint WHERE p.name = ? AND d.state IN ('queued', 'ready', 'failed')",
                (name,),
            )
            self.receivers[name].disturbed |= {key for (key,) in keys}
            assert not self.world.ask(wire.DiscardEndpoint(endpoint=name, reason="removed")).more

    @stateful.rule()
    def prune(self) -> None:
        self.world.clock.advance(120)
        for table in (wire.Prunable.OBJECTS, wire.Prunable.EVENTS, wire.Prunable.ATTEMPTS):
            self.world.ask(wire.Prune(table=table, older_than_s=60))

    # The proof

    def become_quiet(self) -> None:
        self.relist(whole=True)
        for _ in range(MOST_STEPS):
            while self.position < self.version:
                self.watch(3)
            self.world.catch_up()
            for name in self.receivers:
                self.claim(name, 3, repeated=False)
                while self.held[name]:
                    self.send(name, "accepted")
            if not any(self.settled.values()):
                return
        pytest.fail("it does not become quiet")

    def check_set(self, name: str, receiver: Receiver) -> None:
        """Check what a receiver holds; what is unmanaged stays with it as it was."""
        rows = self.world.ledger.rows("SELECT name FROM readable_objects WHERE state = 'unmanaged'")
        for place in PLACES:
            if place in receiver.disturbed or (place,) in rows:
                continue
            thing, held = self.things.get(place), receiver.holds.get(place)
            exists = (thing.uid, thing.value) if thing and thing.value is not None else None
            if exists is None:
                assert held is None or receiver.unsure, f"{name} has {held}, which is gone"
            elif exists[0] in receiver.withheld:
                assert held in (None, exists)
            else:
                assert held == exists, f"{name} has {held}, and {exists} exists"

    @stateful.invariant()
    def follows_from_the_rows(self) -> None:
        """Prove that the rows agree with each other, at every tenth step."""
        self.steps += 1
        if self.steps % 10 == 0:
            self.check_rows()

    def check_rows(self) -> None:
        assert list(verification.inconsistencies(self.world.ledger)) == []


@cache
def empty_ledger() -> bytes:
    """Return the file of a ledger without rows, which need not be made again for each history."""
    with tempfile.TemporaryDirectory(prefix="beacon-") as directory:
        path = Path(directory) / "e.db"
        database.Database(path).close()
        return path.read_bytes()


EndpointsMachine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None)
TestEndpoints = pytest.mark.slow(EndpointsMachine.TestCase)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every page compare one object, a catch-up wait for its deliveries soon, and starts cheap."""
    monkeypatch.setattr(catch_up, "_KEYS_IN_PAGE", 1)
    monkeypatch.setattr(catch_up, "MOST_WAITING", 2)
    monkeypatch.setattr(database, "_migrations", cache(database._migrations))  # read again at each of many starts
