"""The words of the ledger: what was observed, what is to be told, what came of telling it.

Frozen values, standard library only. Times on the wire and in the ledger are integer microseconds UTC (`*_us`);
resourceVersions are integers, because Beacon refuses a server whose aren't decimal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ChangeKind(StrEnum):
    """How an object came to be observed."""

    ADDED = "added"  # an ADDED line of a watch: it was created
    MODIFIED = "modified"  # a MODIFIED line: it existed before
    DELETED = "deleted"  # a DELETED line: it is gone, at the line's own resourceVersion
    LISTED = "listed"  # an item of a list: it is there, for how long can't be known


class RuleVerdict(StrEnum):
    """What the rule of a scope says of an object."""

    ACCEPTED = "accepted"  # annotation present, value among the configured ones, labels and namespace match
    ANNOTATION = "annotation"  # not accepted: annotation absent or its value not configured
    LABEL = "label"  # not accepted: the labels don't match the entry's selector
    NAMESPACE = "namespace"  # not accepted: the namespace is excluded


class ObjectState(StrEnum):
    """What the ledger holds of an object."""

    TRACKED = "tracked"  # accepted and told
    RELEASED = "released"  # alive, no longer accepted, told as deleted
    GONE = "gone"  # no longer in the cluster
    UNMANAGED = "unmanaged"  # no longer ours to judge, because the configuration changed; nothing was told


class EventType(StrEnum):
    """What is told; the last part of the CloudEvents type."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Source(StrEnum):
    """How an event was detected: `detection.source` of the envelope."""

    WATCH = "watch"  # an ADDED or DELETED line
    MUTATION = "mutation"  # a MODIFIED line
    RECONCILIATION = "reconciliation"  # a list or a comparison


class Cause(StrEnum):
    """Why an event was told: `detection.cause` of the envelope."""

    OBJECT_CREATED = "object-created"  # it was created with the annotation
    ANNOTATION_ADDED = "annotation-added"  # a known or existing object became accepted
    ANNOTATION_CHANGED = "annotation-changed"
    FIRST_SEEN = "first-seen"  # found by a list; whether it is new can't be known
    CONFIGURATION = "configuration"  # accepted under a rule that has changed
    ANNOTATION_REMOVED = "annotation-removed"  # or its value left the configured ones
    LABEL_REMOVED = "label-removed"  # its labels left the selector
    OBJECT_DELETED = "object-deleted"


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"  # behind an earlier open delivery of its object
    READY = "ready"  # to be sent at next_attempt_at
    DELIVERED = "delivered"  # answered with 2xx
    FAILED = "failed"  # given up, kept for review
    DISCARDED = "discarded"  # given up by an operator


class GapReason(StrEnum):
    """Why a scope had to be listed instead of being followed."""

    FIRST_LIST = "first-list"  # this scope has never been listed
    EXPIRED = "expired"  # the API server no longer remembers the position (410)
    REWOUND = "rewound"  # the cluster was restored to an earlier state
    CONFIGURATION = "configuration"  # the scope's rule changed, or the scope came or went
    DAMAGED = "damaged"  # the ledger was damaged and rebuilt
    ADOPTED = "adopted"  # an operator let the ledger follow another cluster


class DeliveryResult(StrEnum):
    """What came of one claimed delivery."""

    DELIVERED = "delivered"  # 2xx
    RETRY = "retry"  # to be sent again after `delay_s`
    FAILED = "failed"  # not to be sent again: a final answer, or no attempt left
    RELEASED = "released"  # given back unsent; no request was made
    CHARGED = "charged"  # an outage-like failure, settled before as forgiven, turns out to be the event's own


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeId:
    """What one stream covers: a kind of one API group, in one namespace or ("") in all."""

    group: str
    kind: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One object as the watcher saw it, reduced to what the rule and the payload need.

    `labels` and `annotations` are those that the configuration lets into the payload; `value` is the value of the
    watched annotation ("" when absent), whole. `received_ns` is CLOCK_MONOTONIC at receipt, 0 when not timed.
    """

    uid: str
    namespace: str
    name: str
    resource_version: int
    change: ChangeKind
    verdict: RuleVerdict
    value: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    received_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event to be sent to the endpoint, with all that the envelope and the retry decision need.

    `data` is the JSON text of the envelope's data, rendered when the event was made. `attempts` are those that count
    against maxAttempts, `requests` all that were made; both before this one. `committed_us` is the instant at which
    the event was written. `out_of_order`: an operator wants it sent whatever has been delivered since.
    """

    id: int
    generation: int
    event_id: str
    sequence: int
    previous: int
    type: EventType
    api_version: str
    kind: str
    group: str
    namespace: str
    name: str
    detected_us: int
    committed_us: int
    attempts: int
    requests: int
    data: str
    redelivered: bool = False
    out_of_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one claimed delivery: the notifier's settlement.

    `attempt` is the ordinal of the request (the claim's `requests` + 1); the store applies an ordinal once. `status`
    is the three-digit HTTP status, 0 without a complete answer. `counted` says whether the request counts against
    maxAttempts; `forgiven` marks a retry that becomes due at once when the breaker closes. `error` is at most 512
    bytes and scrubbed of credentials.
    """

    delivery: int
    generation: int
    attempt: int
    result: DeliveryResult
    code: str = ""
    status: int = 0
    error: str = ""
    counted: bool = True
    forgiven: bool = False
    delay_s: float = 0.0
    started_us: int = 0
    duration_s: float = 0.0
    request_id: str = ""
