"""Side effects of a write on other objects: contents of a namespace, custom resources of a definition.

In a real cluster controllers do this a moment later; here it happens within the same step, in the same order. Only
`lifecycle` and `control` may call this module.
"""

from typing import TYPE_CHECKING, Any

from beacon.dev.api_server import clock, kinds, objects, state, status

if TYPE_CHECKING:
    from beacon.dev.api_server import lifecycle

Json = dict[str, Any]

NAMESPACES = ("", "namespaces")
DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
_PERMANENT = frozenset({"default", "kube-system", "kube-public"})
_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def check_namespace(life: "lifecycle.Lifecycle", kind: kinds.ServedKind, namespace: str) -> None:
    """Raise 404 or 403 for an object created in a namespace that does not exist or is being terminated."""
    if not kind.namespaced:
        return
    found = life.state.get(NAMESPACES, ("", namespace))
    if found is None:
        raise status.not_found("", "namespaces", namespace)
    if "deletionTimestamp" in found.obj["metadata"]:
        message = f"unable to create new content in namespace {namespace} because it is being terminated"
        causes = [{"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}]
        details = status.of_resource(kind.group, kind.plural, causes=causes)
        raise status.ApiError(403, "Forbidden", f"{kind.plural} is forbidden: {message}", details=details)


def check_new(kind: kinds.ServedKind, obj: Json) -> None:
    """Raise 422 for a CustomResourceDefinition that can't be served."""
    if kind.storage != DEFINITIONS:
        return
    spec, name = obj.get("spec") or {}, obj["metadata"]["name"]
    for field in ("group", "scope", "names", "versions"):
        if not spec.get(field):
            problem = "Required value"
            raise status.invalid(kind.group, kind.kind, name, f"spec.{field}", problem, cause="FieldValueRequired")
    wanted = f"{spec['names'].get('plural', '')}.{spec['group']}"
    if name != wanted:
        problem = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        raise status.invalid(kind.group, kind.kind, name, "metadata.name", problem)


def check_deletable(kind: kinds.ServedKind, current: state.Stored) -> None:
    """Raise 403 for the deletion of a permanent namespace."""
    name = current.key[1]
    if kind.storage == NAMESPACES and name in _PERMANENT:
        message = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        details = status.of_resource("", "namespaces", name)
        raise status.ApiError(403, "Forbidden", message, details=details)


def created(life: "lifecycle.Lifecycle", kind: kinds.ServedKind, stored: state.Stored) -> None:
    """Start serving a new CustomResourceDefinition and set its status conditions."""
    if kind.storage == DEFINITIONS:
        _establish(life, kind, stored)


def updated(life: "lifecycle.Lifecycle", kind: kinds.ServedKind) -> None:
    """Serve the versions of a changed CustomResourceDefinition."""
    if kind.storage == DEFINITIONS:
        restored(life)


def deleting(life: "lifecycle.Lifecycle", kind: kinds.ServedKind, current: state.Stored) -> state.Stored | None:
    """Delete a namespace or definition with its contents. Return the object to respond with, None for other kinds."""
    if kind.storage == NAMESPACES:
        return _end_namespace(life, kind, current)
    if kind.storage == DEFINITIONS:
        return _end_definition(life, kind, current)
    return None


def removed(life: "lifecycle.Lifecycle", last: state.Stored) -> None:
    """Finish the deletion of a namespace after its last object was removed."""
    namespace = last.key[0]
    found = life.state.get(NAMESPACES, ("", namespace)) if namespace else None
    if found is not None and "deletionTimestamp" in found.obj["metadata"]:
        _end_empty_namespace(life, namespace)


def restored(life: "lifecycle.Lifecycle") -> None:
    """Serve exactly the stored definitions, for example after a backup was restored."""
    stored = {storage for kind in life.registry if kind.custom for storage in [kind.storage]}
    for storage in stored:
        life.registry.remove(storage)
    for definition in life.state.table(DEFINITIONS).objects.values():
        for kind in kinds.custom(definition.obj):
            life.registry.add(kind)
    life.served += 1


def _end_namespace(life: "lifecycle.Lifecycle", kind: kinds.ServedKind, current: state.Stored) -> state.Stored:
    if "deletionTimestamp" in current.obj["metadata"]:
        return current
    going = {**objects.marked_deleted(current.obj, grace_s=0), "status": {"phase": "Terminating"}}
    del going["metadata"]["deletionGracePeriodSeconds"]
    marked = life.state.put(
        kind.storage, current.key, lambda version: objects.stamp(kind, going, version, current, None)
    )
    namespace = current.key[1]
    for storage, key in _contents(life, namespace):
        held = _kind_of(life, storage)
        if life.state.get(storage, key) is not None:
            life.delete(held, key)
    if life.state.get(NAMESPACES, current.key) is not None:
        _end_empty_namespace(life, namespace)
    return marked


def _end_empty_namespace(life: "lifecycle.Lifecycle", namespace: str) -> None:
    if not _contents(life, namespace):
        life.state.remove(NAMESPACES, ("", namespace))


def _contents(life: "lifecycle.Lifecycle", namespace: str) -> list[tuple[state.Storage, state.Key]]:
    tables = list(life.state.tables.items())
    return [(storage, key) for storage, table in tables for key in table.keys if key[0] == namespace]


def _kind_of(life: "lifecycle.Lifecycle", storage: state.Storage) -> kinds.ServedKind:
    return next(kind for kind in life.registry if kind.storage == storage)


def _establish(life: "lifecycle.Lifecycle", kind: kinds.ServedKind, stored: state.Stored) -> None:
    for custom in kinds.custom(stored.obj):
        life.registry.add(custom)
    life.state.open((stored.obj["spec"]["group"], stored.obj["spec"]["names"]["plural"]))
    conditions = [
        _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        _condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    names = stored.obj["spec"]["names"]
    result = {**stored.obj["status"], "conditions": conditions, "acceptedNames": names}
    life.write_status(kind, stored, result)
    life.served += 1


def _end_definition(life: "lifecycle.Lifecycle", kind: kinds.ServedKind, current: state.Stored) -> state.Stored:
    if "deletionTimestamp" in current.obj["metadata"]:
        return current
    metadata = {**current.obj["metadata"], "deletionTimestamp": clock.now(), "finalizers": [_CLEANUP]}
    pending = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    old = current.obj["status"]
    conditions = [*(old["conditions"] or ()), _condition("Terminating", "InstanceDeletionPending", pending)]
    going = {**current.obj, "metadata": metadata, "status": {**old, "conditions": conditions}}
    marked = life.state.put(
        kind.storage, current.key, lambda version: objects.stamp(kind, going, version, current, None)
    )
    doing = "CustomResource deletion is in progress"
    conditions = [*conditions[:-1], _condition("Terminating", "InstanceDeletionInProgress", doing)]
    life.write_status(kind, marked, {**old, "conditions": conditions})
    storage = (current.obj["spec"]["group"], current.obj["spec"]["names"]["plural"])
    for key in list(life.state.table(storage).keys):
        life.state.remove(storage, key)
    life.state.remove(kind.storage, current.key)
    life.registry.remove(storage)
    life.state.drop(storage)
    life.served += 1
    return marked


def _condition(name: str, reason: str, message: str) -> Json:
    now = clock.now()
    return {"type": name, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
