"""What everybody says first: whether the store lives, and with which configuration it works."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(verb.Request["Pong"]):
    """Ask whether the store lives and what it is doing. Answered even while it checks or migrates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(verb.Reply):
    """What the store is doing: `ready`, or the work that keeps it from serving, in words."""

    state: str
    since_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(verb.Request["HelloReply"]):
    """Introduce a process and ask for the configuration with which the store started."""

    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloReply(verb.Reply):
    """The effective settings as plain values (`settings.from_plain`)."""

    settings: Mapping[str, Any]


PING = verb.Verb("ping", Ping, Pong, verb.VerbKind.READ)
HELLO = verb.Verb("hello", Hello, HelloReply, verb.VerbKind.READ)
VERBS: tuple[verb.AnyVerb, ...] = (PING, HELLO)
