"""Serves `holdings` and `views`: a bounded number of rows at a time, so that other requests do not wait."""

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import database, packing

_ROWS = 500
_COLUMNS = (
    "o.uid, o.api_group, o.kind, o.namespace, o.state, o.epoch, o.resource_version, o.judged_by, o.accepted_by,"
    " o.value, k.name"
)
_VIEWS = (
    "SELECT v.id, p.name, k.api_group, k.kind, k.namespace, k.name, v.written_uid, v.written_value FROM"
    " (SELECT * FROM views WHERE id > ? ORDER BY id LIMIT ?) v CROSS JOIN order_keys k ON k.id = v.id >> 12"
    " CROSS JOIN endpoints p ON p.id = v.id & 4095 ORDER BY v.id"
)
_ENDPOINTS = (
    "SELECT p.name, p.url_digest, p.selection, p.updates, p.removed_us,"
    " (SELECT coalesce(sum(c.number), 0) FROM counts c WHERE c.what = 'deliveries' AND c.name = CAST(p.id AS TEXT)"
    " AND c.state IN ('queued', 'ready', 'failed')) FROM endpoints p ORDER BY p.name"
)


class ObjectPages:
    """Reads the tables `objects` and `views` page by page."""

    def __init__(self, ledger: database.Database) -> None:
        """Read from the given ledger."""
        self._ledger = ledger

    def page(self, request: wire.ReadObjects) -> wire.ObjectPage:
        """Return the objects among the next rows that are not gone; a page may be empty although more follow."""
        head = self._ledger.row("SELECT cluster, epoch FROM meta")
        # The limit counts rows that are gone, too: a table full of them must not make one request slow.
        rows = self._ledger.rows(
            f"SELECT {_COLUMNS} FROM objects o LEFT JOIN order_keys k ON k.id = o.key WHERE o.uid > ? ORDER BY o.uid"
            " LIMIT ?",
            (packing.packed(request.after), _ROWS),
        )
        return wire.ObjectPage(
            cluster=head[0] if head else "",
            epoch=head[1] if head else 0,
            objects=tuple(_object(row) for row in rows if row[4] != model.ObjectState.GONE),
            after=packing.unpacked(rows[-1][0]) if rows else request.after,
            more=len(rows) == _ROWS,
        )

    def views(self, request: wire.ReadViews) -> wire.ViewPage:
        """Return the present objects among the next views."""
        rows = self._ledger.rows(_VIEWS, (max(0, min(request.after, model.MAX_INTEGER)), _ROWS))
        return wire.ViewPage(
            endpoints=tuple(map(_endpoint, self._ledger.rows(_ENDPOINTS))),
            views=tuple(_view(row) for row in rows if row[6] is not None),
            after=rows[-1][0] if rows else request.after,
            more=len(rows) == _ROWS,
        )


def _view(row: database.Row) -> wire.StoredView:
    _, endpoint, group, kind, namespace, name, uid, value = row
    return wire.StoredView(
        endpoint=endpoint,
        group=group,
        kind=kind,
        namespace=namespace,
        name=name,
        uid=packing.unpacked(uid),
        value=value or "",
    )


def _endpoint(row: database.Row) -> wire.StoredEndpoint:
    name, url_digest, selection, updates, removed_us, unsettled = row
    return wire.StoredEndpoint(
        name=name,
        url_digest=url_digest.hex(),
        selection=selection,
        updates=bool(updates),
        removed=removed_us > 0,
        unsettled=unsettled,
    )


def _object(row: database.Row) -> wire.StoredObject:
    uid, group, kind, namespace, state, epoch, version, judged_by, accepted_by, value, name = row
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
        name=name or "",
    )
