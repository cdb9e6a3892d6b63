"""Rules for a written object: names, defaults and the metadata that only the server sets.

Pure functions from the sent (and the stored) object to the object to store. They must not change their arguments.
"""

import random
import re
import uuid
from typing import Any

from beacon.dev.api_server import clock, fields, kinds, state, status

Json = dict[str, Any]

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_ORDER = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers",
)  # fmt: skip
# Fields that only the server writes; values sent by a client are ignored.
_OWN = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink",
    "managedFields",
)  # fmt: skip
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)


def new(kind: kinds.ServedKind, namespace: str, sent: Json) -> Json:
    """Return the object to create: named, defaulted and with fresh metadata, but no resourceVersion yet."""
    metadata = {name: value for name, value in (sent.get("metadata") or {}).items() if name not in _OWN}
    metadata.pop("resourceVersion", None)
    if not metadata.get("name") and metadata.get("generateName"):
        letters = "".join(random.choices(_SUFFIX_LETTERS, k=5))  # noqa: S311 - a name, not a secret
        metadata["name"] = metadata["generateName"] + letters
    check_name(kind, metadata.get("name", ""))
    if kind.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": clock.now()}
    if kind.generation:
        metadata["generation"] = 1
    rest = {key: value for key, value in sent.items() if key not in {"kind", "apiVersion", "metadata"}}
    if kind.has_status:
        rest.pop("status", None)
    return _defaulted(kind, {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": _filled(metadata), **rest})


def check_name(kind: kinds.ServedKind, name: str) -> None:
    """Raise 422 for a name that is invalid for the kind."""
    if not name:
        problem = "Required value: name or generateName is required"
        raise status.invalid(kind.group, kind.kind, name, "metadata.name", problem, cause="FieldValueRequired")
    if kind.group == "rbac.authorization.k8s.io":
        return  # RBAC objects may have names such as system:node, which are invalid for all other kinds
    pattern, words = (_LABEL, _LABEL_WORDS) if kind.plural == "namespaces" else (_SUBDOMAIN, _SUBDOMAIN_WORDS)
    if not re.fullmatch(pattern, name) or len(name) > 253:
        raise status.invalid(kind.group, kind.kind, name, "metadata.name", f'Invalid value: "{name}": {words}')


def check_body(kind: kinds.ServedKind, namespace: str, name: str, sent: Any) -> None:
    """Raise 400 if a body is not an object of this kind, or does not match the path of the request."""
    if not isinstance(sent, dict) or not isinstance(sent.get("metadata", {}), dict | None):
        raise status.bad_request("the object provided is unrecognized (must be of type object)")
    sent_kind, sent_version = sent.get("kind"), sent.get("apiVersion")
    if kind.custom and not (sent_kind and sent_version):
        raise status.bad_request("Object 'Kind' is missing in the request body")
    if sent_kind not in {None, "", kind.kind} or sent_version not in {None, "", kind.api_version}:
        what = f"{sent_kind} in version {str(sent_version).rpartition('/')[2]!r}".replace("'", '"')
        raise status.bad_request(f"{what} cannot be handled as a {kind.kind}")
    metadata = sent.get("metadata") or {}
    if kind.namespaced and metadata.get("namespace") not in {None, "", namespace}:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if name and metadata.get("name") not in {None, "", name}:
        message = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        raise status.bad_request(message)


def updated(kind: kinds.ServedKind, current: Json, wanted: Json, subresource: str) -> Json:
    """Return `current` after an update: server-set metadata kept, spec or status replaced, generation incremented.

    The result keeps the resourceVersion and managedFields of `current`, so it equals `current` if nothing changed.
    """
    if subresource == "status":
        return {**current, "status": wanted.get("status")}
    metadata = dict(wanted.get("metadata") or {})
    for name in (*_OWN, "resourceVersion", "name", "namespace"):
        metadata.pop(name, None)
        if name in current["metadata"]:
            metadata[name] = current["metadata"][name]
    body = _without_head(wanted)
    if kind.has_status:
        body.pop("status", None)
        if "status" in current:
            body["status"] = current["status"]
    result = {"kind": current["kind"], "apiVersion": current["apiVersion"], "metadata": _filled(metadata), **body}
    if "generation" in metadata and _spec_of(result) != _spec_of(current):
        result["metadata"]["generation"] += 1
    return result


def marked_deleted(current: Json, *, grace_s: int) -> Json:
    """Return an object that is marked as being deleted and waits for finalizers or its grace period."""
    metadata = dict(current["metadata"])
    metadata |= {"deletionTimestamp": clock.now(ahead_s=grace_s), "deletionGracePeriodSeconds": grace_s}
    if "generation" in metadata:
        metadata["generation"] += 1
    return {**current, "metadata": metadata}


def stamp(
    kind: kinds.ServedKind, obj: Json, version: int, previous: state.Stored | None, writer: fields.Owner | None
) -> state.Stored:
    """Return the revision to store: with resourceVersion, managedFields, and metadata in the server's order."""
    subresource = writer.subresource if writer else ""
    owners = previous.owners if previous else ()
    leaves = previous.leaves if previous else {}
    if writer:
        after = fields.leaves(obj, subresource=subresource, custom=kind.custom)
        before = leaves
        if subresource and previous:
            before = fields.leaves(previous.obj, subresource=subresource, custom=kind.custom)
        owners = fields.claim(owners, before, after, writer)
        leaves = leaves if subresource else after
    metadata = {**obj["metadata"], "resourceVersion": str(version)}
    ordered = {name: metadata[name] for name in _ORDER if name in metadata}
    if owners:
        ordered["managedFields"] = fields.render(owners)
    late = _late_defaults(kind, obj) if previous is None else {}
    stored = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": ordered, **_without_head(obj), **late}
    key = (metadata.get("namespace", ""), metadata["name"])
    return state.Stored(stored, key=key, version=version, owners=owners, leaves=leaves)


def _filled(metadata: Json) -> Json:
    return {name: value for name, value in metadata.items() if value not in (None, {}, [], "")}


def _without_head(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key not in {"kind", "apiVersion", "metadata"}}


def _spec_of(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key not in {"kind", "apiVersion", "metadata", "status"}}


def _defaulted(kind: kinds.ServedKind, obj: Json) -> Json:
    if kind.plural == "namespaces":
        labels = {**(obj["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": obj["metadata"]["name"]}
        return {**obj, "metadata": {**obj["metadata"], "labels": labels}}
    if kind.plural == "customresourcedefinitions":
        spec = dict(obj.get("spec") or {})
        names = dict(spec.get("names") or {})
        names.setdefault("singular", str(names.get("kind", "")).lower())
        names.setdefault("listKind", f"{names.get('kind', '')}List")
        return {**obj, "spec": {**spec, "names": names, "conversion": spec.get("conversion") or {"strategy": "None"}}}
    if kind.plural == "secrets":
        return {**obj, "type": obj.get("type") or "Opaque"}
    return obj


def _late_defaults(kind: kinds.ServedKind, obj: Json) -> Json:
    """Return the fields that the server adds after it has computed managedFields."""
    if kind.custom:
        return {}
    if kind.plural == "namespaces":
        return {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    if kind.plural == "customresourcedefinitions":
        stored = [item["name"] for item in obj["spec"]["versions"] if item.get("storage")]
        return {"status": {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}}
    if kind.plural == "pods":
        return {"status": {"phase": "Pending", "qosClass": "BestEffort"}}
    return {"status": {}} if kind.has_status else {}
