"""Serves `holdings`: the known objects, a bounded number of rows at a time, so that other requests do not wait."""

from beacon import wire
from beacon.domain import model
from beacon.store import database, packing

_ROWS = 500
_COLUMNS = "uid, api_group, kind, namespace, state, epoch, resource_version, judged_by, accepted_by, value"


class ObjectPages:
    """Reads the table `objects` page by page."""

    def __init__(self, ledger: database.Database) -> None:
        """Read from the given ledger."""
        self._ledger = ledger

    def page(self, request: wire.ReadObjects) -> wire.ObjectPage:
        """Return the objects among the next rows that are not gone; a page may be empty although more follow."""
        head = self._ledger.row("SELECT cluster, epoch FROM meta")
        # The limit counts rows that are gone, too: a table full of them must not make one request slow.
        rows = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE uid > ? ORDER BY uid LIMIT ?", (packing.packed(request.after), _ROWS)
        )
        return wire.ObjectPage(
            cluster=head[0] if head else "",
            epoch=head[1] if head else 0,
            objects=tuple(_object(row) for row in rows if row[4] != model.ObjectState.GONE),
            after=packing.unpacked(rows[-1][0]) if rows else request.after,
            more=len(rows) == _ROWS,
        )


def _object(row: database.Row) -> wire.StoredObject:
    uid, group, kind, namespace, state, epoch, version, judged_by, accepted_by, value = row
    return wire.StoredObject(
        uid=packing.unpacked(uid),
        group=group,
        kind=kind,
        namespace=namespace,
        state=model.ObjectState(state),
        epoch=epoch,
        resource_version=version,
        judged_by=judged_by,
        accepted_by=accepted_by,
        value=value,
    )
