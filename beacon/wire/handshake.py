"""The first requests of every client: whether the store is alive, and its configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(verb.Request["Pong"]):
    """Ask whether the store is alive and what it is doing. Answered even during a check or a migration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(verb.Reply):
    """Reply with the activity of the store: `ready`, or the work that keeps it from serving, as text."""

    state: str
    since_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(verb.Request["HelloReply"]):
    """Introduce a process and ask for the configuration of the running store."""

    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloReply(verb.Reply):
    """Reply with the effective settings as plain values (`settings.from_plain`)."""

    settings: Mapping[str, Any]


PING = verb.Verb("ping", Ping, Pong, verb.VerbKind.READ)
HELLO = verb.Verb("hello", Hello, HelloReply, verb.VerbKind.READ)
VERBS: tuple[verb.AnyVerb, ...] = (PING, HELLO)
