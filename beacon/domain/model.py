"""The types of the ledger: observations, events, deliveries and their outcomes.

Frozen values, standard library only. Times on the wire and in the ledger are integer microseconds UTC (`*_us`).
resourceVersions are integers, because Beacon rejects a server whose resourceVersions aren't decimal.
"""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from beacon.domain import records

MAX_INTEGER = 2**63 - 1  # the largest integer of SQLite, of an etcd revision, and of a label selector


class ChangeKind(StrEnum):
    """The way in which an object was observed."""

    ADDED = "added"  # an ADDED event of a watch: the object was created
    MODIFIED = "modified"  # a MODIFIED event: the object existed before
    DELETED = "deleted"  # a DELETED event: the object is gone as of the event's resourceVersion
    LISTED = "listed"  # an item of a list: the object exists, its age in the list is unknown


class RuleVerdict(StrEnum):
    """The verdict of a scope's rule on an object."""

    ACCEPTED = "accepted"  # annotation present, value among the configured ones, labels and namespace match
    ANNOTATION = "annotation"  # not accepted: annotation absent or its value not configured
    LABEL = "label"  # not accepted: the labels don't match the entry's selector
    NAMESPACE = "namespace"  # not accepted: the namespace is excluded


class ObjectState(StrEnum):
    """The state of an object in the ledger."""

    TRACKED = "tracked"  # accepted; a `created` event was emitted
    RELEASED = "released"  # exists, but is no longer accepted; a `deleted` event was emitted
    GONE = "gone"  # no longer in the cluster
    UNMANAGED = "unmanaged"  # no longer covered, because the configuration changed; no event was emitted


class EventType(StrEnum):
    """The type of an event; the last part of the CloudEvents type."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Source(StrEnum):
    """The way in which an event was detected: `detection.source` of the envelope."""

    WATCH = "watch"  # an ADDED or DELETED event of a watch
    MUTATION = "mutation"  # a MODIFIED event of a watch
    RECONCILIATION = "reconciliation"  # a list or a comparison


class Cause(StrEnum):
    """The reason for an event: `detection.cause` of the envelope."""

    OBJECT_CREATED = "object-created"  # the object was created with the annotation
    ANNOTATION_ADDED = "annotation-added"  # a known or existing object became accepted
    ANNOTATION_CHANGED = "annotation-changed"
    FIRST_SEEN = "first-seen"  # found by a list; it may be older
    CONFIGURATION = "configuration"  # accepted under a rule that has changed
    ANNOTATION_REMOVED = "annotation-removed"  # or its value left the configured ones
    LABEL_REMOVED = "label-removed"  # its labels left the selector
    OBJECT_DELETED = "object-deleted"


class DeliveryState(StrEnum):
    """The state of a delivery."""

    QUEUED = "queued"  # waits for an earlier open delivery of its object
    READY = "ready"  # is sent at next_attempt_at
    DELIVERED = "delivered"  # the endpoint responded with 2xx
    FAILED = "failed"  # not sent again, kept for review
    DISCARDED = "discarded"  # discarded by an operator


class GapReason(StrEnum):
    """The reason why a scope was listed instead of watched from its position."""

    FIRST_LIST = "first-list"  # this scope has never been listed
    EXPIRED = "expired"  # the API server no longer has the position (410)
    REWOUND = "rewound"  # the cluster was restored to an earlier state
    CONFIGURATION = "configuration"  # the scope's rule changed, or the scope came or went
    DAMAGED = "damaged"  # the ledger was damaged and rebuilt
    ADOPTED = "adopted"  # an operator bound the ledger to another cluster
    RESTORED = "restored"  # the ledger is a copy, and does not know what was recorded after it was made


class OperatorAction(StrEnum):
    """What an operator did to a delivery, or the store without one."""

    REDELIVERED = "redelivered"  # it is sent again
    RESTORED = "restored"  # the store sends it again: its refusal spoke against the endpoint
    DISCARDED = "discarded"  # it is given up for good


class DeliveryResult(StrEnum):
    """The result of one leased delivery."""

    DELIVERED = "delivered"  # 2xx
    RETRY = "retry"  # is sent again after `delay_s`
    FAILED = "failed"  # is not sent again: a final response, or no attempt left
    RELEASED = "released"  # returned unsent; no request was made
    CHARGED = "charged"  # a failure that was settled as an outage (forgiven) was caused by the event itself


@records.record
class ScopeId:
    """The identity of a scope: a kind of one API group, in one namespace or in all ("")."""

    group: str
    kind: str
    namespace: str = ""


@records.record
class Observation:
    """One object as the watcher observed it, reduced to what the rule and the payload need.

    `labels` and `annotations` are those that the configuration admits to the payload. `value` is the complete value of
    the watched annotation, "" if absent. `received_ns` is CLOCK_MONOTONIC at receipt, 0 if it was not measured.
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


@records.record
class Delivery:
    """One event to send, with everything that the envelope and the retry decision need.

    `data` is the JSON text of the envelope's data, rendered when the event was emitted. `attempts` are the earlier
    requests that count against maxAttempts, `requests` all earlier requests. `committed_us` is the instant at which the
    event was written. `out_of_order`: an operator requested delivery regardless of later events of the object.
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


@records.record
class Outcome:
    """The result of one leased delivery, which the notifier reports to settle it.

    `attempt` is the ordinal of the request (the lease's `requests` + 1); the store applies an ordinal once. `status` is
    the HTTP status, 0 without a complete response. `counted`: the request counts against maxAttempts. `forgiven` marks
    a retry that becomes due as soon as the breaker closes. `error` is at most 512 bytes, with credentials masked.
    `parking` is the endpoint's parking number that the request was sent under.
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
    parking: int = 0
