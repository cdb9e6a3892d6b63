"""The verbs on objects: create, update, delete.

Every verb is one step under the state's lock; both the HTTP handlers and the Python interface use it. Effects on
namespaces and custom resources are in `cascades`. This module must not know HTTP beyond the Status of an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beacon.dev.api_server import cascades, clock, fields, kinds, objects, state, status

Json = dict[str, Any]
# Kinds whose deletion is answered with the object; all others get a Status.
_RETURNED = frozenset({
    "pods", "serviceaccounts", "services", "persistentvolumeclaims", "resourcequotas", "namespaces",
    "customresourcedefinitions",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectWrite:
    """Options of a write: field manager, operation, subresource, dry run, preconditions, grace period."""

    manager: str = "beacon-dev"
    operation: str = "Update"
    subresource: str = ""
    dry_run: bool = False
    uid: str = ""
    version: str = ""
    grace_s: int | None = None


PLAIN = ObjectWrite()


class Lifecycle:
    """The verbs on objects of one cluster. Thread-safe."""

    def __init__(self, store: state.ClusterState, registry: kinds.Registry) -> None:
        self.state = store
        self.registry = registry
        # Counts the changes of the served resources, so that callers can cache discovery.
        self.served = 0

    def create(self, kind: kinds.ServedKind, namespace: str, sent: Json, write: ObjectWrite = PLAIN) -> state.Stored:
        """Create an object and return it. Raises 404 (namespace), 409, 422."""
        with self.state.lock:
            cascades.check_namespace(self, kind, namespace)
            obj = objects.new(kind, namespace, sent)
            key = (namespace if kind.namespaced else "", obj["metadata"]["name"])
            if self.state.get(kind.storage, key) is not None:
                raise status.already_exists(kind.group, kind.plural, key[1])
            cascades.check_new(kind, obj)
            if write.dry_run:
                return objects.stamp(kind, obj, self.state.version, None, _writer(kind, write))
            writer = _writer(kind, write)
            stored = self.state.put(kind.storage, key, lambda version: objects.stamp(kind, obj, version, None, writer))
            cascades.created(self, kind, stored)
            return stored

    def update(
        self, kind: kinds.ServedKind, key: state.Key, change: Callable[[Json], Json], write: ObjectWrite = PLAIN
    ) -> state.Stored:
        """Apply `change` to an object and return the result. Without a difference the resourceVersion stays."""
        with self.state.lock:
            current = self.read(kind, key)
            wanted = change(current.obj)
            _check_unchanged(kind, current, wanted)
            obj = objects.updated(kind, current.obj, wanted, write.subresource)
            if obj == current.obj:
                return current
            writer = _writer(kind, write)
            if write.dry_run:
                return objects.stamp(kind, obj, current.version, current, writer)
            if "deletionTimestamp" in obj["metadata"] and not obj["metadata"].get("finalizers"):
                released = objects.stamp(kind, obj, current.version, current, writer)
                self.remove(kind, key)
                return released
            stored = self._store(kind, key, obj, writer)
            cascades.updated(self, kind)
            return stored

    def delete(self, kind: kinds.ServedKind, key: state.Key, write: ObjectWrite = PLAIN) -> bytes | Json:
        """Delete an object, or mark it as being deleted; return the Status or the object for the response."""
        with self.state.lock:
            current = self.read(kind, key)
            _check_preconditions(kind, current, write)
            cascades.check_deletable(kind, current)
            if write.dry_run:
                return _farewell(kind, current)
            if (held := cascades.deleting(self, kind, current)) is not None:
                return held.forms.full(kind.api_version)
            if current.obj["metadata"].get("finalizers"):
                return self.mark(kind, current, grace_s=0).forms.full(kind.api_version)
            if (grace_s := _grace_of(kind, current, write)) > 0:
                # A kubelet terminates the pod within its grace period; here that happens at once.
                current = self.mark(kind, current, grace_s=grace_s)
            self.remove(kind, key)
            return _farewell(kind, current)

    def mark(self, kind: kinds.ServedKind, current: state.Stored, *, grace_s: int) -> state.Stored:
        """Mark an object as being deleted. Idempotent."""
        if "deletionTimestamp" in current.obj["metadata"]:
            return current
        return self._store(kind, current.key, objects.marked_deleted(current.obj, grace_s=grace_s), None)

    def remove(self, kind: kinds.ServedKind, key: state.Key) -> None:
        """Remove an object from the storage, regardless of finalizers."""
        last = self.state.remove(kind.storage, key)
        cascades.removed(self, last)

    def read(self, kind: kinds.ServedKind, key: state.Key) -> state.Stored:
        """Return an object. Raises 404 if it does not exist."""
        found = self.state.get(kind.storage, key)
        if found is None:
            raise status.not_found(kind.group, kind.plural, key[1])
        return found

    def write_status(self, kind: kinds.ServedKind, stored: state.Stored, result: Json) -> state.Stored:
        """Set an object's status without the rules for updates, as the server's own controllers do."""
        writer = _writer(kind, ObjectWrite(manager="kube-apiserver", subresource="status"))
        return self._store(kind, stored.key, {**stored.obj, "status": result}, writer)

    def _store(self, kind: kinds.ServedKind, key: state.Key, obj: Json, writer: fields.Owner | None) -> state.Stored:
        current = self.state.get(kind.storage, key)
        return self.state.put(kind.storage, key, lambda version: objects.stamp(kind, obj, version, current, writer))


def _writer(kind: kinds.ServedKind, write: ObjectWrite) -> fields.Owner:
    return fields.Owner(
        manager=write.manager,
        operation=write.operation,
        api_version=kind.api_version,
        at=clock.now(),
        subresource=write.subresource,
        paths=frozenset(),
    )


def _check_unchanged(kind: kinds.ServedKind, current: state.Stored, wanted: Json) -> None:
    """Raise 409 if the writer has read another revision, or another object of the same name."""
    name, metadata = current.key[1], wanted.get("metadata") or {}
    if metadata.get("resourceVersion") not in {None, "", str(current.version)}:
        raise status.conflict(kind.group, kind.plural, name)
    uid = current.obj["metadata"]["uid"]
    if metadata.get("uid") not in {None, "", uid}:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {uid}"
        raise status.conflict(kind.group, kind.plural, name, why)


def _check_preconditions(kind: kinds.ServedKind, current: state.Stored, write: ObjectWrite) -> None:
    name, uid = current.key[1], current.obj["metadata"]["uid"]
    if write.uid and write.uid != uid:
        why = f"Precondition failed: UID in precondition: {write.uid}, UID in object meta: {uid}"
        raise status.conflict(kind.group, kind.plural, name, why)
    if write.version and write.version != str(current.version):
        why = (
            f"Precondition failed: ResourceVersion in precondition: {write.version}, "
            f"ResourceVersion in object meta: {current.version}"
        )
        raise status.conflict(kind.group, kind.plural, name, why)


def _grace_of(kind: kinds.ServedKind, current: state.Stored, write: ObjectWrite) -> int:
    if kind.storage != ("", "pods") or not (current.obj.get("spec") or {}).get("nodeName"):
        return 0
    wished = write.grace_s
    return current.obj["spec"].get("terminationGracePeriodSeconds", 30) if wished is None else wished


def _farewell(kind: kinds.ServedKind, current: state.Stored) -> bytes | Json:
    if kind.plural in _RETURNED and not kind.custom:
        return current.forms.full(kind.api_version)
    return status.deleted(kind.group, kind.plural, current.key[1], current.obj["metadata"]["uid"])
