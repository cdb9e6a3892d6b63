"""The ledger of the model: objects, events, deliveries, views and endpoints, and the transactions that change them.

Every public method is one transaction, so that a kill between two of them leaves a state that must be sound.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from tests.unit.domain.several_endpoints.receivers import Receiver, Request, State, Violation
from tests.unit.domain.several_endpoints.rules import Rule

TYPES = frozenset({"created", "updated", "deleted"})
OPEN = ("ready", "leased")
KEPT_DAYS = 30


@dataclass(frozen=True)
class Endpoint:
    """An entry of the configuration; `keys` stands for select and exclude."""

    name: str
    url: str
    keys: frozenset[str]
    types: frozenset[str] = TYPES
    start_now: bool = False


@dataclass(frozen=True)
class Config:
    """The configuration of one start; `excluded` are the keys that no entry of `resources` accepts."""

    endpoints: tuple[Endpoint, ...]
    updates: bool = True
    excluded: frozenset[str] = frozenset()


@dataclass
class KnownObject:
    key: str
    state: str
    value: int


@dataclass
class View:
    """What was last written for an endpoint about a key, and the newest that it accepted: sequence and state."""

    written: int = 0
    state: State | None = None
    accepted: int = 0
    accepted_state: State | None = None


@dataclass
class Delivery:
    key: str
    previous: int
    state: str = "ready"
    generation: int = 0
    requests: int = 0  # of this generation, settled
    asked: bool = False  # a request was begun, and its answer is not known


@dataclass(frozen=True)
class Settlement:
    """The result of the request with this ordinal in this generation."""

    number: int
    sequence: int
    generation: int
    request: int
    result: str


@dataclass
class Row:
    """An endpoint of the ledger. `owed`: the keys that its catch-up has not compared yet."""

    name: str
    url: str
    settings: Endpoint
    receiver: Receiver
    owed: set[str] = field(default_factory=set)
    now_in_pages: bool = False
    paused: bool = False
    removed_day: int | None = None
    seen_updates: bool = True


class Ledger:
    """The transactions. `without` are the rules that are left out."""

    def __init__(self, keys: Collection[str], without: Collection[Rule]) -> None:
        self.keys = tuple(keys)
        self.without = frozenset(without)
        self.sequence = 0
        self.day = 0
        self.objects: dict[str, KnownObject] = {}
        self.events: dict[int, Request] = {}
        self.rows: dict[int, Row] = {}
        self.deliveries: dict[tuple[int, int], Delivery] = {}
        self.views: dict[tuple[int, str], View] = {}
        self.updates = True
        self.excluded: frozenset[str] = frozenset()
        self.positioned = True
        self.ended: set[str] = set()  # UIDs that were deleted or released in truth; filled by the driver
        self.unmanaged: set[str] = set()  # keys whose object was unmanaged at some time
        self.written: list[Request] = []  # by catch-up
        self._receivers: Mapping[str, Receiver] = {}

    def obeys(self, rule: Rule) -> bool:
        return rule not in self.without

    def configured(self) -> dict[int, Row]:
        return {number: row for number, row in self.rows.items() if row.removed_day is None}

    # Starts

    def start(self, config: Config, receivers: Mapping[str, Receiver]) -> None:
        """Apply a configuration: rename, add and remove names, and note what each must be compared with.

        `receivers` are the receivers behind the names, whatever the ledger believes.
        """
        self._receivers = receivers
        self._rename(config)
        before = self.configured()
        self.updates = config.updates
        if config.excluded != self.excluded:
            self.excluded, self.positioned = config.excluded, False
            self.unmanaged |= config.excluded
        for place, one in enumerate(config.endpoints):
            number = self._row_of(one, place)
            if number is None:
                self._appear(one)
            else:
                self._continue(self.rows[number], one, returned=number not in before)
        names = {one.name for one in config.endpoints}
        for row in before.values():
            if row.name not in names:
                row.removed_day, row.owed = self.day, set()

    def _row_of(self, one: Endpoint, place: int) -> int | None:
        if not self.obeys(Rule.NAMES):
            numbers = sorted(self.rows)
            number = numbers[place] if place < len(numbers) else None
            if number is not None:
                self.rows[number].name = one.name
            return number
        return next((number for number, row in self.rows.items() if row.name == one.name), None)

    def _rename(self, config: Config) -> None:
        before = list(self.configured().values())
        if not (self.obeys(Rule.RENAME) and len(before) == len(config.endpoints) == 1):
            return
        old, new = before[0], config.endpoints[0]
        known = {row.name for row in self.rows.values()}
        if new.name == old.name or (self.obeys(Rule.RENAME_NEW) and new.name in known):
            return
        if not self.obeys(Rule.RENAME_URL) or old.url == new.url:
            for number in [number for number, row in self.rows.items() if row.name == new.name]:
                self._forget_row(number)
            old.name = new.name

    def _appear(self, one: Endpoint) -> None:
        number = max(self.rows, default=0) + 1
        row = Row(
            name=one.name, url=one.url, settings=one, receiver=self._receivers[one.name], seen_updates=self.updates
        )
        self.rows[number] = row
        self._learn(row)
        if not one.start_now:
            row.owed = set(self.keys) if self.obeys(Rule.APPEARANCE) else set()
            return
        for key in one.keys:
            if tracked := self.tracked(key):
                row.receiver.withheld.add(tracked[0])
        if self.obeys(Rule.NOW_AT_ONCE):
            self._withhold(number, one.keys)
        else:
            row.owed, row.now_in_pages = set(self.keys), True

    def _withhold(self, number: int, keys: Collection[str]) -> None:
        for key in sorted(keys):
            tracked = self.tracked(key)
            if tracked and (number, key) not in self.views:
                self.views[number, key] = View(state=tracked)

    def _continue(self, row: Row, one: Endpoint, *, returned: bool) -> None:
        old = row.settings
        row.settings, row.url, row.removed_day, row.receiver = one, one.url, None, self._receivers[one.name]
        self._learn(row)
        owed = (
            (returned and self.obeys(Rule.RETURN))
            or (old.keys != one.keys and self.obeys(Rule.SELECTION))
            or (old.types != one.types and self.obeys(Rule.TYPES))
            or (row.seen_updates != self.updates and self.obeys(Rule.UPDATES))
        )
        row.seen_updates = self.updates
        if owed:
            row.owed |= set(self.keys)
        if returned and one.start_now and not self.obeys(Rule.NOW_ONCE):
            row.owed = set()
            self._withhold_again(row)

    def _withhold_again(self, row: Row) -> None:
        number = next(number for number, one in self.rows.items() if one is row)
        for key in row.settings.keys:
            self._view(number, key).state = self.tracked(key)

    def _learn(self, row: Row) -> None:
        row.receiver.unmanaged = self.unmanaged
        if not {"created", "deleted"} <= row.settings.types:
            row.receiver.unsure |= set(self.keys)

    # Objects and events

    def tracked(self, key: str) -> State | None:
        return next(
            ((uid, one.value) for uid, one in self.objects.items() if one.key == key and one.state == "tracked"), None
        )

    def is_unmanaged(self, key: str) -> bool:
        return any(one.key == key and one.state == "unmanaged" for one in self.objects.values())

    def observe(self, key: str, seen: State | None, *, accepted: bool) -> None:
        """Apply what the cluster shows of a key: nothing, or an object that the rule accepts or not."""
        for uid in [uid for uid, one in self.objects.items() if one.key == key and (seen is None or uid != seen[0])]:
            self._vanish(uid)
        if seen is None:
            return
        known = self.objects.get(seen[0])
        if key in self.excluded:
            if known and known.state == "tracked":
                known.state = "unmanaged"
        elif accepted:
            self._accept(key, seen, known)
        elif known and known.state in ("tracked", "unmanaged"):
            self._emit(key, "deleted", (seen[0], known.value))
            known.state = "released"
            self._compare_others(key)

    def _vanish(self, uid: str) -> None:
        one = self.objects[uid]
        if one.state in ("tracked", "unmanaged"):
            self._emit(one.key, "deleted", (uid, one.value))
        one.state = "gone"
        self._compare_others(one.key)

    def _compare_others(self, key: str) -> None:
        """Compare the endpoints that have another object than the one that ended."""
        for number in sorted(self.configured()) if self.obeys(Rule.DELETED_COMPARED) else ():
            view = self.views.get((number, key))
            if view and view.state:
                self._compare(number, key)

    def _accept(self, key: str, seen: State, known: KnownObject | None) -> None:
        if known is None or known.state in ("released", "gone"):
            self._emit(key, "created", seen)
            self.objects[seen[0]] = KnownObject(key, "tracked", seen[1])
        elif known.state == "unmanaged":
            known.state, known.value = "tracked", seen[1]
            if self.obeys(Rule.REJOIN):
                for number in sorted(self.configured()):
                    self._compare(number, key)
        elif known.value != seen[1]:
            if self.updates:
                self._emit(key, "updated", seen)
            known.value = seen[1]

    def _emit(self, key: str, kind: str, state: State) -> None:
        """Write an event for every endpoint that selects it, after what the endpoint is owed about the key."""
        self._check_deletion(kind, state[0])
        for number, row in sorted(self.configured().items()):
            if key in row.owed and self.obeys(Rule.BEFORE_NEXT):
                self._compare_before(number, key)
            written = self._written_other(number, key, state[0])
            if written and kind != "deleted" and self.obeys(Rule.OTHER_UID):
                self._write_for(number, key, "deleted", written)
        self.sequence += 1
        event = Request(key, self.sequence, 0, kind, *state)
        self.events[self.sequence] = event
        before = max(
            (number for number, one in self.events.items() if one.key == key and number < self.sequence), default=0
        )
        for number in sorted(self.configured()):
            if not (
                kind == "deleted" and self._written_other(number, key, state[0]) and self.obeys(Rule.DELETED_OTHER)
            ):
                self._write(number, event, before)

    def _written_other(self, number: int, key: str, uid: str) -> State | None:
        """Return the state of a view that is present with another UID."""
        view = self.views.get((number, key))
        return view.state if view and view.state and view.state[0] != uid else None

    def _check_deletion(self, kind: str, uid: str) -> None:
        if kind == "deleted" and uid not in self.ended:
            raise Violation(f"a deletion of {uid}, which exists")

    def _write_for(self, number: int, key: str, kind: str, state: State) -> None:
        """Write an event for one endpoint alone, as far as its types allow."""
        types = self.rows[number].settings.types
        if kind not in types or (kind == "updated" and not self.updates):
            if not self.obeys(Rule.WRITTEN):
                self._view(number, key).state = None if kind == "deleted" else state
            return
        self._check_deletion(kind, state[0])
        self.sequence += 1
        event = Request(key, self.sequence, 0, kind, *state)
        self.events[self.sequence] = event
        self.written.append(event)
        self._write(number, event, 0)

    def _write(self, number: int, event: Request, before: int) -> None:
        row = self.rows[number]
        if event.key not in row.settings.keys:
            return
        view = self._view(number, event.key)
        after = None if event.type == "deleted" else (event.uid, event.value)
        if event.type in row.settings.types:
            previous = view.written if self.obeys(Rule.PREVIOUS) else before
            self.deliveries[number, event.sequence] = Delivery(event.key, previous)
            view.written, view.state = event.sequence, after
        elif not self.obeys(Rule.WRITTEN):
            view.state = after

    def _view(self, number: int, key: str) -> View:
        return self.views.setdefault((number, key), View())

    # Catch-up

    def catch_up(self, number: int, key: str) -> None:
        """Compare one key of an endpoint; a page of the catch-up."""
        row = self.rows[number]
        if not self.positioned and self.obeys(Rule.POSITION):
            return
        if row.now_in_pages:
            if key in row.settings.keys:
                self._withhold(number, [key])
        else:
            self._compare(number, key)
        row.owed.discard(key)
        row.now_in_pages = row.now_in_pages and bool(row.owed)

    def _compare_before(self, number: int, key: str) -> None:
        if self.positioned or not self.obeys(Rule.POSITION):
            self._compare(number, key)
            self.rows[number].owed.discard(key)
        elif self._has_row(key) and self.obeys(Rule.LISTED):
            self._compare(number, key)

    def _compare(self, number: int, key: str) -> None:
        """Write what differs between the tracked object of a key and what was written for an endpoint."""
        row = self.rows[number]
        if key not in row.settings.keys or (self.is_unmanaged(key) and self.obeys(Rule.UNMANAGED)):
            return
        view, tracked = self.views.get((number, key)), self.tracked(key)
        written = view.state if view else None
        if tracked is None:
            if written and (self._has_row(key) or self.obeys(Rule.ROW_GONE)):
                self._write_for(number, key, "deleted", written)
        elif written is None or written[0] != tracked[0]:
            if written:
                self._write_for(number, key, "deleted", written)
            self._write_for(number, key, "created", tracked)
        elif written[1] != tracked[1]:
            self._write_for(number, key, "updated", tracked)

    # Deliveries

    def leasable(self, number: int) -> list[int]:
        """Return the sequences that may be leased, at most one for each key."""
        found: dict[str, int] = {}
        busy = {one.key for one in self._of(number).values() if one.state == "leased"}
        ready = {sequence: one for sequence, one in self._of(number).items() if one.state == "ready"}
        first = self.obeys(Rule.ASKED_FIRST)
        open_ones = sorted(ready, key=lambda sequence: (not (first and ready[sequence].asked), sequence))
        for sequence in open_ones if self.obeys(Rule.OLDEST_FIRST) else reversed(open_ones):
            key = self.deliveries[number, sequence].key
            if key not in busy or not self.obeys(Rule.ONE_AT_A_TIME):
                found.setdefault(key, sequence)
        return sorted(found.values())

    def lease(self, number: int, sequence: int) -> Request:
        one, event = self.deliveries[number, sequence], self._event(sequence)
        one.state, one.asked = "leased", True
        return Request(event.key, sequence, one.previous, event.type, event.uid, event.value)

    def _event(self, sequence: int) -> Request:
        if sequence not in self.events:
            raise Violation(f"the event of an open delivery was pruned: {sequence}")
        return self.events[sequence]

    def settle(self, settled: Settlement) -> None:
        """Apply the result of a request: `delivered`, `failed` or `retry`. A repetition changes nothing."""
        number, sequence, result = settled.number, settled.sequence, settled.result
        one = self.deliveries.get((number, sequence))
        if one is None or one.state not in OPEN:
            return
        if one.generation != settled.generation and self.obeys(Rule.GENERATION):
            return
        if one.requests >= settled.request and self.obeys(Rule.ORDINAL):
            return
        one.requests = settled.request
        one.state = "ready" if result == "retry" else result
        if result == "failed":
            self._excuse(number, sequence)
        if result == "delivered":
            self._accepted(number, sequence)

    def _accepted(self, number: int, sequence: int) -> None:
        event = self._event(sequence)
        view = self._view(number, event.key)
        if sequence > view.accepted:
            view.accepted = sequence
            view.accepted_state = None if event.type == "deleted" else (event.uid, event.value)
        for earlier, one in self._of(number).items():
            if one.key == event.key and earlier < sequence and one.state == "ready" and self.obeys(Rule.OVERTAKEN):
                one.state = "failed"

    def redeliver(self, number: int, sequence: int) -> None:
        """Send a failed delivery again, unless a later event of its object was accepted."""
        one = self.deliveries[number, sequence]
        if self._view(number, one.key).accepted < sequence:
            one.state, one.generation, one.requests, one.asked = "ready", one.generation + 1, 0, False

    def discard(self, number: int, sequence: int) -> None:
        self.deliveries[number, sequence].state = "discarded"
        self._excuse(number, sequence)

    def discard_removed(self, number: int) -> None:
        """Discard all open and failed deliveries of a removed name; its return sends the difference."""
        ended = {sequence for sequence, one in self._of(number).items() if one.state in (*OPEN, "failed")}
        keys = {self.deliveries[number, sequence].key for sequence in ended}
        for sequence in ended:
            self.discard(number, sequence)
        receiver = self.rows[number].receiver
        for key in keys:
            del receiver.lacks[key]
        # What it accepted although the answer was lost can't be known: a limit that the docs state.
        receiver.lacks |= {self.deliveries[number, sequence].key: sequence for sequence in ended & receiver.received}
        for (owner, key), view in self.views.items():
            if owner == number and (key in keys or not self.obeys(Rule.DISCARD_OWN)) and self.obeys(Rule.DISCARD_BACK):
                view.state = view.accepted_state

    def _excuse(self, number: int, sequence: int) -> None:
        receiver, key = self.rows[number].receiver, self.deliveries[number, sequence].key
        receiver.unsent.add(sequence)
        receiver.disturbed.add(key)
        receiver.lacks[key] = max(sequence, receiver.lacks.get(key, 0))

    def new_session(self) -> None:
        """Free what the notifier before held."""
        for one in self.deliveries.values():
            if one.state == "leased" and self.obeys(Rule.LEASE_FREED):
                one.state = "ready"

    def store_restarted(self, held: Collection[tuple[int, int]]) -> None:
        """Forget the leases; the claims of a living notifier name what it holds."""
        for place, one in self.deliveries.items():
            if one.state == "leased" and (place not in held or not self.obeys(Rule.LEASE_HELD)):
                one.state = "ready"

    def _of(self, number: int) -> dict[int, Delivery]:
        return {sequence: one for (owner, sequence), one in self.deliveries.items() if owner == number}

    # Retention and damage

    def prune(self) -> None:
        """Remove settled events, objects that are gone, and the views and rows that nothing needs any more."""
        for sequence in sorted(self.events):
            if self._is_prunable(sequence):
                self._drop_event(sequence)
        kept = {event.uid for event in self.events.values()}
        self.objects = {uid: one for uid, one in self.objects.items() if one.state != "gone" or uid in kept}
        for number, key in [place for place in self.views if self._is_droppable(*place)]:
            self._drop_view(number, key)
        for number in [number for number, row in self.rows.items() if self._is_over(number, row.removed_day)]:
            self._forget_row(number)

    def _drop_view(self, number: int, key: str) -> None:
        receiver = self.rows[number].receiver
        del self.views[number, key]
        if not self._has_row(key) and not self._waits(number, key):
            receiver.forgotten.add(key)
        if "deleted" not in self.rows[number].settings.types:
            receiver.unsure.add(key)

    def _is_prunable(self, sequence: int) -> bool:
        event = self.events[sequence]
        states = [one.state for (_, number), one in self.deliveries.items() if number == sequence]
        settled = [state in ("delivered", "discarded") for state in states]
        done = all(settled) if self.obeys(Rule.PRUNE_SETTLED) else not settled or any(settled)
        newer = any(one.key == event.key and number > sequence for number, one in self.events.items())
        living = any(one.key == event.key and one.state != "gone" for one in self.objects.values())
        behind = any(self._is_last_of_more(number, sequence) for number, other in self.deliveries if other == sequence)
        return done and (newer or not living) and not (behind and self.obeys(Rule.PRUNE_LAST))

    def _is_last_of_more(self, number: int, sequence: int) -> bool:
        """Return True if a delivery is the last one of its endpoint and key, and not the only one."""
        key = self.deliveries[number, sequence].key
        others = [other for other, one in self._of(number).items() if one.key == key and other != sequence]
        return bool(others) and max(others) < sequence

    def _drop_event(self, sequence: int) -> None:
        del self.events[sequence]
        for place in [place for place in self.deliveries if place[1] == sequence]:
            if self.deliveries[place].state not in OPEN:
                del self.deliveries[place]

    def _is_droppable(self, number: int, key: str) -> bool:
        view = self.views[number, key]
        reported = "deleted" in self.rows[number].settings.types
        if view.state and reported and self.obeys(Rule.KEEP_PRESENT):
            return False
        if self._has_row(key) and self.obeys(Rule.KEEP_OTHER_ROW):
            return False
        return not (self._waits(number, key) and self.obeys(Rule.KEEP_OPEN))

    def _has_row(self, key: str) -> bool:
        return any(one.key == key for one in self.objects.values())

    def _waits(self, number: int, key: str) -> bool:
        return any(one.key == key and one.state in (*OPEN, "failed") for one in self._of(number).values())

    def _is_over(self, number: int, removed_day: int | None) -> bool:
        if removed_day is None:
            return False
        if not self.obeys(Rule.KEEP_REMOVED):
            return True
        waits = any(one.state in (*OPEN, "failed") for one in self._of(number).values())
        return self.day - removed_day >= KEPT_DAYS and not waits

    def _forget_row(self, number: int) -> None:
        del self.rows[number]
        for place in [place for place in self.deliveries if place[0] == number]:
            del self.deliveries[place]
        for view in [view for view in self.views if view[0] == number]:
            del self.views[view]

    def rescue(
        self, objects: Collection[str], views: Collection[tuple[int, str]], deliveries: Collection[tuple[int, int]]
    ) -> None:
        """Go on with a damaged ledger, of which these objects, views and deliveries could not be read."""
        for place in deliveries:
            del self.deliveries[place]
        for uid in objects:
            del self.objects[uid]
        for number, key in list(self.views) if not self.obeys(Rule.RESCUED_VIEWS) else views:
            if (number, key) in views:
                self.rows[number].receiver.unsure.add(key)
                self.rows[number].receiver.forgotten.add(key)
            del self.views[number, key]
        self._compute_views()
        if self.obeys(Rule.RESCUED_OBJECTS):
            self._restore_objects()
        self.positioned = False
        self.sequence += 100
        for row in self.configured().values() if self.obeys(Rule.RESCUED_ALL) else ():
            row.owed = set(self.keys)

    def _restore_objects(self) -> None:
        """Make rows, to be judged by the next list, for the objects that endpoints have and whose rows are lost."""
        for (_, key), view in sorted(self.views.items()):
            if view.state and view.state[0] not in self.objects:
                self.objects[view.state[0]] = KnownObject(key, "unmanaged", view.state[1])
                self.unmanaged.add(key)

    def _compute_views(self) -> None:
        """Compute the views that are missing from the deliveries that are there."""
        known = set(self.views)
        for (number, sequence), one in sorted(self.deliveries.items()):
            if (number, one.key) in known or sequence not in self.events:
                continue
            event, view = self.events[sequence], self._view(number, one.key)
            after = None if event.type == "deleted" else (event.uid, event.value)
            view.written = sequence
            if one.state != "discarded":
                view.state = after
            if one.state == "delivered":
                view.accepted, view.accepted_state = sequence, after
            elif one.previous and (number, one.previous) not in self.deliveries:
                view.accepted = max(view.accepted, one.previous)  # it was pruned, so that nothing before it may be sent

    def open_rows(self) -> Iterator[int]:
        """Yield the endpoints that have something to send, and may."""
        for number, row in self.configured().items():
            if not row.paused and self.leasable(number):
                yield number
