"""Counts and digests: added up in memory during a transaction, written once before its commit.

They follow from the other rows, and `verification` proves that they do. Like the session state, the sums of a request
are dropped when its savepoint is rolled back.
"""

from collections import defaultdict

from beacon.store import database, packing

_OBJECTS, _DELIVERIES = "objects", "deliveries"
_Counted = tuple[str, str, str]  # table, kind or endpoint, state
_Bucket = tuple[int, int]  # endpoint, bucket


class TransactionSums:
    """The sums of the transaction and those of the current request."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts: defaultdict[_Counted, int] = defaultdict(int)
        self._digests: dict[_Bucket, tuple[int, int]] = {}
        self._request_counts: list[tuple[_Counted, int]] = []
        self._request_digests: list[tuple[_Bucket, int, int]] = []

    def object_moved(self, kind: str, before: str | None, after: str | None, number: int = 1) -> None:
        """Count objects that changed their state; None stands for no row."""
        self._moved(_OBJECTS, kind, before, after, number)

    def delivery_moved(self, endpoint: int, before: str | None, after: str | None, number: int = 1) -> None:
        """Count deliveries that changed their state; None stands for no row."""
        self._moved(_DELIVERIES, str(endpoint), before, after, number)

    def digest(self, endpoint: int, bucket: int, *, by: int, opened: int) -> None:
        """Add to a bucket's digest and to its number of objects with an open delivery."""
        self._request_digests.append(((endpoint, bucket), by, opened))

    def _moved(self, table: str, name: str, before: str | None, after: str | None, number: int) -> None:
        if before == after:
            return
        if before is not None:
            self._request_counts.append(((table, name, before), -number))
        if after is not None:
            self._request_counts.append(((table, name, after), number))

    def keep_request(self) -> None:
        """Add the sums of the current request, which succeeded, to the transaction's."""
        for counted, by in self._request_counts:
            self._counts[counted] += by
        for bucket, by, opened in self._request_digests:
            before = self._digests.get(bucket, (0, 0))
            self._digests[bucket] = (before[0] + by, before[1] + opened)
        self.drop_request()

    def drop_request(self) -> None:
        """Drop the sums of the current request, which was rolled back."""
        self._request_counts.clear()
        self._request_digests.clear()

    def write(self, ledger: database.Database) -> None:
        """Write the sums of the transaction, just before its commit."""
        ledger.run_many(
            "INSERT INTO counts (what, name, state, number) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET number = number + excluded.number",
            [(*counted, by) for counted, by in self._counts.items() if by],
        )
        changed: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for (endpoint, bucket), (by, opened) in self._digests.items():
            if by or opened:
                changed[endpoint].append((bucket, by, opened))
        for endpoint, changes in changed.items():
            row = ledger.row("SELECT buckets FROM digests WHERE endpoint = ?", (endpoint,))
            digests = packing.Digests(row[0] if row else None)
            for change in changes:
                digests.add(*change)
            ledger.run("INSERT OR REPLACE INTO digests VALUES (?, ?)", (endpoint, digests.stored()))

    def drop_all(self) -> None:
        """Drop all sums: the transaction was committed, or rolled back."""
        self.drop_request()
        self._counts.clear()
        self._digests.clear()
