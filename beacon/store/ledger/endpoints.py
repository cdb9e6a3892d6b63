"""The table `endpoints`: which row belongs to which configured name.

An endpoint is known by its name; the order in the file means nothing. A name that the ledger does not know is a new
receiver, with one exception: the only endpoint of the last start, replaced by the only one of this start at the same
URL, is renamed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from beacon import errors
from beacon.domain import model, parking, selection
from beacon.store.ledger import database, packing

Selector = Callable[[str, str, str, str], bool]  # group, kind, namespace, name
ALL_TYPES = frozenset(model.EventType)


class StartFrom(StrEnum):
    """The objects that a new endpoint gets: `endpoints[].start`."""

    CREATED = "created"  # those that were tracked before its name appeared, too
    NOW = "now"  # only later changes


def select_all(_group: str, _kind: str, _namespace: str, _name: str) -> bool:
    """Return True: the endpoint gets the events of every object."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEndpoint:
    """The part of an endpoint's configuration that the ledger depends on.

    `selection` is a digest of everything that `selects` depends on: if it changes, the endpoint is compared. Without
    `park` it is never parked.
    """

    name: str
    url_digest: bytes = b""
    start: StartFrom = StartFrom.CREATED
    selects: Selector = select_all
    selection: str = ""
    types: frozenset[model.EventType] = ALL_TYPES
    park: parking.ParkingRules | None = None

    @property
    def recorded(self) -> str:
        """Return the selection as the ledger records it, with the types."""
        return selection.recorded(self.selection, self.types)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredEndpoint:
    """A configured endpoint with the number of its row."""

    id: int
    settings: LedgerEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """The only endpoint got another name, and kept its open and failed deliveries."""

    before: str
    after: str
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The configured endpoints with their rows.

    `owed` must be compared with what was written for them; `from_now` are new and get only later changes.
    """

    endpoints: tuple[ConfiguredEndpoint, ...]
    owed: tuple[int, ...]
    from_now: tuple[ConfiguredEndpoint, ...]
    removed: tuple[int, ...]
    renamed: Renamed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: int
    name: str
    url_digest: bytes
    removed_us: int
    selection: str
    updates: bool
    parked: bool


class Endpoints:
    """Reads and writes the table `endpoints`."""

    def __init__(self, ledger: database.Database) -> None:
        """Work on the given ledger."""
        self._ledger = ledger

    def align(self, configured: Sequence[LedgerEndpoint], *, updates: bool, now_us: int) -> Alignment:
        """Rename, add and remove names as the configuration demands; once, at startup.

        Raises:
            errors.PermanentError: there are more names than the ledger can hold.
        """
        renamed = self._rename(configured)
        rows = {row.name: row for row in self._rows()}
        found: list[ConfiguredEndpoint] = []
        owed: list[int] = []
        from_now: list[ConfiguredEndpoint] = []
        for one in configured:
            row = rows.get(one.name)
            endpoint = ConfiguredEndpoint(id=row.id if row else self._add(one), settings=one)
            found.append(endpoint)
            if row is None and one.start is StartFrom.NOW:
                from_now.append(endpoint)
            elif row is None or _is_owed(row, one, updates=updates):
                owed.append(endpoint.id)
            if row is not None and (row.url_digest not in (b"", one.url_digest) or (row.parked and one.park is None)):
                self._ledger.run(
                    "UPDATE endpoints SET parking = parking + 1, parked_us = 0, parked_cause = '',"
                    " restoring = CASE restoring WHEN 0 THEN proper_sent_us + 1 ELSE restoring END"
                    " WHERE id = ?",
                    (row.id,),
                )
            self._ledger.run(
                "UPDATE endpoints SET url_digest = ?, selection = ?, updates = ?, removed_us = 0 WHERE id = ?",
                (one.url_digest, one.recorded, int(updates), endpoint.id),
            )
        names = {one.name for one in configured}
        gone = tuple(row.id for row in rows.values() if not row.removed_us and row.name not in names)
        for number in gone:
            self._ledger.run("UPDATE endpoints SET removed_us = ? WHERE id = ?", (max(1, now_us), number))
        return Alignment(
            endpoints=tuple(found), owed=tuple(owed), from_now=tuple(from_now), removed=gone, renamed=renamed
        )

    def _rows(self) -> list[_Row]:
        rows = self._ledger.rows(
            "SELECT id, name, url_digest, removed_us, selection, updates, parked_us FROM endpoints"
        )
        return [
            _Row(
                id=row[0],
                name=row[1],
                url_digest=row[2],
                removed_us=row[3],
                selection=row[4],
                updates=bool(row[5]),
                parked=bool(row[6]),
            )
            for row in rows
        ]

    def _rename(self, configured: Sequence[LedgerEndpoint]) -> Renamed | None:
        """Rename the only endpoint, if it is the same receiver under a new name.

        Without a recorded URL the ledger is migrated: its endpoint is the only configured one, whatever its name.
        """
        rows = self._rows()
        live = [row for row in rows if not row.removed_us]
        if len(live) != 1 or len(configured) != 1:
            return None
        (row,), (one,) = live, configured
        if any(known.name == one.name for known in rows) or row.url_digest not in (b"", one.url_digest):
            return None
        self._ledger.run("UPDATE endpoints SET name = ? WHERE id = ?", (one.name, row.id))
        (moved,) = self._ledger.row(
            "SELECT coalesce(sum(number), 0) FROM counts WHERE what = 'deliveries' AND name = ?"
            " AND state IN ('queued', 'ready', 'failed')",
            (str(row.id),),
        ) or (0,)
        return Renamed(before=row.name, after=one.name, deliveries=moved)

    def _add(self, one: LedgerEndpoint) -> int:
        """Write the row of a new name; a number is used again only when there is no other."""
        used = {number for (number,) in self._ledger.rows("SELECT id FROM endpoints")}
        free = (number for number in range(1, packing.LAST_ENDPOINT + 1) if number not in used)
        number = max(used, default=0) + 1
        number = number if number <= packing.LAST_ENDPOINT else next(free, 0)
        if not number:
            raise errors.PermanentError(f"the ledger can hold no more than {packing.LAST_ENDPOINT} endpoints")
        (last,) = self._ledger.row("SELECT coalesce(max(sequence), 0) FROM events") or (0,)
        self._ledger.run("INSERT INTO endpoints (id, name, first_sequence) VALUES (?, ?, ?)", (number, one.name, last))
        return number


def _is_owed(row: _Row, one: LedgerEndpoint, *, updates: bool) -> bool:
    """Return True if what the endpoint gets has changed since the last start; a migrated row knows no last start."""
    changed = row.selection != one.recorded or row.updates is not updates
    return bool(row.removed_us) or (changed and bool(row.selection))
