"""Load generator: many changes at a steady rate, made inside the server's process, where they cost least.

`run` makes changes as a client's request would. `fill` and `churn` copy stored revisions instead: what they make is as
valid, but a hundred thousand objects, or 5000 changes a second, must not make the server the limit of a measurement.

Every change carries its creation time in an annotation, from which a receiver computes the latency. This module must
not measure anything itself.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from beacon.dev.api_server import kinds, service, state

Json = dict[str, Any]

MADE_AT = "beacon.dev/made-at-ns"
_TICK_S = 0.002  # changes that are due within this time are made together
_MOST_A_TICK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The changes to make: create `count` objects, named by prefix and number."""

    count: int
    rate: float = 0.0  # a second; 0: as fast as possible
    resource: str = "configmaps"
    namespace: str = "default"
    prefix: str = "load"
    first: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def run(cluster: service.ApiService, load: Load) -> Json:
    """Make the changes and return when the first and the last were made, in nanoseconds since 1970."""
    kind = cluster.registry.find(load.resource)
    namespace = load.namespace if kind.namespaced else ""
    began = time.monotonic()
    first_at_ns = time.time_ns()
    for number in range(load.count):
        if load.rate and (early_s := began + number / load.rate - time.monotonic()) > 0:
            time.sleep(early_s)
        name = _name(load.prefix, load.first + number)
        annotations = {**load.annotations, MADE_AT: str(time.time_ns())}
        metadata = {"name": name, "annotations": annotations, "labels": load.labels}
        cluster.life.create(kind, namespace, {"metadata": metadata})
    return {"firstAtNs": first_at_ns, "lastAtNs": time.time_ns(), "resourceVersion": str(cluster.state.version)}


def fill(cluster: service.ApiService, load: Load) -> Json:
    """Create objects as copies of the first, as fast as possible, and render each for lists of metadata."""
    run(cluster, Load(count=1, prefix=load.prefix, first=load.first, annotations=load.annotations, labels=load.labels))
    kind = cluster.registry.find(load.resource)
    first = cluster.state.table(kind.storage).objects[_key(kind, load, load.first)]
    for number in range(load.first + 1, load.first + load.count):
        key = _key(kind, load, number)
        head = {"name": key[1], "uid": str(uuid.uuid4())}
        stored = cluster.state.put(kind.storage, key, lambda version: _copy(first, key, head, version))  # noqa: B023
        stored.forms.metadata()
    return {"resourceVersion": str(cluster.state.version)}


def churn(cluster: service.ApiService, load: Load, *, seconds: float) -> Json:
    """Change existing objects, one after the other, for this time; return the number of changes and the real time."""
    kind = cluster.registry.find(load.resource)
    keys = [_key(kind, load, load.first + number) for number in range(load.count)]
    objects = cluster.state.table(kind.storage).objects
    began, made = time.monotonic(), 0
    while (passed_s := time.monotonic() - began) < seconds:
        for number in range(made, min(int(passed_s * load.rate), made + _MOST_A_TICK)):
            key = keys[number % len(keys)]
            cluster.state.put(kind.storage, key, lambda version: state.restamped(objects[key], version))  # noqa: B023
            made = number + 1
        time.sleep(_TICK_S)
    return {"made": made, "seconds": passed_s}


def _copy(stored: state.Stored, key: state.Key, head: Json, version: int) -> state.Stored:
    metadata = {**stored.obj["metadata"], **head, "resourceVersion": str(version)}
    obj = {**stored.obj, "metadata": metadata}
    return state.Stored(obj, key=key, version=version, owners=stored.owners, leaves=stored.leaves)


def _key(kind: kinds.ServedKind, load: Load, number: int) -> state.Key:
    return (load.namespace if kind.namespaced else "", _name(load.prefix, number))


def _name(prefix: str, number: int) -> str:
    return f"{prefix}-{number:06d}"
