"""Every request and reply between the processes, typed, versioned and validated.

A message is one JSON object. Requests are `{"v": 1, "verb": ..., "body": {...}}`; replies carry, besides their body,
the ledger's id and the digest of the configuration, so that a client notices a replaced ledger or a changed
configuration before it goes on. Nothing here knows a socket; what the verbs do stands in `beacon.store.service`.

Every request may arrive twice, late, or not at all, and must then do no harm: position-bearing requests are known by
their position, `claim` by session and number, settlements by (delivery, generation, attempt).
"""

from beacon.wire.comparing import CompareBegin, Compared, CompareEnd, CompareOpen, ComparePage
from beacon.wire.delivering import CLAIM, Claim, Claimed
from beacon.wire.envelope import (
    VERBS,
    VERSION,
    Envelope,
    ProtocolError,
    Refusal,
    Refused,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    is_bound,
    kind_of,
    reply_body,
    verb_of,
)
from beacon.wire.explaining import Attempt, Covering, Explain, SeenObject, Story, ToldEvent
from beacon.wire.figures import EndpointFigures, Figures, GapFigures, Inspect, ScopeFigures, SuspectFigures
from beacon.wire.following import Follow, Followed, Happening
from beacon.wire.greeting import HELLO, PING, Hello, Ping, Pong, Welcome
from beacon.wire.keeping import Adopt, Adopted, BackedUp, Backup, Prunable, Prune, Pruned, Vacuum, Vacuumed
from beacon.wire.place import Place
from beacon.wire.planning import Held, HeldObject, Holdings
from beacon.wire.redelivering import Acted, Discard, Find, Found, Listed, NotDone, Redeliver
from beacon.wire.selecting import Selection
from beacon.wire.verb import AnyRequest, AnyVerb, Ask, Kind, R, Reply, Request, Verb
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
    "Attempt",
    "BackedUp",
    "Backup",
    "Claim",
    "Claimed",
    "CompareBegin",
    "CompareEnd",
    "CompareOpen",
    "ComparePage",
    "Compared",
    "Covering",
    "Discard",
    "EndpointFigures",
    "Envelope",
    "Expire",
    "Explain",
    "Figures",
    "Find",
    "Follow",
    "Followed",
    "Found",
    "GapFigures",
    "Happening",
    "Held",
    "HeldObject",
    "Hello",
    "Holdings",
    "Inspect",
    "Kind",
    "ListBegin",
    "ListEnd",
    "ListPage",
    "Listed",
    "NotDone",
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
    "Redeliver",
    "Refusal",
    "Refused",
    "Reply",
    "Request",
    "Rewind",
    "ScopeFigures",
    "SeenObject",
    "Selection",
    "Story",
    "StreamOpened",
    "SuspectFigures",
    "ToldEvent",
    "Vacuum",
    "Vacuumed",
    "Verb",
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
