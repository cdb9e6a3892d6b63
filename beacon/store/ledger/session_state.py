"""In-memory state of the store that commits and rolls back together with the ledger.

Sessions and running lists live only as long as the process; after a restart its clients begin again. While the process
runs, this state must never be ahead of the ledger. Therefore changes are kept in layers, which are dropped when the
savepoint or the transaction that they belong to is rolled back. Values must be immutable.
"""

from collections.abc import Hashable
from typing import Any, Generic, TypeVar, cast

from beacon.store.ledger import database, sums

T = TypeVar("T")


class StateKey(Generic[T]):
    """The name of one value, whose type is `T`; `scope` distinguishes values of the same name.

    The hash is computed once: a key is looked up several times for every event.
    """

    __slots__ = ("_hash", "name", "scope")

    def __init__(self, name: str, scope: Hashable = None) -> None:
        """Set name and scope."""
        self.name = name
        self.scope = scope
        self._hash = hash((name, scope))

    def __hash__(self) -> int:
        """Return the hash of name and scope."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Return True for the same name and scope."""
        return isinstance(other, StateKey) and (self.name, self.scope) == (other.name, other.scope)


_ABSENT = object()
_Layer = dict[StateKey[Any], object]


class SessionState:
    """A dictionary with two layers above it: the changes of the transaction and those of the current request."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: _Layer = {}
        self._transaction: _Layer = {}
        self._request: _Layer = {}
        self._notes: list[object] = []
        self._request_notes: list[object] = []
        self.sums = sums.TransactionSums()
        self.is_careful = False  # a transaction that failed is applied again, request by request
        self.unwritten: set[Hashable] = set()  # scopes whose cursor moved in memory, see `cursors.Cursors.write_moved`

    def get(self, key: StateKey[T]) -> T | None:
        """Return the value as the current request sees it, None if there is none."""
        for layer in (self._request, self._transaction):
            if layer and (value := layer.get(key, _ABSENT)) is not _ABSENT:
                return cast("T | None", value)
        return cast("T | None", self._kept.get(key))

    def put(self, key: StateKey[T], value: T) -> None:
        """Set a value for the current request."""
        self._request[key] = value

    def remove(self, key: StateKey[T]) -> None:
        """Remove a value for the current request."""
        self._request[key] = None

    def note(self, what: object) -> None:
        """Record a notification (for metrics or the log) that is handed out after the commit."""
        self._request_notes.append(what)

    def keep_request(self) -> None:
        """Add the changes of the current request, which succeeded, to the transaction's."""
        self._transaction.update(self._request)
        self._notes.extend(self._request_notes)
        self.sums.keep_request()
        self._request.clear()
        self._request_notes.clear()

    def write_sums(self, ledger: database.Database) -> None:
        """Write the counts and digests of the transaction, just before its commit."""
        self.sums.write(ledger)

    def drop_request(self) -> None:
        """Drop the changes of the current request, which was rolled back."""
        self._request.clear()
        self._request_notes.clear()
        self.unwritten.clear()
        self.sums.drop_request()

    def keep_all(self) -> list[object]:
        """Make the changes of the committed transaction permanent. Return its notifications."""
        for key, value in self._transaction.items():
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value
        self._transaction.clear()
        self.sums.committed()
        notes, self._notes = self._notes, []
        return notes

    def drop_all(self) -> None:
        """Drop all changes of the transaction, which was rolled back."""
        self.drop_request()
        self._transaction.clear()
        self.sums.drop_all()
        self._notes.clear()
