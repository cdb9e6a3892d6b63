"""The storage: objects, their history and the one resourceVersion.

It plays etcd and the watch cache in one. What is stored is never changed afterwards, so readers keep references and
need no copies, and a list at an old resourceVersion is made by walking the history back. Nothing here knows what the
objects mean, and nothing here waits.
"""

import bisect
import threading
from collections.abc import Callable
from typing import Any

from beacon.dev.api_server import fields, forms

Json = dict[str, Any]
Key = tuple[str, str]
Storage = tuple[str, str]

_SNAPSHOTS_KEPT = 32


class Stored:
    """One revision of one object, with its renderings, which everyone who asks shares."""

    __slots__ = ("forms", "key", "leaves", "obj", "owners", "path", "version")

    def __init__(
        self,
        obj: Json,
        *,
        key: Key,
        version: int,
        owners: tuple[fields.Owner, ...] = (),
        leaves: fields.Leaves | None = None,
    ) -> None:
        self.obj = obj
        self.key = key
        self.path = path(key)
        self.version = version
        self.owners = owners
        self.leaves = leaves or {}
        self.forms = forms.Forms(obj)


class StoredChange:
    """One line of history: what an object was before (None: nothing) and is now, or was last, at its deletion."""

    __slots__ = ("deleted", "departure", "new", "old", "version")

    def __init__(self, *, version: int, old: Stored | None, new: Stored, deleted: bool) -> None:
        self.version = version
        self.old = old
        self.new = new
        self.deleted = deleted
        # What a selector's watch is told when the object leaves the selector; made when first needed.
        self.departure: Stored | None = None


class Table:
    """All objects of one resource, and its bounded history."""

    def __init__(self, *, floor: int) -> None:
        self.objects: dict[Key, Stored] = {}
        self.keys: list[Key] = []
        self.changes: list[StoredChange] = []
        self.base = 0  # the sequence number of changes[0]
        self.floor = floor  # the oldest position from which a watch can be resumed
        self.removed = False

    @property
    def end(self) -> int:
        """Return the sequence number after the last change."""
        return self.base + len(self.changes)

    @property
    def newest(self) -> int:
        """Return the resourceVersion of the last change that is remembered, or from which the history begins."""
        return self.changes[-1].version if self.changes else self.floor

    def after(self, version: int) -> int:
        """Return the sequence number of the first change that is newer than `version`."""
        return self.base + bisect.bisect_right(self.changes, version, key=_version_of)

    def last_until(self, version: int) -> int:
        """Return the resourceVersion of the last change that `version` includes: what is the same has one name."""
        at = self.after(version) - self.base
        return self.changes[at - 1].version if at else min(version, self.floor)

    def forget(self, version: int) -> None:
        """Empty the history, as a restarted server's watch cache is empty."""
        self.base = self.end
        self.changes = []
        self.floor = version


class ClusterState:
    """The whole content of the cluster. Thread-safe; `lock` may be held over several calls."""

    def __init__(self, *, history: int, first_version: int = 1) -> None:
        self.lock = threading.RLock()
        self.version = first_version
        self.first_version = first_version  # what happened before is not in any history
        self.history = history
        self.tables: dict[Storage, Table] = {}
        self.on_change: Callable[[], None] = lambda: None
        self._snapshots: dict[tuple[Storage, int], list[Stored]] = {}

    def table(self, storage: Storage) -> Table:
        """Return the table of a resource, made when first needed."""
        found = self.tables.get(storage)
        return found or self.tables.setdefault(storage, Table(floor=self.first_version))

    def open(self, storage: Storage) -> None:
        """Begin the table of a resource that appears now: nothing before now can be told about it."""
        with self.lock:
            self.tables.setdefault(storage, Table(floor=self.version))

    def get(self, storage: Storage, key: Key) -> Stored | None:
        """Return the present revision of an object."""
        return self.table(storage).objects.get(key)

    def put(self, storage: Storage, key: Key, make: Callable[[int], Stored]) -> Stored:
        """Store the revision that `make` builds for the next resourceVersion."""
        with self.lock:
            self.version += 1
            new = make(self.version)
            table = self.table(storage)
            old = table.objects.get(key)
            if old is None:
                bisect.insort(table.keys, key, key=path)
            table.objects[key] = new
            self._record(table, StoredChange(version=self.version, old=old, new=new, deleted=False))
            return new

    def remove(self, storage: Storage, key: Key) -> Stored:
        """Delete an object and return its last revision, which carries the deletion's own resourceVersion."""
        with self.lock:
            table = self.table(storage)
            old = table.objects.pop(key)
            del table.keys[bisect.bisect_left(table.keys, path(key), key=path)]
            self.version += 1
            last = restamped(old, self.version)
            self._record(table, StoredChange(version=self.version, old=old, new=last, deleted=True))
            return last

    def tick(self) -> int:
        """Let the resourceVersion move on although nothing that is stored here changed."""
        with self.lock:
            self.version += 1
            self.on_change()
            return self.version

    def drop(self, storage: Storage) -> None:
        """Remove a whole table; its watches end when they have told everything."""
        with self.lock:
            if (table := self.tables.pop(storage, None)) is not None:
                table.removed = True
            self.on_change()

    def at(self, storage: Storage, version: int) -> list[Stored] | None:
        """Return all objects as they were at `version`, in the order of their keys; None when that is forgotten."""
        with self.lock:
            table = self.table(storage)
            version = table.last_until(version)
            found = self._snapshots.get((storage, version))
            if found is None and version >= table.floor:
                found = self._snapshots[storage, version] = _as_of(table, version)
                while len(self._snapshots) > _SNAPSHOTS_KEPT:
                    del self._snapshots[next(iter(self._snapshots))]
            return found

    def forget(self, *, compact: bool) -> None:
        """Empty every history; with `compact` lists at old positions are gone too, as after an etcd compaction."""
        with self.lock:
            self.first_version = self.version
            if compact:
                self._snapshots.clear()
            for table in self.tables.values():
                table.forget(self.version)
            self.on_change()

    def save(self) -> "Saved":
        """Return everything that a backup of etcd holds."""
        with self.lock:
            return Saved(self.version, {name: dict(table.objects) for name, table in self.tables.items()})

    def restore(self, saved: "Saved") -> None:
        """Go back to a backup: content and resourceVersion, with an empty history."""
        with self.lock:
            self.version = self.first_version = saved.version
            self._snapshots.clear()
            self.tables = {}
            for storage, objects in saved.objects.items():
                table = self.table(storage)
                table.objects = dict(objects)
                table.keys = sorted(objects, key=path)
            self.on_change()

    def _record(self, table: Table, change: StoredChange) -> None:
        table.changes.append(change)
        # Cut in large steps: a list loses its head in time proportional to what stays.
        if len(table.changes) >= 2 * self.history:
            cut = len(table.changes) - self.history
            table.floor = table.changes[cut - 1].version
            table.base += cut
            table.changes = table.changes[cut:]
        self.on_change()


class Saved:
    """A backup of the state."""

    __slots__ = ("objects", "version")

    def __init__(self, version: int, objects: dict[Storage, dict[Key, Stored]]) -> None:
        self.version = version
        self.objects = objects


def path(key: Key) -> str:
    """Return the text by which objects are ordered: etcd's key, in which `a-b/x` comes before `a/x`."""
    return f"{key[0]}/{key[1]}"


def restamped(stored: Stored, version: int) -> Stored:
    """Return the same revision under another resourceVersion."""
    metadata = {**stored.obj["metadata"], "resourceVersion": str(version)}
    obj = {**stored.obj, "metadata": metadata}
    return Stored(obj, key=stored.key, version=version, owners=stored.owners, leaves=stored.leaves)


def _version_of(change: StoredChange) -> int:
    return change.version


def _as_of(table: Table, version: int) -> list[Stored]:
    """Undo the changes after `version`, newest first, on a copy of what is there now."""
    start = table.after(version) - table.base
    if start == len(table.changes):
        return [table.objects[key] for key in table.keys]
    objects = dict(table.objects)
    for change in reversed(table.changes[start:]):
        if change.old is None:
            objects.pop(change.new.key, None)
        else:
            objects[change.new.key] = change.old
    return [objects[key] for key in sorted(objects, key=path)]
