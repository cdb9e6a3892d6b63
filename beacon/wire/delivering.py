"""Requests of the notifier: settle deliveries and lease new ones."""

from beacon.domain import model, records
from beacon.wire import verb


@records.record
class Claim(verb.Request["Claimed"]):
    """Settle deliveries and lease more: a long poll.

    `session` is the notifier's random name, `number` counts its claims from 1. A claim acknowledges the replies up to
    `number` - 1, or up to `seen` if that is set: the highest number whose reply had arrived when the claim was sent. A
    claim may be sent while the previous one is parked, which ends the parking. At most `want` deliveries are leased (0:
    only settle). `probe`: the breaker is open, lease the one delivery that suits a probe, regardless of its backoff;
    with `fresh_only` only one that was never attempted. `resume`: the breaker closed, forgiven retries are due now.
    `held` are the deliveries that the notifier has in flight. `died_with` are the deliveries in flight when the
    previous notifier, whose random name is `died`, was terminated. `parked`: the notifier knows that the endpoint is
    parked; if that is wrong, the reply comes at once. `parking` is the parking number that new requests are sent under;
    `renewed`: since the last answered claim, the notifier has begun to use a changed secret with it. The store parks
    the request for up to `wait_s` when nothing is due.
    """

    endpoint: str
    session: str
    number: int
    want: int
    wait_s: float
    seen: int = -1  # -1: number - 1
    settlements: tuple[model.Outcome, ...] = ()
    held: tuple[int, ...] = ()
    died: str = ""
    died_with: tuple[int, ...] = ()
    probe: bool = False
    fresh_only: bool = False
    resume: bool = False
    parked: bool = False
    parking: int = 0
    renewed: bool = False


@records.record
class Claimed(verb.Reply):
    """Reply with the leased deliveries. `fenced`: another notifier is active; open a new session.

    `backlog` is the number of ready deliveries of the endpoint (due or waiting) in addition to those leased.
    `parking` is the endpoint's parking number, `parked` the cause if it is parked.
    """

    number: int
    fenced: bool = False
    deliveries: tuple[model.Delivery, ...] = ()
    backlog: int = 0
    parking: int = 0
    parked: str = ""


CLAIM = verb.Verb("claim", Claim, Claimed, verb.VerbKind.WRITE)
VERBS: tuple[verb.AnyVerb, ...] = (CLAIM,)
