"""What the notifier and the store say to one another."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(verb.Request["Claimed"]):
    """Settle what is done and ask for more: a long poll.

    `session` is the notifier's random name, `number` counts its claims from 1; the number before is thereby
    acknowledged, unless `seen`, the highest number whose reply had arrived when this claim was sent, says less: a claim
    may be sent while the one before is parked, which ends the parking of that one. `want` deliveries at most are given
    out (0: only settle). `probe`: the breaker is open, give the one event that suits a probe, whatever its backoff;
    with `fresh_only` only one that was never attempted. `resume`: the breaker closed, forgiven retries are due now.
    `held` are the deliveries that the notifier has in flight. `died_with` are those whose request was under way when
    the notifier before this one, whose random name is `died`, ended without a stop. The store parks the request for up
    to `wait_s` when nothing is due.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(verb.Reply):
    """What to send now. `fenced`: another notifier took over; open a new session with what you hold.

    `backlog` is how many deliveries of the endpoint are ready (due or waiting) beyond those held.
    """

    number: int
    fenced: bool = False
    deliveries: tuple[model.Delivery, ...] = ()
    backlog: int = 0


CLAIM = verb.Verb("claim", Claim, Claimed, verb.VerbKind.WRITE)
VERBS: tuple[verb.AnyVerb, ...] = (CLAIM,)
