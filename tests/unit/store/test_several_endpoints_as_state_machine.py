"""Random histories of the store with three endpoints, whose receivers demand what those of the model demand.

The cluster changes; the store, the notifier or both die; names appear, return and are removed, selections, types,
rules and `events.updated` change between two starts; requests fail, and their answers are lost; operators pause,
redeliver and discard; rows are pruned; a damaged ledger is rescued. Each seed uses only some of the kinds of steps, so
that short histories with few of them occur. `BEACON_HISTORIES=5000` in the environment plays more than the gate does.
"""

import os
import random
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model, rules
from beacon.store.ledger import database, endpoints, migrating
from beacon.store.recovery import salvage, verification
from beacon.store.verbs import catch_up
from tests.unit.domain.several_endpoints.receivers import Receiver, Request, Violation
from tests.unit.store import world

NAMES = ("a", "b", "c")
PLACES = ("x", "y", "z")
RULES = (world.scope_of(), world.scope_of(values=["red"]))
CREATED, UPDATED, DELETED = model.EventType.CREATED, model.EventType.UPDATED, model.EventType.DELETED
SOME_TYPES = (
    endpoints.ALL_TYPES,
    endpoints.ALL_TYPES,
    frozenset({CREATED, DELETED}),
    frozenset({CREATED}),
    frozenset({UPDATED, DELETED}),
)
VALUES = {"": 0, "red": 1, "blue": 2}  # the model's values are numbers
HISTORIES = int(os.environ.get("BEACON_HISTORIES", "160"))
BATCHES = 2
LONGEST_END = 60
MEMORY = Path("/dev/shm")  # a power cut is the subject of other tests: nothing must wait for a disk


def endpoint(
    name: str,
    chosen: str = "xyz",
    types: frozenset[model.EventType] = endpoints.ALL_TYPES,
    start: endpoints.StartFrom = endpoints.StartFrom.CREATED,
) -> endpoints.LedgerEndpoint:
    return endpoints.LedgerEndpoint(
        name=name,
        url_digest=name.encode(),
        start=start,
        selects=lambda _group, _kind, _namespace, object_: object_ in chosen,
        selection=chosen,
        types=types,
    )


@dataclass(frozen=True)
class Thing:
    """An object of the cluster; `value` is that of its annotation."""

    uid: str
    version: int
    value: str | None


@dataclass(frozen=True)
class Line:
    """A line of the watch."""

    version: int
    name: str
    thing: Thing
    gone: bool


class History:
    """One history: a correct watcher and a correct notifier; everything around them changes and fails."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.random = random.Random(seed)
        self.faults = [name for name in FAULTS if self.random.random() < 0.4]
        self.version = 10
        self.uids = 0
        self.things: dict[str, Thing] = {}
        self.log: list[Line] = []
        self.ended: set[str] = set()  # UIDs that were deleted, or may have ceased to be accepted
        self.receivers: dict[str, Receiver] = {}
        self.unmanaged: set[str] = set()
        self.life = 0
        self.held: dict[str, dict[int, model.Delivery]] = {name: {} for name in NAMES}
        self.settled: dict[str, list[model.Outcome]] = {name: [] for name in NAMES}
        self.seen = 0  # the last sequence that was examined
        path = directory / "e.db"
        path.write_bytes(empty_ledger())
        first = self.endpoint("a")
        self.world = world.World(path, RULES[0], updates=True, endpoints_=(first,))
        self.appear([first])
        self.open()
        self.list()

    def play(self) -> None:
        """Run the history, then let it become quiet twice: as it is configured, and with every name and everything.

        Raises:
            AssertionError: an invariant does not hold.
        """
        steps: list[Callable[[], None]] = [getattr(self, name) for name in (*USUAL, *self.faults, *self.faults)]
        for _ in range(self.random.randint(5, 50)):
            self.random.choice(steps)()
            self.examine()
        self.end()
        whole = tuple(endpoint(name) for name in NAMES if name in self.receivers)
        self.restart_with(RULES[0], whole, updates=True)
        self.end()
        written = len(self.world.events())
        for configured in (whole, tuple(endpoint(one.name, "x") for one in whole), whole):
            self.restart_with(RULES[0], configured, updates=True)
            self.world.catch_up()
            assert len(self.world.events()) == written, "an event was written although nothing has changed"
        self.world.ledger.close()

    def end(self) -> None:
        """Become quiet, and check what each endpoint holds."""
        for name in self.receivers:
            self.world.ask(wire.ResumeEndpoint(endpoint=name))
        for _ in range(LONGEST_END):
            self.list()
            for _ in self.log:
                self.watch()
            self.world.catch_up()
            for one in self.world.endpoints:
                self.claim(one.name, 3)
                while self.held[one.name]:
                    self.send(one.name, "accepted")
            if not any(self.settled.values()) and self.position and not self.is_behind():
                break
        else:
            raise Violation("it does not become quiet")
        self.examine()
        assert list(verification.inconsistencies(self.world.ledger)) == []
        for one in self.world.endpoints:
            self.check_set(one)

    def is_behind(self) -> bool:
        lines = [line for line in self.log if line.version > self.position]
        return bool(lines) or self.world.service._positions.owes_catch_up

    # What is written

    def examine(self) -> None:
        """Check what was written since the last time."""
        configured = {one.name: one for one in self.world.endpoints}
        rows = self.world.ledger.rows(
            "SELECT e.sequence, e.name, e.type, e.uid, d.endpoint FROM readable_events e"
            " LEFT JOIN readable_deliveries d USING (sequence) WHERE e.sequence > ? ORDER BY e.sequence",
            (self.seen,),
        )
        for sequence, name, type_, uid, owner in rows:
            self.seen = sequence
            assert type_ != DELETED or uid in self.ended, f"{sequence}: a deletion of {uid}, which exists"
            if owner is not None:
                one = configured[owner]
                assert one.selects("", "", "", name), f"{sequence}: {owner} does not select {name}"
                assert type_ in one.types, f"{sequence}: {owner} does not get {type_}"

    # The cluster and the watcher

    def change(self) -> None:
        name = self.random.choice(PLACES)
        old = self.things.get(name)
        choice = self.random.randrange(5) if old else 4
        self.version += 1
        if old and choice in (0, 4):
            self.log.append(Line(self.version, name, replace(self.things.pop(name), version=self.version), gone=True))
            self.ended.add(old.uid)
            self.version += 1
        if choice == 0:
            return
        self.uids += 1
        value = self.random.choice(("red", "red", "blue", None if old else "red"))
        uid = old.uid if old and choice != 4 else f"{name}{self.uids}"
        if value != "red":
            self.ended.add(uid)
        self.things[name] = Thing(uid, self.version, value)
        self.log.append(Line(self.version, name, self.things[name], gone=False))

    def observation(self, name: str, thing: Thing, change: model.ChangeKind) -> model.Observation:
        verdict = model.RuleVerdict.ACCEPTED if self.is_accepted(thing) else model.RuleVerdict.ANNOTATION
        return world.seen(name, thing.version, change, verdict, uid=thing.uid, value=thing.value or "")

    def is_accepted(self, thing: Thing) -> bool:
        values = self.world.scopes[0].rule.values
        return thing.value is not None and (values is None or thing.value in values)

    def open(self) -> None:
        self.position = self.world.open().cursor

    def watch(self) -> None:
        lines = [line for line in self.log if line.version > self.position][: self.random.randint(1, 3)]
        if not self.position or not lines:
            return
        kinds = {True: model.ChangeKind.DELETED, False: model.ChangeKind.MODIFIED}
        seen = [self.observation(line.name, line.thing, kinds[line.gone]) for line in lines]
        reply = self.world.observe(self.position, lines[-1].version, *seen)
        if reply.place is wire.ApplyResult.APPLIED:
            self.position = lines[-1].version
        else:
            self.open()

    def list(self, *, end: bool = True) -> None:
        if self.position:
            return
        seen = [self.observation(name, thing, model.ChangeKind.LISTED) for name, thing in self.things.items()]
        reply = self.world.relist(self.version, *seen, end=end)
        assert reply.place is wire.ApplyResult.APPLIED, reply
        self.open()

    def list_in_part(self) -> None:
        self.list(end=False)

    def expire(self) -> None:
        if self.position:
            scope = self.world.scopes[0].id
            opened = self.world.opened[scope]
            self.world.ask(wire.Expire(scope=scope, session=opened.session, epoch=opened.epoch, prev=self.position))
            self.open()

    # The processes and the configuration

    def page(self) -> None:
        self.world.service._turn.at = 0.0
        self.world.service.catch_up()

    def kill_store(self) -> None:
        self.world.restart()
        self.open()

    def kill_notifier(self) -> None:
        self.life += 1
        for name, receiver in self.receivers.items():
            self.held[name].clear()
            answered = [one for one in self.settled[name] if one.result is model.DeliveryResult.DELIVERED]
            receiver.unanswered |= {one.delivery >> 12 for one in answered}
            self.settled[name].clear()

    def configure(self) -> None:
        known = {one.name: one for one in self.world.endpoints}
        names = self.random.sample(NAMES, self.random.choice((1, 2, 2, 3)))
        configured = tuple(
            known[name] if name in known and self.random.random() < 0.5 else self.endpoint(name) for name in names
        )
        scope = self.random.choice(RULES) if "change_rule" in self.faults else RULES[0]
        updates = self.random.random() < 0.7 if "change_updates" in self.faults else True
        self.restart_with(scope, configured, updates=updates)

    change_rule = change_updates = configure

    def endpoint(self, name: str) -> endpoints.LedgerEndpoint:
        chosen = self.random.choice(("xyz", "xy", "yz")) if "select" in self.faults else "xyz"
        types = self.random.choice(SOME_TYPES) if "choose_types" in self.faults else endpoints.ALL_TYPES
        later = "start_now" in self.faults and self.random.random() < 0.5
        return endpoint(name, chosen, types, endpoints.StartFrom.NOW if later else endpoints.StartFrom.CREATED)

    select = choose_types = start_now = configure

    def restart_with(
        self, scope: rules.Scope, configured: tuple[endpoints.LedgerEndpoint, ...], *, updates: bool
    ) -> None:
        self.kill_notifier()
        if scope is not self.world.scopes[0]:
            self.unmanaged.update(PLACES)
        self.world.restart(scope, endpoints_=configured, updates=updates)
        self.appear(configured)
        self.open()

    def appear(self, configured: Collection[endpoints.LedgerEndpoint]) -> None:
        for one in configured:
            if one.name not in self.receivers:
                self.receivers[one.name] = receiver = Receiver()
                if one.start is endpoints.StartFrom.NOW:
                    rows = self.world.ledger.rows("SELECT uid, name FROM readable_objects WHERE state = 'tracked'")
                    receiver.withheld |= {uid for uid, name in rows if one.selects("", "", "", name)}
            receiver = self.receivers[one.name]
            receiver.unmanaged = self.unmanaged
            if not {CREATED, DELETED} <= one.types:
                receiver.unsure |= set(PLACES)

    # The notifier

    def claim_some(self) -> None:
        self.claim(self.random.choice(self.world.endpoints).name, self.random.randint(1, 3))

    def claim(self, name: str, want: int) -> None:
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
        if self.random.random() < 0.1:
            assert self.world.ask(request).deliveries == reply.deliveries
        self.settled[name].clear()
        for delivery in reply.deliveries:
            assert delivery.id not in held, "a delivery was leased twice"
            held[delivery.id] = delivery
        names = [delivery.name for delivery in held.values()]
        assert len(names) == len(set(names)), "two deliveries of one object are leased at a time"

    def send_some(self) -> None:
        self.send(self.random.choice(NAMES), "accepted")

    def refuse(self) -> None:
        self.send(self.random.choice(NAMES), "failed")

    def lose(self) -> None:
        self.send(self.random.choice(NAMES), self.random.choice(("lost", "retry")))

    def send(self, name: str, result: str) -> None:
        if not self.held[name]:
            return
        delivery = self.held[name].pop(self.random.choice(sorted(self.held[name])))
        receiver, sequence = self.receivers[name], delivery.sequence
        if result == "failed" and sequence in receiver.received:
            result = "accepted"  # a receiver accepts again what it has
        if result in ("accepted", "lost"):
            ((uid, value),) = self.world.ledger.rows(
                "SELECT uid, coalesce(json_extract(data, '$.resource.annotationValue'), '') FROM readable_events"
                " WHERE sequence = ?",
                (sequence,),
            )
            receiver.receive(Request(delivery.name, sequence, delivery.previous, delivery.type, uid, VALUES[value]))
        if result == "lost":
            receiver.unanswered.add(sequence)
        if result == "failed":
            self.excuse(receiver, delivery.name, sequence)
        results = {"accepted": model.DeliveryResult.DELIVERED, "failed": model.DeliveryResult.FAILED}
        outcome = replace(world.delivered(delivery), result=results.get(result, model.DeliveryResult.RETRY))
        self.settled[name].append(outcome)

    def excuse(self, receiver: Receiver, key: str, sequence: int) -> None:
        """Note that an event did not arrive, and need not."""
        receiver.unsent.add(sequence)
        receiver.disturbed.add(key)
        receiver.lacks[key] = max(sequence, receiver.lacks.get(key, 0))

    # Operators, retention, damage

    def pause(self) -> None:
        name = self.random.choice(sorted(self.receivers))
        pause = self.random.random() < 0.5
        self.world.ask(wire.PauseEndpoint(endpoint=name) if pause else wire.ResumeEndpoint(endpoint=name))

    def failed(self) -> tuple[tuple[int, int, str, str], ...]:
        rows = self.world.ledger.rows(
            "SELECT d.id, d.generation, p.name, k.name FROM deliveries d JOIN endpoints p ON p.id = d.endpoint"
            " JOIN order_keys k ON k.id = d.key WHERE d.state = 'failed' ORDER BY d.id"
        )
        return tuple(self.random.sample(rows, 1)) if rows else ()

    def redeliver(self) -> None:
        for id_, generation, *_ in self.failed():
            self.world.ask(wire.Redeliver(deliveries=((id_, generation),)))

    def discard(self) -> None:
        for id_, generation, name, key in self.failed():
            self.world.ask(wire.Discard(deliveries=((id_, generation),), reason="no longer needed"))
            self.excuse(self.receivers[name], key, id_ >> 12)

    def discard_removed(self) -> None:
        for name in self.receivers.keys() - {one.name for one in self.world.endpoints}:
            receiver = self.receivers[name]
            rows = self.world.ledger.rows(
                "SELECT k.name, d.id >> 12 FROM deliveries d JOIN order_keys k ON k.id = d.key JOIN endpoints p"
                " ON p.id = d.endpoint WHERE p.name = ? AND d.state IN ('queued', 'ready', 'failed')",
                (name,),
            )
            for key, sequence in rows:
                self.excuse(receiver, key, sequence)
            for key in {key for key, _ in rows}:
                del receiver.lacks[key]  # its return sends it
            # What it accepted although the answer was lost can't be known: a limit that the docs state.
            receiver.lacks |= {key: sequence for key, sequence in rows if sequence in receiver.received}
            assert not self.world.ask(wire.DiscardEndpoint(endpoint=name, reason="removed")).more

    def prune(self) -> None:
        before = self.views()
        self.world.clock.advance(120)
        for table in (wire.Prunable.OBJECTS, wire.Prunable.EVENTS, wire.Prunable.ATTEMPTS):
            self.world.ask(wire.Prune(table=table, older_than_s=60))
        for name, key in before - self.views():
            self.receivers[name].forgotten.add(key)
            if not self.gets_deletions(name):
                self.receivers[name].unsure.add(key)

    def gets_deletions(self, name: str) -> bool:
        return all(DELETED in one.types for one in self.world.endpoints if one.name == name)

    def views(self) -> set[tuple[str, str]]:
        return set(
            self.world.ledger.rows(
                "SELECT p.name, k.name FROM views v JOIN order_keys k ON k.id = v.id >> 12"
                " JOIN endpoints p ON p.id = v.id & 4095"
            )
        )

    def rescue(self) -> None:
        """Lose some objects and views, and go on with the rest."""
        self.kill_notifier()
        ledger = self.world.ledger
        for (uid,) in ledger.rows("SELECT uid FROM objects"):
            if self.random.random() < 0.4:
                ledger.run("DELETE FROM objects WHERE uid = ?", (uid,))
                self.unmanaged.update(PLACES)
        for name, key in sorted(self.views()):
            if self.random.random() < 0.3:
                ledger.run(
                    "DELETE FROM views WHERE id = (SELECT k.id << 12 | p.id FROM order_keys k, endpoints p"
                    " WHERE k.name = ? AND p.name = ?)",
                    (key, name),
                )
                self.receivers[name].unsure.add(key)
                self.receivers[name].forgotten.add(key)
        ledger.close()
        config = salvage.RescueConfig(scopes=(RULES[0].id,), endpoint="a", endpoints=self.world.endpoints)
        salvage.rescue(self.world.path, config, self.world.clock.us, lambda _share: None)
        self.world.start()
        assert list(verification.inconsistencies(self.world.ledger)) == []
        self.open()

    # The proof

    def check_set(self, one: endpoints.LedgerEndpoint) -> None:
        """Compare what a receiver holds with what exists; what is unmanaged stays with it as it was."""
        receiver = self.receivers[one.name]
        rows = self.world.ledger.rows("SELECT name FROM readable_objects WHERE state = 'unmanaged'")
        if not {CREATED, DELETED} <= one.types:
            return
        for key in one.selection:
            if key in receiver.lacks or (key,) in rows:
                continue
            thing, held = self.things.get(key), receiver.holds.get(key)
            exists = thing if thing and self.is_accepted(thing) else None
            if exists is None:
                assert held is None or key in receiver.unsure, f"{one.name} has {held}, which is gone"
            elif held is None:
                assert exists.uid in receiver.withheld, f"{one.name} lacks {exists}"
            else:
                values = self.world.updates and UPDATED in one.types
                assert held[0] == exists.uid, f"{one.name} has {held}, and {exists} exists"
                assert not values or held[1] == VALUES[exists.value or ""], (
                    f"{one.name} has {held}, and {exists} exists"
                )


USUAL = (
    *("change", "change", "change", "watch", "watch", "list", "page"),
    *("claim_some", "claim_some", "claim_some", "send_some", "send_some", "send_some"),
)
FAULTS = (
    *("configure", "change_rule", "change_updates", "select", "choose_types", "start_now"),
    *("expire", "list_in_part", "kill_store", "kill_notifier", "refuse", "lose", "pause", "redeliver", "discard"),
    *("discard_removed", "prune", "rescue"),
)


@cache
def empty_ledger() -> bytes:
    """Return the file of a ledger without rows, which need not be made again for each history."""
    with tempfile.TemporaryDirectory(prefix="beacon-") as directory:
        path = Path(directory) / "e.db"
        database.Database(path).close()
        return path.read_bytes()


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every page compare one object, a catch-up wait for its deliveries soon, and starts cheap."""
    monkeypatch.setattr(catch_up, "_KEYS_IN_PAGE", 1)
    monkeypatch.setattr(catch_up, "MOST_WAITING", 2)
    monkeypatch.setattr(migrating, "_migrations", cache(migrating._migrations))  # read again at each of many starts


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_each_endpoint_gets_everything_once_in_order_and_nothing_false(batch: int) -> None:
    for seed in range(batch, HISTORIES, BATCHES):
        with tempfile.TemporaryDirectory(prefix="beacon-", dir=MEMORY if MEMORY.is_dir() else None) as directory:
            try:
                History(seed, Path(directory)).play()
            except AssertionError as error:
                raise AssertionError(f"history {seed}: {error}") from error
