"""Every request and reply between the processes, typed, versioned and validated.

A message is one JSON object. Requests are `{"v": 1, "verb": ..., "body": {...}}`. Replies carry, besides their body,
the ledger's id and the digest of the configuration, so that a client detects a replaced ledger or a changed
configuration. May import `configuration`, `domain`, `codec` and `errors`; must not know a socket.
`beacon.store.service` carries the verbs out. Start reading at `verb`, then `watching` and `delivering`.

Every request may arrive twice, late, or not at all, and must then do no harm: requests with a position are recognized
by it, `claim` by session and number, settlements by (delivery, generation, attempt).
"""

from beacon.wire.comparing import CompareBegin, Compared, CompareEnd, CompareOpen, ComparePage
from beacon.wire.delivering import CLAIM, Claim, Claimed
from beacon.wire.delivery_filter import DeliveryFilter
from beacon.wire.envelope import (
    VERBS,
    VERSION,
    ProtocolError,
    Refusal,
    Refused,
    ReplyEnvelope,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    is_bound,
    kind_of,
    reply_body,
    verb_of,
)
from beacon.wire.explain import CoveringScope, EmittedEvent, Explain, ExplainedObject, Explanation, RecordedAttempt
from beacon.wire.handshake import HELLO, PING, Hello, HelloReply, Ping, Pong
from beacon.wire.maintenance import Adopt, Adopted, Backup, BackupProgress, Prunable, Prune, Pruned, Vacuum, Vacuumed
from beacon.wire.object_pages import ObjectPage, ReadObjects, StoredObject
from beacon.wire.outcome import ApplyResult
from beacon.wire.recent_events import Follow, RecentEvent, RecentEventPage
from beacon.wire.redelivering import (
    ActionResult,
    DeliveryPage,
    DeliverySummary,
    Discard,
    FindDeliveries,
    FindIds,
    FoundIds,
    Redeliver,
    RefusedAction,
)
from beacon.wire.statistics import (
    EndpointStatistics,
    GapStatistics,
    Inspect,
    ScopeStatistics,
    Statistics,
    SuspectedDelivery,
)
from beacon.wire.verb import AnyRequest, AnyVerb, Caller, R, Reply, Request, Verb, VerbKind
from beacon.wire.watching import (
    OBSERVE,
    Expire,
    ListBegin,
    ListEnd,
    ListPage,
    Observe,
    OpenStream,
    PositionReply,
    Rewind,
    StreamOpened,
)

__all__ = [
    "CLAIM",
    "HELLO",
    "OBSERVE",
    "PING",
    "VERBS",
    "VERSION",
    "ActionResult",
    "Adopt",
    "Adopted",
    "AnyRequest",
    "AnyVerb",
    "ApplyResult",
    "Backup",
    "BackupProgress",
    "Caller",
    "Claim",
    "Claimed",
    "CompareBegin",
    "CompareEnd",
    "CompareOpen",
    "ComparePage",
    "Compared",
    "CoveringScope",
    "DeliveryFilter",
    "DeliveryPage",
    "DeliverySummary",
    "Discard",
    "EmittedEvent",
    "EndpointStatistics",
    "Expire",
    "Explain",
    "ExplainedObject",
    "Explanation",
    "FindDeliveries",
    "FindIds",
    "Follow",
    "FoundIds",
    "GapStatistics",
    "Hello",
    "HelloReply",
    "Inspect",
    "ListBegin",
    "ListEnd",
    "ListPage",
    "ObjectPage",
    "Observe",
    "OpenStream",
    "Ping",
    "Pong",
    "PositionReply",
    "ProtocolError",
    "Prunable",
    "Prune",
    "Pruned",
    "R",
    "ReadObjects",
    "RecentEvent",
    "RecentEventPage",
    "RecordedAttempt",
    "Redeliver",
    "Refusal",
    "Refused",
    "RefusedAction",
    "Reply",
    "ReplyEnvelope",
    "Request",
    "Rewind",
    "ScopeStatistics",
    "Statistics",
    "StoredObject",
    "StreamOpened",
    "SuspectedDelivery",
    "Vacuum",
    "Vacuumed",
    "Verb",
    "VerbKind",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
    "is_bound",
    "kind_of",
    "reply_body",
    "verb_of",
]
