"""Statistics of the ledger: read from maintained counts, never by a table scan."""

from collections.abc import Iterator
from dataclasses import dataclass

from beacon import codec, wire
from beacon.configuration import configured_scopes
from beacon.domain import model
from beacon.store.ledger import database
from beacon.store.verbs import deliveries, watch_positions

_LATEST_GAPS = 20
_OLDEST = "SELECT min(id) FROM deliveries WHERE endpoint = ? AND state = 'ready'"
_READY = ("requests = 0 AND background = 0", "requests = 0 AND background = 1", "requests > 0")  # one index each


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownEndpoint:
    """A row of `endpoints`."""

    name: str
    paused_us: int
    paused_by: str
    paused_reason: str
    removed_us: int


class StatisticsReader:
    """Serves the verb `inspect`."""

    def __init__(
        self, ledger: database.Database, positions: watch_positions.WatchPositions, deliveries_: deliveries.Deliveries
    ) -> None:
        """Read from the given ledger and the state in memory."""
        self._ledger = ledger
        self._positions = positions
        self._deliveries = deliveries_

    def inspect(self) -> wire.Statistics:
        """Return all statistics."""
        counts: dict[str, dict[str, dict[str, int]]] = {"objects": {}, "deliveries": {}}
        known = {
            number: _KnownEndpoint(
                name=name, paused_us=paused_us, paused_by=by, paused_reason=why, removed_us=removed_us
            )
            for number, name, paused_us, by, why, removed_us in self._ledger.rows(
                "SELECT id, name, paused_us, paused_by, paused_reason, removed_us FROM endpoints ORDER BY name"
            )
        }
        names = {str(number): one.name for number, one in known.items()}
        for what, name, state, number in self._ledger.rows("SELECT what, name, state, number FROM counts"):
            shown = names.get(str(name), str(name)) if what == "deliveries" else str(name)
            counts[what].setdefault(shown, {})[state] = number
        database_bytes, wal_bytes = self._ledger.sizes()
        return wire.Statistics(
            scopes=self._positions.statistics(),
            endpoints=tuple(
                self._endpoint(number, one, counts["deliveries"].get(one.name, {})) for number, one in known.items()
            ),
            tracked={kind: states.get("tracked", 0) for kind, states in counts["objects"].items()},
            rows=_rows(counts),
            database_bytes=database_bytes,
            wal_bytes=wal_bytes,
            sqlite_version=database.sqlite_version(),
            claimed_us=self._deliveries.claimed_us(),
            gaps=tuple(self._gaps()),
        )

    def _gaps(self) -> Iterator[wire.GapStatistics]:
        """Yield the latest gaps, newest first."""
        rows = self._ledger.rows(
            "SELECT coalesce(c.label, ''), g.api_group, g.kind, g.namespace, g.reason, g.from_us, g.to_us,"
            " g.differences, g.certainty"
            " FROM gaps g LEFT JOIN cursors c USING (api_group, kind, namespace) ORDER BY g.id DESC LIMIT ?",
            (_LATEST_GAPS,),
        )
        for label, group, kind, namespace, reason, since_us, until_us, differences, certainty in rows:
            scope = model.ScopeId(group=group, kind=kind, namespace=namespace)
            yield wire.GapStatistics(
                label=label or configured_scopes.spelled("", scope),
                reason=model.GapReason(reason),
                since_us=since_us or 0,
                until_us=until_us or 0,
                differences=differences,
                certainty=certainty,
            )

    def _endpoint(self, number: int, known: "_KnownEndpoint", states: dict[str, int]) -> wire.EndpointStatistics:
        endpoint = known.name
        leased = self._deliveries.in_flight(endpoint)
        parked = self._ledger.row("SELECT parked_us, parked_cause FROM endpoints WHERE id = ?", (number,)) or (0, "")
        in_flight = min(len(leased), states.get("ready", 0))
        waiting = min(self._waiting(endpoint, leased), states.get("ready", 0) - in_flight)
        return wire.EndpointStatistics(
            endpoint=endpoint,
            ready=states.get("ready", 0) - in_flight - waiting,
            waiting=waiting,
            queued=states.get("queued", 0),
            in_flight=in_flight,
            failed=states.get("failed", 0),
            delivered=states.get("delivered", 0),
            discarded=states.get("discarded", 0),
            oldest_us=self._oldest_us(endpoint),
            suspected=len(self._deliveries.suspects.of(endpoint)),
            suspects=self._deliveries.suspects.statistics(endpoint),
            paused_us=known.paused_us,
            paused_by=known.paused_by,
            paused_reason=known.paused_reason,
            removed_us=known.removed_us,
            catching_up=self._positions.is_catching_up(number),
            parked_us=parked[0],
            parked_cause=parked[1],
        )

    def _oldest_us(self, endpoint: str) -> int:
        """Return the commit instant of the oldest open delivery, 0 if none; a queued one is never the oldest."""
        number = self._deliveries.endpoint_id(endpoint)
        oldest = [self._ledger.row(f"{_OLDEST} AND {which}", (number,)) for which in _READY]
        found = [row[0] for row in oldest if row and row[0] is not None]
        row = found and self._ledger.row("SELECT committed_us FROM events WHERE sequence = ? >> 12", (min(found),))
        return int(row[0]) if row else 0

    def _waiting(self, endpoint: str, leased: frozenset[int]) -> int:
        """Count the retries that are not due yet, without probes; the index contains only open retries."""
        row = self._ledger.row(
            "SELECT count(*) FROM deliveries WHERE endpoint = ? AND state = 'ready' AND requests > 0"
            " AND next_attempt_us > ? AND id NOT IN (SELECT value FROM json_each(?))",
            (self._deliveries.endpoint_id(endpoint), self._deliveries.now_us(), codec.encode(list(leased)).decode()),
        )
        return row[0] if row else 0


def _rows(counts: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    """Add up the counts of each table by state: `table/state` -> rows."""
    rows: dict[str, int] = {}
    for table, names in counts.items():
        for states in names.values():
            for state, number in states.items():
                rows[f"{table}/{state}"] = rows.get(f"{table}/{state}", 0) + number
    return rows
