"""Load generator: many changes at a steady rate, made inside the server's process, where they cost least.

Every change carries its creation time in an annotation, from which a receiver computes the latency. This module must
not measure anything itself.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from beacon.dev.api_server import service

Json = dict[str, Any]

MADE_AT = "beacon.dev/made-at-ns"


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
        name = f"{load.prefix}-{load.first + number:06d}"
        annotations = {**load.annotations, MADE_AT: str(time.time_ns())}
        metadata = {"name": name, "annotations": annotations, "labels": load.labels}
        cluster.life.create(kind, namespace, {"metadata": metadata})
    return {"firstAtNs": first_at_ns, "lastAtNs": time.time_ns(), "resourceVersion": str(cluster.state.version)}
