"""Requests of `beacon tail`: recorded events and completed requests, as they happen."""

from dataclasses import dataclass

from beacon.wire import verb
from beacon.wire.redelivering import DeliverySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow(verb.Request["RecentEventPage"]):
    """Ask for the entries after the number `after` of an earlier reply; -1: only return the current number."""

    after: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentEvent:
    """An event was recorded (`attempt` 0), or a request for it completed; `of` is its delivery in its current state."""

    of: DeliverySummary
    generation: int = 0
    attempt: int = 0
    started_us: int = 0
    duration_us: int = 0
    code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentEventPage(verb.Reply):
    """Reply with the entries, in order. `missed` entries were already dropped; `anew`: the store was restarted."""

    happenings: tuple[RecentEvent, ...]
    after: int
    missed: int = 0
    anew: bool = False


VERBS: tuple[verb.AnyVerb, ...] = (verb.Verb("follow", Follow, RecentEventPage, verb.VerbKind.READ),)
