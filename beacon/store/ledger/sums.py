"""Counts and digests: added up in memory during a transaction, written once before its commit.

They follow from the other rows, and `verification` proves that they do. Like the session state, the sums of a request
are dropped when its savepoint is rolled back.
"""

from collections import defaultdict

from beacon.store.ledger import database, packing

_OBJECTS, _DELIVERIES = "objects", "deliveries"
_Counted = tuple[str, str, str]  # table, kind or endpoint, state
_Bucket = tuple[int, int]  # endpoint, bucket


class TransactionSums:
    """The sums of the transaction and those of the current request."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts: defaultdict[_Counted, int] = defaultdict(int)
        self._digests: defaultdict[_Bucket, int] = defaultdict(int)
        self._stored: dict[int, bytes] = {}  # the rows of `digests` that are known
        self._written: dict[int, bytes] = {}  # those of this transaction
        self._request_counts: list[tuple[_Counted, int]] = []
        self._request_digests: list[tuple[_Bucket, int]] = []

    def object_moved(self, kind: str, before: str | None, after: str | None, number: int = 1) -> None:
        """Count objects that changed their state; None stands for no row."""
        self._moved(_OBJECTS, kind, before, after, number)

    def delivery_moved(self, endpoint: int, before: str | None, after: str | None, number: int = 1) -> None:
        """Count deliveries that changed their state; None stands for no row."""
        self._moved(_DELIVERIES, str(endpoint), before, after, number)

    def digest(self, endpoint: int, bucket: int, *, by: int) -> None:
        """Add to a bucket's digest."""
        self._request_digests.append(((endpoint, bucket), by))

    def drop_endpoint(self, endpoint: int) -> None:
        """Drop what the current transaction added for an endpoint whose rows are removed in it, and its digests."""
        self._request_counts = [one for one in self._request_counts if one[0][:2] != (_DELIVERIES, str(endpoint))]
        self._request_digests = [one for one in self._request_digests if one[0][0] != endpoint]
        for counted in [one for one in self._counts if one[:2] == (_DELIVERIES, str(endpoint))]:
            del self._counts[counted]
        for bucket in [one for one in self._digests if one[0] == endpoint]:
            del self._digests[bucket]
        self._stored.pop(endpoint, None)
        self._written.pop(endpoint, None)

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
        for bucket, by in self._request_digests:
            self._digests[bucket] += by
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
        digests: dict[int, packing.Digests] = {}
        for (endpoint, bucket), by in self._digests.items():
            if by:
                if endpoint not in digests:
                    digests[endpoint] = packing.Digests(self._row(ledger, endpoint))
                digests[endpoint].add(bucket, by)
        for endpoint, changed in digests.items():
            self._written[endpoint] = changed.stored()
            ledger.run("INSERT OR REPLACE INTO digests VALUES (?, ?)", (endpoint, self._written[endpoint]))

    def _row(self, ledger: database.Database, endpoint: int) -> bytes | None:
        """Return the row of an endpoint's digests, which only this class writes."""
        if endpoint not in self._stored:
            row = ledger.row("SELECT buckets FROM digests WHERE endpoint = ?", (endpoint,))
            if row is None:
                return None
            self._stored[endpoint] = bytes(row[0])
        return self._stored[endpoint]

    def committed(self) -> None:
        """Drop the sums of the transaction, which was committed, and remember what it wrote."""
        self._stored.update(self._written)
        self.drop_all()

    def drop_all(self) -> None:
        """Drop all sums: the transaction was rolled back."""
        self.drop_request()
        self._counts.clear()
        self._digests.clear()
        self._written.clear()
