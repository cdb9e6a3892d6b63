"""Create, update, patch, delete and delete-collection: from a request's body to a call of `lifecycle`.

It parses bodies and options. Rules for objects must be in `lifecycle`, so that they hold for every writer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from beacon.codec import documents
from beacon.dev.api_server import (
    applying,
    kinds,
    lifecycle,
    objects,
    patches,
    protobuf,
    reading,
    routing,
    service,
    state,
    status,
)

Json = dict[str, Any]

_MERGE = "application/merge-patch+json"
_JSON = "application/json-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A writing request."""

    kind: kinds.ServedKind
    info: routing.Info
    query: Mapping[str, str]
    content_type: str
    agent: str
    body: bytes

    def write(self) -> lifecycle.ObjectWrite:
        """Return the options of the write: field manager, subresource, dry run."""
        manager = self.query.get("fieldManager") or self.agent.split("/")[0] or "unknown"
        dry_run = self.query.get("dryRun") == "All"
        return lifecycle.ObjectWrite(manager=manager[:128], subresource=self.info.subresource, dry_run=dry_run)

    def key(self) -> state.Key:
        """Return the object's key."""
        return (self.info.namespace if self.kind.namespaced else "", self.info.name)


def create(cluster: service.ApiService, sent: Sent) -> state.Stored:
    """Create the object in the body."""
    namespace = sent.info.namespace if sent.kind.namespaced else ""
    body = _json(sent)
    objects.check_body(sent.kind, namespace, "", body)
    return cluster.life.create(sent.kind, namespace, body, sent.write())


def update(cluster: service.ApiService, sent: Sent) -> state.Stored:
    """Replace an object by the one in the body."""
    body = _json(sent)
    objects.check_body(sent.kind, sent.info.namespace, sent.info.name, body)
    return cluster.life.update(sent.kind, sent.key(), lambda _: body, sent.write())


def patch(cluster: service.ApiService, sent: Sent) -> tuple[state.Stored, bool]:
    """Patch an object; the second value is True if an apply patch created it."""
    kind_of_patch = sent.content_type.split(";")[0].strip()
    write = sent.write()
    if kind_of_patch == _APPLY:
        return _apply(cluster, sent, replace(write, operation="Apply"))
    change = _changes(sent, kind_of_patch)
    return cluster.life.update(sent.kind, sent.key(), change, write), False


def delete(cluster: service.ApiService, sent: Sent) -> bytes:
    """Delete an object and return the body of the response."""
    write = _with_options(sent, sent.write())
    answer = cluster.life.delete(sent.kind, sent.key(), write)
    return answer if isinstance(answer, bytes) else orjson.dumps(answer)


def delete_collection(cluster: service.ApiService, sent: Sent) -> bytes:
    """Delete all objects that match the request's selectors, and return them as a list."""
    write = _with_options(sent, sent.write())
    predicate = reading.matching(sent.kind, sent.info, sent.query)
    with cluster.state.lock:
        found = cluster.state.objects_at(sent.kind.storage, cluster.state.version) or []
        going = [
            stored
            for stored in reading.within(found, sent.kind, sent.info)
            if predicate is None or predicate(stored.obj)
        ]
        for stored in going:
            cluster.life.delete(sent.kind, stored.key, write)
        return reading.render(sent.kind, {"resourceVersion": str(cluster.state.version)}, going, routing.PathForm.FULL)


def _changes(sent: Sent, kind_of_patch: str) -> Callable[[Json], Json]:
    document = _document(sent.body)
    if kind_of_patch == _JSON:
        return lambda current: patches.apply_json(current, document)
    if not isinstance(document, dict):
        raise status.bad_request("error decoding patch: json: cannot unmarshal array into an object")
    if kind_of_patch == _MERGE:
        return lambda current: patches.merge(current, document)
    if kind_of_patch == _STRATEGIC and not sent.kind.custom:
        return lambda current: patches.strategic(current, document)
    accepted = [_JSON, _MERGE, *([] if sent.kind.custom else [_STRATEGIC]), _APPLY]
    raise status.unsupported_media_type(", ".join(accepted))


def _apply(cluster: service.ApiService, sent: Sent, write: lifecycle.ObjectWrite) -> tuple[state.Stored, bool]:
    """Apply server-side: fields are merged, and those that the manager applied before and omits now are removed."""
    document = documents.load(sent.body.decode())
    if not isinstance(document, dict):
        raise status.bad_request("error decoding YAML: an object is expected")
    objects.check_body(sent.kind, sent.info.namespace, sent.info.name, document)
    with cluster.state.lock:
        if (stored := cluster.state.get(sent.kind.storage, sent.key())) is not None:
            merged = patches.merge if sent.kind.custom else patches.strategic
            base = stored.obj
            if not sent.info.subresource:
                base = applying.without_omitted(base, document, stored.owners, write.manager, custom=sent.kind.custom)
            return cluster.life.update(sent.kind, sent.key(), lambda _: merged(base, document), write), False
        metadata = {**(document.get("metadata") or {}), "name": sent.info.name}
        return cluster.life.create(sent.kind, sent.info.namespace, {**document, "metadata": metadata}, write), True


def _with_options(sent: Sent, write: lifecycle.ObjectWrite) -> lifecycle.ObjectWrite:
    options = _json(sent) if sent.body.strip() else {}
    conditions = options.get("preconditions") or {}
    grace = options.get("gracePeriodSeconds", sent.query.get("gracePeriodSeconds"))
    return replace(
        write,
        uid=conditions.get("uid") or "",
        version=conditions.get("resourceVersion") or "",
        grace_s=int(grace) if grace is not None else None,
        dry_run=write.dry_run or "All" in (options.get("dryRun") or ()),
    )


def _json(sent: Sent) -> Json:
    document = body_of(sent.body, sent.content_type)
    if not isinstance(document, dict):
        raise status.bad_request("the object provided is unrecognized (must be of type object)")
    return document


def body_of(body: bytes, content_type: str) -> Any:
    """Decode a body by its media type. Raises 400 and 415."""
    media_type = content_type.split(";", maxsplit=1)[0].strip()
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(body)
    if media_type not in {"", "application/json", "*/*"}:
        raise status.unsupported_media_type(f"application/json, {protobuf.MEDIA_TYPE}")
    return _document(body)


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise status.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
