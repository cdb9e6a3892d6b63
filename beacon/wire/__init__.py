"""Every request and reply between the processes, typed, versioned and validated.

A message is one JSON object. Requests are `{"v": 1, "verb": ..., "body": {...}}`; replies carry, besides their body,
the ledger's id and the digest of the configuration, so that a client notices a replaced ledger or a changed
configuration before it goes on. Nothing here knows a socket; what the verbs do stands in `beacon.store.service`.

Every request may arrive twice, late, or not at all, and must then do no harm: position-bearing requests are known by
their position, `claim` by session and number, settlements by (delivery, generation, attempt).
"""

from beacon.wire.comparing import CompareBegin, Compared, CompareEnd, CompareOpen, ComparePage
from beacon.wire.delivering import CLAIM, Claim, Claimed
from beacon.wire.delivery_filter import Selection
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
from beacon.wire.explain import CoveringScope, EmittedEvent, Explain, ObjectStory, RecordedAttempt, SeenObject
from beacon.wire.handshake import HELLO, PING, Hello, Ping, Pong, Welcome
from beacon.wire.maintenance import Adopt, Adopted, BackedUp, Backup, Prunable, Prune, Pruned, Vacuum, Vacuumed
from beacon.wire.object_pages import HeldObject, ObjectPage, ReadObjects
from beacon.wire.outcome import Place
from beacon.wire.recent_events import Follow, Followed, Happening
from beacon.wire.redelivering import Acted, Discard, Find, FoundDeliveries, ListedDelivery, NotDone, Redeliver
from beacon.wire.statistics import (
    EndpointStatistics,
    GapStatistics,
    Inspect,
    ScopeStatistics,
    Statistics,
    SuspectedDelivery,
)
from beacon.wire.verb import AnyRequest, AnyVerb, Ask, R, Reply, Request, Verb, VerbKind
from beacon.wire.watching import (
    OBSERVE,
    Expire,
    ListBegin,
    ListEnd,
    ListPage,
    Observe,
    OpenStream,
    Positioned,
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
    "Acted",
    "Adopt",
    "Adopted",
    "AnyRequest",
    "AnyVerb",
    "Ask",
    "BackedUp",
    "Backup",
    "Claim",
    "Claimed",
    "CompareBegin",
    "CompareEnd",
    "CompareOpen",
    "ComparePage",
    "Compared",
    "CoveringScope",
    "Discard",
    "EmittedEvent",
    "EndpointStatistics",
    "Expire",
    "Explain",
    "Find",
    "Follow",
    "Followed",
    "FoundDeliveries",
    "GapStatistics",
    "Happening",
    "HeldObject",
    "Hello",
    "Inspect",
    "ListBegin",
    "ListEnd",
    "ListPage",
    "ListedDelivery",
    "NotDone",
    "ObjectPage",
    "ObjectStory",
    "Observe",
    "OpenStream",
    "Ping",
    "Place",
    "Pong",
    "Positioned",
    "ProtocolError",
    "Prunable",
    "Prune",
    "Pruned",
    "R",
    "ReadObjects",
    "RecordedAttempt",
    "Redeliver",
    "Refusal",
    "Refused",
    "Reply",
    "ReplyEnvelope",
    "Request",
    "Rewind",
    "ScopeStatistics",
    "SeenObject",
    "Selection",
    "Statistics",
    "StreamOpened",
    "SuspectedDelivery",
    "Vacuum",
    "Vacuumed",
    "Verb",
    "VerbKind",
    "Welcome",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
    "is_bound",
    "kind_of",
    "reply_body",
    "verb_of",
]
