"""What the store keeps in memory beside the ledger, with the ledger's own all-or-nothing.

Sessions and running lists live only as long as the process: when it dies its clients begin anew. While it lives they
must never say more than the ledger does, so they change in layers that are dropped when the savepoint or the
transaction that they belong to is undone. Values must be immutable.
"""

from collections.abc import Hashable
from typing import Any

_ABSENT = object()


class SessionState:
    """A dictionary with two layers above it: the transaction's changes and the current request's."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept: dict[Hashable, Any] = {}
        self._transaction: dict[Hashable, Any] = {}
        self._request: dict[Hashable, Any] = {}
        self._notes: list[Any] = []
        self._request_notes: list[Any] = []

    def get(self, key: Hashable) -> Any:
        """Give the value as the current request sees it, None when there is none."""
        for layer in (self._request, self._transaction, self._kept):
            value = layer.get(key, _ABSENT)
            if value is not _ABSENT:
                return value
        return None

    def put(self, key: Hashable, value: Any) -> None:
        """Set a value for the current request; None removes it."""
        self._request[key] = value

    def note(self, what: object) -> None:
        """Remember something to be said (to the metrics, the log) once it is on disk."""
        self._request_notes.append(what)

    def keep_request(self) -> None:
        """The current request succeeded: its changes become the transaction's."""
        self._transaction.update(self._request)
        self._notes.extend(self._request_notes)
        self.drop_request()

    def drop_request(self) -> None:
        """The current request was undone."""
        self._request.clear()
        self._request_notes.clear()

    def keep_all(self) -> list[Any]:
        """The transaction is on disk: its changes are facts. Gives what is to be said now."""
        for key, value in self._transaction.items():
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value
        self._transaction.clear()
        notes, self._notes = self._notes, []
        return notes

    def drop_all(self) -> None:
        """The transaction was undone, and all its changes with it."""
        self.drop_request()
        self._transaction.clear()
        self._notes.clear()
