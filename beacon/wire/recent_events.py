"""What `beacon tail` and the store say to one another: what happens, as it happens."""

from dataclasses import dataclass

from beacon.wire import verb
from beacon.wire.redelivering import DeliverySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow(verb.Request["RecentEventPage"]):
    """Ask what has happened since the number `after`, an earlier answer's; -1: only from where to go on."""

    after: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentEvent:
    """An event was recorded (`attempt` 0), or a request for it was answered; `of` is its delivery as it is now."""

    of: DeliverySummary
    generation: int = 0
    attempt: int = 0
    started_us: int = 0
    duration_us: int = 0
    code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentEventPage(verb.Reply):
    """What has happened, in order. `missed` more are not kept any longer; `anew`: the store has started meanwhile."""

    happenings: tuple[RecentEvent, ...]
    after: int
    missed: int = 0
    anew: bool = False


VERBS: tuple[verb.AnyVerb, ...] = (verb.Verb("follow", Follow, RecentEventPage, verb.VerbKind.READ),)
