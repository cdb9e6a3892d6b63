"""The store dies at every single commit of a small history, before or after it: nothing differs in the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import database, endpoints
from beacon.store.server import service
from beacon.store.verbs import alignment, catch_up
from tests.unit.store import world

LISTED_AT = 10


class Died(BaseException):
    """The process is gone; nothing within it could have noticed."""


class Mortal(database.Database):
    """A database whose process dies at a given commit."""

    left = -1  # commits until then; negative: lives for ever
    after = False
    made = 0

    def commit(self) -> None:
        if Mortal.left == 0 and not Mortal.after:
            self._die()
        super().commit()
        Mortal.made += 1
        if Mortal.left == 0:
            self._die()
        Mortal.left -= 1

    def _die(self) -> None:
        Mortal.left = -1
        self.close()
        raise Died


class Mortals(world.World):
    """A store that dies, and a watcher and a notifier that live on."""

    def __init__(self, path: Path) -> None:
        self.settlements: list[model.Outcome] = []
        self.sent: list[tuple[str, str]] = []  # name, event id
        super().__init__(path, updates=True)

    def start(self) -> None:
        self.ledger = Mortal(self.path)
        terms = alignment.LedgerConfig(scopes=self.scopes, endpoints=self.endpoints, updates=self.updates)
        self.service = service.StoreService(self.ledger, terms, settings={}, digest="d", time_=self.time())

    def go_through(self, history: list[model.Observation]) -> None:
        """Do all that is to be done, however often the store has to be started for it."""
        while True:
            try:
                self.start()
                for _ in self._work(history):
                    self._deliver()
                self._deliver()
            except Died:
                continue
            return

    def _work(self, history: list[model.Observation]) -> Iterator[None]:
        """Follow the history as a watcher does that asks where it is: list, then observe pair by pair."""
        at = self.open().cursor
        if not at:
            self.relist(LISTED_AT, *(one for one in history if one.resource_version < LISTED_AT))
            at = LISTED_AT
            yield
        later = [one for one in history if one.resource_version > at]
        for pair in (later[index : index + 2] for index in range(0, len(later), 2)):
            reply = self.observe(at, pair[-1].resource_version, *pair)
            assert reply.place is wire.ApplyResult.APPLIED, reply
            self.opened[self.scopes[0].id] = self.open()
            at = pair[-1].resource_version
            yield

    def _deliver(self) -> None:
        """Claim, send and settle as a notifier does that keeps what the store has not confirmed."""
        while True:
            claimed = self.claim(3, *self.settlements, session=f"s{id(self.service)}")
            self.settlements.clear()
            if not claimed.deliveries:
                return
            for delivery in claimed.deliveries:
                self.sent.append((delivery.name, delivery.event_id))
                self.settlements.append(world.delivered(delivery))


def history() -> list[model.Observation]:
    added, gone = model.ChangeKind.ADDED, model.ChangeKind.DELETED
    released = model.RuleVerdict.ANNOTATION
    return [
        world.seen("a", 3),
        world.seen("b", 5),
        world.seen("c", 11, added),
        world.seen("a", 12, value="other"),
        world.seen("b", 13, verdict=released),
        world.seen("b", 14, value="again"),
        world.seen("c", 15, gone),
        world.seen("c", 16, added, uid="uid-of-another-c"),
        world.seen("a", 17, gone),
        world.seen("d", 18, added),
        world.seen("d", 19, gone),
    ]


def outcome(path: Path, *, left: int, after: bool) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]], int]:
    Mortal.left, Mortal.after, Mortal.made = -1, after, 0
    work = Mortals(path)
    work.ledger.close()
    Mortal.left, Mortal.made = left, 0
    work.go_through(history())
    open_ones = work.ledger.rows("SELECT count(*) FROM readable_deliveries WHERE state <> 'delivered'")
    assert open_ones == [(0,)]
    emitted = work.events()
    work.ledger.close()
    return emitted, work.sent, Mortal.made


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.slow
def test_a_death_at_any_commit_changes_nothing(tmp_path: Path, *, after: bool) -> None:
    emitted, sent, commits = outcome(tmp_path / "whole.db", left=-1, after=after)
    assert len(emitted) == 11
    assert len(set(sent)) == len(sent) == 11
    assert commits > 15

    for number in range(commits):
        again, sent_again, _ = outcome(tmp_path / f"{number}.db", left=number, after=after)
        assert again == emitted, f"death at commit {number}"
        # In order for each object; and nothing twice, because a notifier keeps what it has not settled.
        assert sorted(sent_again, key=by_name) == sorted(sent, key=by_name), f"death at commit {number}"


def by_name(sent: tuple[str, str]) -> str:
    return sent[0]


class Joined(Mortals):
    """A store whose endpoint `default` is added after the first list."""

    def __init__(self, path: Path) -> None:
        self.has_joined = False
        super().__init__(path)
        self.open()
        self.relist(LISTED_AT, *(world.seen(name, 5) for name in "abcde"))
        self.ledger.close()
        self.has_joined = True

    def start(self) -> None:
        first, late = (endpoints.LedgerEndpoint(name=name, url_digest=name.encode()) for name in ("first", "default"))
        self.endpoints = (first, late) if self.has_joined else (first,)
        super().start()

    def join(self) -> list[tuple[str, int, int]]:
        """Start with both endpoints until everything is compared and delivered; return what was written."""
        while True:
            try:
                self.start()
                self.catch_up()
                self._deliver()
            except Died:
                continue
            written = self.ledger.rows(
                "SELECT e.name, d.previous, d.state = 'delivered' FROM readable_deliveries d"
                " JOIN readable_events e USING (sequence) WHERE d.endpoint = 'default' ORDER BY e.name"
            )
            self.ledger.close()
            return written


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_any_commit_of_a_catch_up_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    monkeypatch.setattr(catch_up, "_KEYS_IN_PAGE", 2)
    Mortal.left, Mortal.after = -1, after
    whole = Joined(tmp_path / "whole.db")
    Mortal.made = 0
    expected = whole.join()
    assert expected == [(name, 0, 1) for name in "abcde"]
    commits = Mortal.made
    assert commits > 4

    for number in range(commits):
        Mortal.left, Mortal.after = -1, after
        work = Joined(tmp_path / f"{number}.db")
        Mortal.left = number
        assert work.join() == expected, f"death at commit {number}"
        assert sorted(name for name, _ in work.sent) == list("abcde"), f"death at commit {number}"
