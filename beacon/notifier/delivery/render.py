"""Renders an event as the endpoint receives it: the CloudEvents 1.0 envelope in structured mode.

Pure. The envelope's data was rendered when the event was created and is embedded unchanged, so each attempt sends the
same bytes. Attribute names follow the CloudEvents specification 1.0 (section 3) and its extensions Partitioning and
Sequence; `previous`, `ledgerid` and `redelivered` are Beacon's own.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from beacon import codec
from beacon.domain import instants, model

_SEQUENCE_DIGITS = 20  # as many as the largest 64-bit number, so that the text sorts like the number


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The configuration of the envelope: source prefix, cluster name ("" for none), type prefix."""

    source: str
    cluster: str
    type_prefix: str


def envelope(delivery: model.Delivery, names: Names, *, ledger: str) -> bytes:
    """Render a delivery as a request body; `ledger` is the id of its ledger."""
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "id": delivery.event_id,
        "source": source(delivery, names),
        "type": f"{names.type_prefix}.{delivery.type.value}",
        "subject": delivery.name,
        "time": instants.rfc3339(delivery.detected_us),
        "datacontenttype": "application/json",
        "partitionkey": partition_key(delivery),
        "sequence": str(delivery.sequence).zfill(_SEQUENCE_DIGITS),
        "previous": str(delivery.previous).zfill(_SEQUENCE_DIGITS),
        "ledgerid": ledger,
    }
    if delivery.redelivered:
        attributes["redelivered"] = True
    if delivery.out_of_order:
        attributes["outoforder"] = True
    attributes["data"] = codec.raw(delivery.data)
    return codec.encode(attributes)


def test_event(identity: str, at_us: int, names: Names) -> bytes:
    """Render the event of `beacon test-event`: in the usual form, without an object, and marked as a test."""
    delivery = model.Delivery(
        id=0,
        generation=0,
        event_id=identity,
        sequence=0,
        previous=0,
        type=model.EventType.CREATED,
        api_version="v1",
        kind="BeaconTest",
        group="",
        namespace="",
        name=identity,
        detected_us=at_us,
        committed_us=at_us,
        attempts=0,
        requests=0,
        data=_TEST_EVENT_DATA,
    )
    document = codec.decode(envelope(delivery, names, ledger="test"))
    document |= {"type": test_event_type(names), "test": True}
    document["data"]["resource"] |= {"uid": identity, "name": identity}
    document["data"]["detection"]["detectedAt"] = instants.rfc3339(at_us)
    return codec.encode(document)


def test_event_type(names: Names) -> str:
    """Return the type of a test event."""
    return f"{names.type_prefix}.test"


def source(delivery: model.Delivery, names: Names) -> str:
    """Return the source of an event: `{source}[/{cluster}]/{namespace}/{Kind}`.

    For a cluster-scoped object the namespace segment is left out: `{source}/{Kind}`.
    """
    return _source(names, delivery.namespace, delivery.kind)


@lru_cache(maxsize=1024)  # quoting takes longer than the rest of an envelope, and few sources occur
def _source(names: Names, namespace: str, kind: str) -> str:
    segments = (names.cluster, namespace, kind)
    return "/".join([names.source.rstrip("/"), *(quote(segment, safe="") for segment in segments if segment)])


def partition_key(delivery: model.Delivery) -> str:
    """Return the key of the object, whose events are sent in order: `group/Kind/namespace/name`.

    All four parts are always present, so that the key can be split: the core group is an empty first part
    (`/ConfigMap/default/x`), a cluster-scoped object has an empty third (`rbac.authorization.k8s.io/ClusterRole//x`).
    """
    return "/".join((delivery.group, delivery.kind, delivery.namespace, delivery.name))


_TEST_EVENT_DATA = codec.encode(
    {
        "resource": {
            "uid": "",
            "apiVersion": "v1",
            "type": "BeaconTest",
            "name": "",
            "namespace": "",
            "annotationValue": "test",
        },
        "metadata": {"annotations": {}, "labels": {}, "resourceVersion": "0"},
        "detection": {"source": "watch", "cause": "test", "detectedAt": "", "notBefore": "", "notAfter": ""},
    }
).decode()
