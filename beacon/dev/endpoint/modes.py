"""Decides how the endpoint answers a request: the default behavior, and rules for specific events.

Pure except for random numbers, whose seed can be set. A rule inherits nothing from the default. This module must not
know sockets; `beacon.dev.endpoint.answers` executes its decisions.
"""

import dataclasses
import enum
import math
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Self

from beacon import errors
from beacon.dev.endpoint import checks, values


class SinkMode(enum.StrEnum):
    """What happens to a valid request."""

    SUCCESS = "success"  # it is answered with `success_status`
    FAILURE = "failure"  # it is answered with `status`
    RANDOM = "random"  # `failure_rate` of them fail, the others succeed
    DELAY = "delay"  # it succeeds after `delay_s`
    HANG = "hang"  # it is read and never answered
    DRIP = "drip"  # the response is sent byte by byte, see `drip`
    RESET = "reset"  # the connection is reset (RST) without a response
    CLOSE = "close"  # the connection is closed (FIN) without a response


class Drip(enum.StrEnum):
    """The part of the response that is sent slowly, a byte every `drip_interval_s`."""

    HEADERS = "headers"  # the head, which never ends
    BODY = "body"  # the body, which never ends; the head is sent at once
    ANSWER = "answer"  # head and body, complete: a success


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """One way to answer."""

    mode: SinkMode = SinkMode.SUCCESS
    status: int = 500  # of a failure; 302 with `location` is a redirect
    success_status: int = 200
    failure_rate: float = 0.5
    latency_s: float = 0.0  # before any response, in every mode
    delay_s: float = 5.0  # mode delay
    retry_after: float | str | None = None  # seconds, "date+5" for an HTTP date in 5 s, or any other text verbatim
    location: str = "/elsewhere"  # sent with a status of 3xx
    body: str = ""  # of a failure; empty: a short JSON document
    headers: tuple[tuple[str, str], ...] = ()  # additional headers of the response
    drip: Drip = Drip.BODY
    drip_interval_s: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRule:
    """Events that are answered differently; an empty field matches everything."""

    behavior: Behavior
    id: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    name_prefix: str = ""
    annotation: str | None = None
    type: str = ""  # the full type, or its last word: created, updated, deleted
    first_attempts: int = 0  # only for the first N requests of each event
    times: int = 0  # only the first N requests that this rule matches

    def matches(self, event: checks.CheckedEnvelope, attempt: int) -> bool:
        """Return True if the rule applies to this attempt of this event."""
        exact = ((self.id, event.id), (self.kind, event.kind), (self.namespace, event.namespace))
        return (
            all(wanted in {"", found} for wanted, found in exact)
            and self.name in {"", event.name}
            and event.name.startswith(self.name_prefix)
            and self.annotation in {None, event.value}
            and (not self.type or event.type == self.type or event.type.endswith(f".{self.type}"))
            and (not self.first_attempts or attempt <= self.first_attempts)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPlan:
    """All settings that can be changed at run time."""

    behavior: Behavior = field(default_factory=Behavior)
    rules: tuple[SinkRule, ...] = ()
    demands: checks.Demands = field(default_factory=checks.Demands)

    def changed(self, changes: Mapping[str, object]) -> Self:
        """Return this plan with some keys changed; `rules` replaces all rules.

        Raises:
            ConfigError: with one line for every unknown key and unusable value.
        """
        found = values.read(changes, READERS)
        rules = found.pop("rules", self.rules)
        demands = {key: found.pop(key) for key in list(found) if key in checks.READERS}
        return dataclasses.replace(
            self,
            behavior=dataclasses.replace(self.behavior, **found),
            rules=rules,
            demands=dataclasses.replace(self.demands, **demands),
        )


class Director:
    """Decides how each request is answered; counts how often each rule has been used."""

    def __init__(self, plan: SinkPlan, *, seed: int | None = None) -> None:
        self._plan = plan
        self._used = [0] * len(plan.rules)
        self._random = random.Random(seed)  # noqa: S311  it chooses failures, not secrets

    @property
    def plan(self) -> SinkPlan:
        """Return the current plan."""
        return self._plan

    def change(self, plan: SinkPlan) -> None:
        """Replace the plan. The counters of the rules are reset if the rules change."""
        if plan.rules is not self._plan.rules:
            self._used = [0] * len(plan.rules)
        self._plan = plan

    def decide(self, event: checks.CheckedEnvelope, attempt: int) -> Behavior:
        """Return the behavior for a request. Its mode is never `random`: a random choice has been made."""
        chosen = self._plan.behavior
        for index, rule in enumerate(self._plan.rules):
            if (not rule.times or self._used[index] < rule.times) and rule.matches(event, attempt):
                self._used[index] += 1
                chosen = rule.behavior
                break
        if chosen.mode is SinkMode.RANDOM:
            failing = self._random.random() < chosen.failure_rate
            return dataclasses.replace(chosen, mode=SinkMode.FAILURE if failing else SinkMode.SUCCESS)
        return chosen


def retry_after(behavior: Behavior) -> str | None:
    """Return the value of the Retry-After header (RFC 9110, 10.2.3), or None for no such header."""
    wanted = behavior.retry_after
    if wanted is None:
        return None
    if isinstance(wanted, str):
        seconds = wanted.removeprefix("date+")
        return formatdate(math.ceil(time.time() + float(seconds)), usegmt=True) if seconds != wanted else wanted
    return str(math.ceil(wanted))


def described(plan: SinkPlan) -> dict[str, Any]:
    """Return a plan as plain values, with the token masked."""
    demands = dataclasses.asdict(plan.demands)
    demands["token"] = "***" if plan.demands.token else ""
    return {**dataclasses.asdict(plan.behavior), **demands, "rules": [dataclasses.asdict(r) for r in plan.rules]}


def _retry_after(value: object) -> float | str:
    if not isinstance(value, str):
        return float(values.number(0)(value))
    if value.startswith("date+"):
        try:
            float(value.removeprefix("date+"))
        except ValueError as error:
            raise ValueError("must be seconds, a text, or date+ and seconds") from error
    return value


_BEHAVIOR: dict[str, values.Reader] = {
    "mode": values.choice(SinkMode),
    "status": values.integer(200, 599),
    "success_status": values.integer(200, 299),
    "failure_rate": values.number(0, 1),
    "latency_s": values.number(0),
    "delay_s": values.number(0),
    "retry_after": values.optional(_retry_after),
    "location": values.text,
    "body": values.text,
    "headers": values.pairs,
    "drip": values.choice(Drip),
    "drip_interval_s": values.number(0.001),
}

_MATCH: dict[str, values.Reader] = {
    **dict.fromkeys(("id", "kind", "namespace", "name", "name_prefix", "type"), values.text),
    "annotation": values.optional(values.text),
    "first_attempts": values.integer(0, 1_000_000_000),
    "times": values.integer(0, 1_000_000_000),
}


def _rules(plain: object) -> tuple[SinkRule, ...]:
    if isinstance(plain, str | Mapping) or not isinstance(plain, Iterable):
        raise ValueError("must be a list of rules")  # noqa: TRY004  one kind of error for every unusable value
    problems: list[str] = []
    rules: list[SinkRule] = []
    for index, item in enumerate(plain):
        try:
            rules.append(item if isinstance(item, SinkRule) else _rule(item, f"rules[{index}]"))
        except errors.ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise errors.ConfigError(problems)
    return tuple(rules)


def _rule(plain: object, where: str) -> SinkRule:
    found = values.read(plain, {**_BEHAVIOR, **_MATCH}, where=where)
    match = {key: found.pop(key) for key in list(found) if key in _MATCH}
    # A rule without a mode makes requests fail.
    return SinkRule(behavior=Behavior(**{"mode": SinkMode.FAILURE, **found}), **match)


READERS: dict[str, values.Reader] = {**_BEHAVIOR, **checks.READERS, "rules": _rules}
