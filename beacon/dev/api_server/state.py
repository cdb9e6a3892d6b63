"""The storage: objects, their history and the resourceVersion.

It is etcd and the watch cache in one. A stored revision is immutable, so readers keep references instead of copies; a
list at an old resourceVersion is computed by undoing the history. This module must not interpret objects or block.
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
    """One revision of one object, with its renderings, which all readers share."""

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
    """One change: the object before (None if it was created) and after it; `new` is the last revision if deleted."""

    __slots__ = ("deleted", "departure", "new", "old", "version")

    def __init__(self, *, version: int, old: Stored | None, new: Stored, deleted: bool) -> None:
        self.version = version
        self.old = old
        self.new = new
        self.deleted = deleted
        # The revision that a watch with a selector sends when the object stops matching; built on first use.
        self.departure: Stored | None = None


class Table:
    """All objects of one resource, and its bounded history."""

    def __init__(self, *, floor: int) -> None:
        self.objects: dict[Key, Stored] = {}
        self.keys: list[Key] = []
        self.changes: list[StoredChange] = []
        self.base = 0  # sequence number of changes[0]
        self.floor = floor  # oldest resourceVersion from which a watch can resume
        self.removed = False

    @property
    def end(self) -> int:
        """Return the sequence number after the last change."""
        return self.base + len(self.changes)

    @property
    def newest(self) -> int:
        """Return the resourceVersion of the last change in the history, or of its beginning if it is empty."""
        return self.changes[-1].version if self.changes else self.floor

    def after(self, version: int) -> int:
        """Return the sequence number of the first change after `version`."""
        return self.base + bisect.bisect_right(self.changes, version, key=_version_of)

    def last_until(self, version: int) -> int:
        """Return the resourceVersion of the last change up to `version`, so that equal states have equal versions."""
        at = self.after(version) - self.base
        return self.changes[at - 1].version if at else min(version, self.floor)

    def forget(self, version: int) -> None:
        """Clear the history up to a version: the whole one, like the watch cache of a restarted server, or a part."""
        cut = self.after(version) - self.base
        self.base += cut
        self.changes = self.changes[cut:]
        self.floor = max(self.floor, version)


class ClusterState:
    """All objects of the cluster. Thread-safe; `lock` may be held over several calls."""

    def __init__(self, *, history: int, first_version: int = 1) -> None:
        self.lock = threading.RLock()
        self.version = first_version
        self.first_version = first_version  # no history reaches further back
        self.history = history
        self.tables: dict[Storage, Table] = {}
        self.on_change: Callable[[], None] = lambda: None
        self._snapshots: dict[tuple[Storage, int], list[Stored]] = {}
        self._age_s = 0.0
        self._past: list[tuple[float, int]] = []  # the version at the end of each age

    def table(self, storage: Storage) -> Table:
        """Return the table of a resource. Create it on first use."""
        found = self.tables.get(storage)
        return found or self.tables.setdefault(storage, Table(floor=self.first_version))

    def open(self, storage: Storage) -> None:
        """Create the table of a new resource; its history begins now."""
        with self.lock:
            self.tables.setdefault(storage, Table(floor=self.version))

    def get(self, storage: Storage, key: Key) -> Stored | None:
        """Return the current revision of an object, or None."""
        return self.table(storage).objects.get(key)

    def put(self, storage: Storage, key: Key, make: Callable[[int], Stored]) -> Stored:
        """Store and return the revision that `make` builds for the next resourceVersion."""
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
        """Delete an object and return its last revision, with the resourceVersion of the deletion."""
        with self.lock:
            table = self.table(storage)
            old = table.objects.pop(key)
            del table.keys[bisect.bisect_left(table.keys, path(key), key=path)]
            self.version += 1
            last = restamped(old, self.version)
            self._record(table, StoredChange(version=self.version, old=old, new=last, deleted=True))
            return last

    def tick(self) -> int:
        """Increment the resourceVersion without a change of any object."""
        with self.lock:
            self.version += 1
            self.on_change()
            return self.version

    def drop(self, storage: Storage) -> None:
        """Remove a table; its watches end after they have sent all changes."""
        with self.lock:
            if (table := self.tables.pop(storage, None)) is not None:
                table.removed = True
            self.on_change()

    def objects_at(self, storage: Storage, version: int) -> list[Stored] | None:
        """Return all objects as of `version`, ordered by key; None if the history does not reach back that far."""
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
        """Clear every history; with `compact` also the cached lists at old versions, as after an etcd compaction."""
        with self.lock:
            self.first_version = self.version
            if compact:
                self._snapshots.clear()
            for table in self.tables.values():
                table.forget(self.version)
            self.on_change()

    def age(self, seconds: float, *, history_s: float) -> None:
        """Advance the clock of the history, and discard what is older than `history_s`, as etcd's compaction does."""
        with self.lock:
            self._past.append((self._age_s, self.version))
            self._age_s += seconds
            for age_s, version in self._past:
                if age_s <= self._age_s - history_s:
                    self.first_version = version
            self._snapshots.clear()
            for table in self.tables.values():
                table.forget(self.first_version)

    def save(self) -> "Saved":
        """Return a backup, like an etcd snapshot."""
        with self.lock:
            return Saved(self.version, {name: dict(table.objects) for name, table in self.tables.items()})

    def restore(self, saved: "Saved") -> None:
        """Restore a backup: objects and resourceVersion, with an empty history."""
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
        # Cut in large steps, because removing the head of a list copies the rest.
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
    """Return the text by which objects are ordered: etcd's key, where `a-b/x` sorts before `a/x`."""
    return f"{key[0]}/{key[1]}"


def restamped(stored: Stored, version: int) -> Stored:
    """Return the same revision with another resourceVersion."""
    metadata = {**stored.obj["metadata"], "resourceVersion": str(version)}
    obj = {**stored.obj, "metadata": metadata}
    return Stored(obj, key=stored.key, version=version, owners=stored.owners, leaves=stored.leaves)


def _version_of(change: StoredChange) -> int:
    return change.version


def _as_of(table: Table, version: int) -> list[Stored]:
    """Return the objects as of `version`: undo later changes, newest first, on a copy of the current objects."""
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
