"""The ledger against a simple model of the truth.

A cluster changes; a stream reports to the store, but its requests are lost, repeated, delayed and refused, lists race
with requests in flight, the store dies, the configuration changes, and the cluster is restored. The model replays the
cluster's own log. The events of the ledger must be those of the model: none is missing, repeated or wrong, and those of
each object are in order.
"""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings, stateful
from hypothesis import strategies as st

from beacon import wire
from beacon.domain import model, rules
from beacon.store.recovery import verification
from tests.unit.store import world

NAMES = ("a", "b", "c")
VALUES = ("true", "blue", "red")
RULES: tuple[rules.Scope, ...] = (
    world.scope_of(),
    world.scope_of(values=["true", "blue"]),
    world.scope_of(values=["red"]),
)


@dataclass(frozen=True)
class Thing:
    """An object of the cluster."""

    uid: str
    name: str
    version: int
    value: str | None


@dataclass(frozen=True)
class Line:
    """A line of the cluster's log."""

    version: int
    change: model.ChangeKind
    thing: Thing


@dataclass
class Cluster:
    """What the API server holds: objects, and the log of how they came to be."""

    version: int = 10
    made: int = 0
    things: dict[str, Thing] = field(default_factory=dict)
    log: list[Line] = field(default_factory=list)
    remembered_from: int = 10

    def put(self, name: str, value: str | None) -> None:
        self.version += 1
        old = self.things.get(name)
        if old is None:
            self.made += 1
        thing = Thing(old.uid if old else f"uid-{name}-{self.made}", name, self.version, value)
        self.things[name] = thing
        change = model.ChangeKind.MODIFIED if old else model.ChangeKind.ADDED
        self.log.append(Line(self.version, change, thing))

    def delete(self, name: str) -> None:
        self.version += 1
        thing = replace(self.things.pop(name), version=self.version)
        self.log.append(Line(self.version, model.ChangeKind.DELETED, thing))


@dataclass
class Truth:
    """The events that must have been emitted, by naively replaying the log under the rule of the time."""

    rule: rules.Scope
    emitted: list[tuple[str, str]] = field(default_factory=list)  # (name, type)
    tracked: dict[str, tuple[str, str]] = field(default_factory=dict)  # uid -> (name, value)
    unmanaged: dict[str, tuple[str, str]] = field(default_factory=dict)  # uid -> (name, value)
    accepted_by: dict[str, str] = field(default_factory=dict)
    judged_by: dict[str, str] = field(default_factory=dict)

    def accepts(self, thing: Thing) -> bool:
        values = self.rule.rule.values
        return thing.value is not None and (values is None or thing.value in values)

    def follow(self, line: Line) -> None:
        if line.change is model.ChangeKind.DELETED:
            self.gone(line.thing.uid)
        else:
            self.judge(line.thing)

    def judge(self, thing: Thing) -> None:
        uid, now = thing.uid, self.rule.fingerprint
        if self.accepts(thing):
            old = self.tracked.get(uid) or self.unmanaged.get(uid)
            if old is None:
                self.emitted.append((thing.name, "created"))
            elif old[1] != thing.value:
                self.emitted.append((thing.name, "updated"))
            self.unmanaged.pop(uid, None)
            self.tracked[uid] = (thing.name, thing.value or "")
            self.accepted_by[uid] = now
        elif uid in self.tracked:
            _, value = self.tracked.pop(uid)
            if self.judged_by[uid] == now:
                self.emitted.append((thing.name, "deleted"))
            else:
                self.unmanaged[uid] = (thing.name, value)
        elif uid in self.unmanaged and self.accepted_by[uid] == now:
            del self.unmanaged[uid]
            self.emitted.append((thing.name, "deleted"))
        self.judged_by[uid] = now

    def gone(self, uid: str) -> None:
        known = self.tracked.pop(uid, None) or self.unmanaged.pop(uid, None)
        if known:
            self.emitted.append((known[0], "deleted"))

    def compare(self, things: dict[str, Thing]) -> None:
        """Apply a list: objects that it does not contain are gone, the others are judged."""
        present = {thing.uid for thing in things.values()}
        for uid in [uid for uid in (*self.tracked, *self.unmanaged) if uid not in present]:
            self.gone(uid)
        for thing in things.values():
            self.judge(thing)


class LedgerMachine(stateful.RuleBasedStateMachine):
    """A careless network between a correct stream, a correct notifier and the store."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="beacon-")
        self.cluster = Cluster()
        self.truth = Truth(RULES[0])
        self.world = world.World(Path(self.directory.name) / "e.db", RULES[0], updates=True)
        self.late: list[wire.AnyRequest] = []
        self.held: dict[int, model.Delivery] = {}
        self.settled: list[model.Outcome] = []
        self.accepted: list[tuple[str, int]] = []  # what the endpoint has: (name, sequence)
        self.comparing: list[wire.AnyRequest] = []
        self.compared = 0
        self.steps = 0
        self.listing: tuple[int, dict[str, Thing], list[wire.AnyRequest]] | None = None
        for name in NAMES[:2]:
            self.cluster.put(name, None)
        self.open()
        self.list_at_once()

    def teardown(self) -> None:
        self.catch_up()
        emitted = [(name, kind) for name, kind, _ in self.world.events()]
        for name in NAMES:
            mine = [entry for entry in emitted if entry[0] == name]
            assert mine == [entry for entry in self.truth.emitted if entry[0] == name]
        self.deliver_the_rest()
        self.check_chain()
        for name in NAMES:
            sequences = [sequence for other, sequence in self.accepted if other == name]
            assert sorted(set(sequences)) == list(dict.fromkeys(sequences)), "an object's events went out of order"
        assert len({sequence for _, sequence in self.accepted}) == len(emitted), "an event was never delivered"
        self.world.ledger.close()
        self.directory.cleanup()

    # The cluster.

    @stateful.rule(name=st.sampled_from(NAMES), value=st.sampled_from((*VALUES, None)))
    def put(self, name: str, value: str | None) -> None:
        self.cluster.put(name, value)

    @stateful.rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if name in self.cluster.things:
            self.cluster.delete(name)

    @stateful.rule()
    def forget_history(self) -> None:
        self.cluster.remembered_from = self.cluster.version

    # The stream. It is correct: it sends in order, trusts the store's replies, and reopens when the store requests it.

    def open(self) -> None:
        opened = self.world.open()
        self.opened = opened
        self.position = opened.cursor
        self.listing = None
        self.wanted = set(opened.tracked)

    @stateful.rule(
        size=st.integers(1, 4),
        fate=st.sampled_from(["arrives", "repeated", "unanswered", "late", "at once", "overtaken"]),
    )
    def watch(self, size: int, fate: str) -> None:
        if self.listing is not None or not self.position:
            return
        if self.position < self.cluster.remembered_from:
            self.expire()
            return
        lines = [line for line in self.cluster.log if line.version > self.position][:size]
        if not lines:
            return
        request = self.world.observation(
            self.position, lines[-1].version, *self.worth_sending(lines), scope=self.truth.rule
        )
        if fate == "overtaken":
            self.overtake(request)
        self.send_lines(request, lines, fate)

    def send_lines(self, request: wire.Observe, lines: list[Line], fate: str) -> None:
        if fate in ("late", "at once"):
            self.late.append(request)
            self.open()
            if fate == "at once":
                self.something_late_arrives(len(self.late) - 1)
            return
        reply = self.world.ask(request)
        if reply.place is not wire.ApplyResult.APPLIED:
            self.open()
            return
        for line in lines:
            self.truth.follow(line)
        if fate == "repeated":
            assert self.world.ask(request).place is wire.ApplyResult.APPLIED
        if fate == "unanswered":
            self.late.append(request)
            self.open()
            return
        self.position = request.position

    def overtake(self, request: wire.Observe) -> None:
        """Lose a request: the next one of the window must be refused, and must not skip a position."""
        position = request.position
        unseen = world.seen("c", position + 1, uid="uid-overtaking")
        after = replace(request, prev=position, position=position + 1, observations=(unseen,))
        before = self.world.events()
        assert self.world.ask(after).place is wire.ApplyResult.OUT_OF_POSITION
        assert self.world.events() == before

    def worth_sending(self, lines: list[Line]) -> list[model.Observation]:
        sent = []
        for line in lines:
            accepted = self.truth.accepts(line.thing)
            if accepted or line.thing.uid in self.wanted:
                sent.append(observation(line, accepted=accepted))
                gone = line.change is model.ChangeKind.DELETED
                (self.wanted.discard if gone else self.wanted.add)(line.thing.uid)
        return sent

    def expire(self) -> None:
        self.world.ask(
            wire.Expire(
                scope=self.truth.rule.id, session=self.opened.session, epoch=self.opened.epoch, prev=self.position
            )
        )
        self.open()

    @stateful.rule()
    def begin_list(self) -> None:
        if self.listing is not None or self.position:
            return
        things = dict(self.cluster.things)
        at = self.cluster.version
        scope, opened = self.truth.rule, self.opened
        assert opened.reason is not None
        begin = wire.ListBegin(
            scope=scope.id,
            session=opened.session,
            epoch=opened.epoch,
            prev=opened.cursor,
            at=at,
            fingerprint=scope.fingerprint,
            api_version="v1",
            reason=opened.reason,
        )
        pages: list[wire.AnyRequest] = [
            wire.ListPage(
                scope=scope.id,
                session=opened.session,
                at=at,
                number=number,
                uids=(thing.uid,),
                versions=(thing.version,),
                observations=tuple(self.listed(thing)),
            )
            for number, thing in enumerate(things.values())
        ]
        end = wire.ListEnd(scope=scope.id, session=opened.session, at=at, pages=len(pages), count=len(things))
        self.listing = (at, things, [begin, *pages, end])

    def listed(self, thing: Thing) -> list[model.Observation]:
        accepted = self.truth.accepts(thing)
        if accepted or thing.uid in self.wanted:
            return [observation(Line(thing.version, model.ChangeKind.LISTED, thing), accepted=accepted)]
        return []

    @stateful.rule(fate=st.sampled_from(["arrives", "repeated", "never"]))
    def go_on_listing(self, fate: str) -> None:
        if self.listing is None:
            return
        at, things, requests = self.listing
        request = requests[0]
        if fate == "never":
            self.late.append(request)
            self.settle_partial_list(things, requests)
            self.open()
            return
        reply = self.world.ask(request)
        assert reply.place is wire.ApplyResult.APPLIED, reply
        if fate == "repeated":
            assert self.world.ask(request).place is wire.ApplyResult.APPLIED
        self.listing = (at, things, requests[1:])
        if len(requests) == 1:
            self.truth.compare(things)
            self.position = at
            self.listing = None
            self.wanted = set(reply.tracked)

    def settle_partial_list(self, things: dict[str, Thing], requests: list[wire.AnyRequest]) -> None:
        """Abandon a list: its applied pages have emitted their events."""
        missing = {uid for request in requests if isinstance(request, wire.ListPage) for uid in request.uids}
        if isinstance(requests[0], wire.ListBegin):
            return
        for thing in things.values():
            if thing.uid not in missing:
                self.judge_listed(thing)

    def judge_listed(self, thing: Thing) -> None:
        """List an object that takes its name from an older one, which is gone."""
        if self.truth.accepts(thing):
            for known in (self.truth.tracked, self.truth.unmanaged):
                for uid in [uid for uid, entry in known.items() if entry[0] == thing.name and uid != thing.uid]:
                    self.truth.gone(uid)
        self.truth.judge(thing)

    # The reconciler. It is correct, the watcher beside it is whatever it is, and so is the network between.

    @stateful.rule()
    def begin_comparing(self) -> None:
        if self.comparing:
            return
        scope = self.truth.rule
        self.compared += 1
        named: dict[str, Any] = {"scope": scope.id, "nonce": str(self.compared)}
        opened = self.world.ask(wire.CompareOpen(**named, fingerprint=scope.fingerprint))
        assert opened.place is wire.ApplyResult.APPLIED, opened
        things, at = list(self.cluster.things.values()), self.cluster.version
        # What is wanted is known when the cursor is there; to want too much does no harm.
        pages = [
            wire.ComparePage(
                **named,
                at=at,
                number=number,
                uids=(thing.uid,),
                versions=(thing.version,),
                observations=(
                    observation(
                        Line(thing.version, model.ChangeKind.LISTED, thing), accepted=self.truth.accepts(thing)
                    ),
                ),
            )
            for number, thing in enumerate(things)
        ]
        end = wire.CompareEnd(**named, at=at, pages=len(pages), count=len(pages))
        self.comparing = [wire.CompareBegin(**named, at=at, api_version="v1"), *pages, end]

    @stateful.rule(fate=st.sampled_from(["arrives", "repeated", "late"]), steps=st.integers(1, 5))
    def go_on_comparing(self, fate: str, steps: int) -> None:
        for request in self.comparing[:steps]:
            before = self.world.events()
            reply = self.world.ask(request)
            if fate == "repeated":
                assert self.world.ask(request) == reply
            assert self.world.events() == before, f"a comparison emitted events that were not missed: {request}"
            if reply.place is not wire.ApplyResult.APPLIED:
                self.comparing = []
                return
            if isinstance(request, wire.CompareBegin) and not reply.reached:
                return
            if fate == "late":
                self.late.append(request)
            self.comparing = self.comparing[1:]

    # The network, the process and the configuration.

    @stateful.rule(which=st.integers(0, 20))
    def something_late_arrives(self, which: int) -> None:
        if self.late:
            before = self.world.events()
            reply = self.world.ask(self.late[which % len(self.late)])
            assert self.world.events() == before, f"a late request emitted an event: {reply}"

    @stateful.rule()
    def the_store_dies(self) -> None:
        if self.listing is not None:
            self.settle_partial_list(self.listing[1], self.listing[2])
        self.world.restart()
        self.open()

    @stateful.rule(which=st.integers(0, len(RULES) - 1))
    def the_configuration_changes(self, which: int) -> None:
        if self.listing is not None:
            self.settle_partial_list(self.listing[1], self.listing[2])
        self.truth.rule = RULES[which]
        self.comparing = []
        self.world.restart(RULES[which])
        self.open()

    # The notifier. It is correct too, but its requests and the answers to them may be lost.

    @stateful.rule(fate=st.sampled_from(["arrives", "repeated", "unanswered"]), want=st.integers(0, 3))
    def claim(self, fate: str, want: int) -> None:
        held = tuple(each.id for each in self.held.values())
        self.world.claims += 1
        request = wire.Claim(
            endpoint="default",
            session="s",
            number=self.world.claims,
            want=want,
            wait_s=0,
            settlements=tuple(self.settled),
            held=held,
        )
        reply = self.world.ask(request)
        if fate != "arrives":
            assert self.world.ask(request).deliveries == reply.deliveries
        for delivery in reply.deliveries:
            assert delivery.id not in self.held, "a delivery was given out twice"
            self.held[delivery.id] = delivery
        names = [delivery.name for delivery in self.held.values()]
        assert len(names) == len(set(names)), "two deliveries of one object are out at a time"
        self.settled = []

    @stateful.rule(
        result=st.sampled_from(
            [model.DeliveryResult.DELIVERED, model.DeliveryResult.RETRY, model.DeliveryResult.RELEASED]
        )
    )
    def send(self, result: model.DeliveryResult) -> None:
        if self.held:
            delivery = self.held.pop(min(self.held))
            if result is model.DeliveryResult.DELIVERED:
                self.accepted.append((delivery.name, delivery.sequence))
            self.settled.append(replace(world.delivered(delivery), result=result))

    # The end.

    def list_at_once(self) -> None:
        if self.listing is None and not self.position:
            self.begin_list()
        while self.listing is not None:
            self.go_on_listing("arrives")

    def catch_up(self) -> None:
        self.list_at_once()
        self.cluster.remembered_from = 0
        while self.position < self.cluster.version:
            self.watch(4, "arrives")

    def deliver_the_rest(self) -> None:
        for _ in range(1000):
            while self.held:
                self.send(model.DeliveryResult.DELIVERED)
            self.claim("arrives", 3)
            if not self.held and not self.settled:
                return

    @stateful.invariant()
    def follows_from_the_rows(self) -> None:
        """Check views, digests, counts and references against the rows, at every tenth step."""
        self.steps += 1
        if self.steps % 10 == 0:
            self.check_rows()

    def check_rows(self) -> None:
        assert list(verification.inconsistencies(self.world.ledger)) == []

    def check_chain(self) -> None:
        self.check_rows()
        last: dict[str, int] = {}
        for sequence, subject, previous in self.world.ledger.rows(
            "SELECT sequence, subject, previous FROM readable_deliveries ORDER BY sequence"
        ):
            assert previous == last.get(subject, 0)
            last[subject] = sequence


def observation(line: Line, *, accepted: bool) -> model.Observation:
    return model.Observation(
        uid=line.thing.uid,
        namespace="ns",
        name=line.thing.name,
        resource_version=line.version,
        change=line.change,
        verdict=model.RuleVerdict.ACCEPTED if accepted else model.RuleVerdict.ANNOTATION,
        value=line.thing.value or "",
    )


LedgerMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestLedger = pytest.mark.slow(LedgerMachine.TestCase)
