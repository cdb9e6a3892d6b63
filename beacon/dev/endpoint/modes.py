"""How the endpoint answers: the default, the rules that except events from it, and who of them applies.

Pure but for the random numbers, whose seed can be given. A rule stands alone: it takes nothing over from the default.
Nothing here knows a socket; `beacon.dev.endpoint.answers` acts on what is decided here.
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
    """What happens to a request whose form is right."""

    SUCCESS = "success"  # it is answered with `success_status`
    FAILURE = "failure"  # it is answered with `status`
    RANDOM = "random"  # `failure_rate` of them fail, the others succeed
    DELAY = "delay"  # it succeeds after `delay_s`
    HANG = "hang"  # it is read and never answered
    DRIP = "drip"  # the answer comes byte by byte, see `drip`
    RESET = "reset"  # the connection is reset (RST) without an answer
    CLOSE = "close"  # the connection is closed (FIN) without an answer


class Drip(enum.StrEnum):
    """What of the answer drips, a byte every `drip_interval_s`."""

    HEADERS = "headers"  # the head never ends
    BODY = "body"  # the head comes at once, the body never ends
    ANSWER = "answer"  # head and body, slowly, but to the end: a success


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One way to answer."""

    mode: SinkMode = SinkMode.SUCCESS
    status: int = 500  # of a failure; 302 with `location` is a redirect
    success_status: int = 200
    failure_rate: float = 0.5
    latency_s: float = 0.0  # before any answer, in every mode
    delay_s: float = 5.0  # mode delay
    retry_after: float | str | None = None  # seconds, or "date+5" for the instant as a date, or any text as it stands
    location: str = "/elsewhere"  # sent with a status of 3xx
    body: str = ""  # of a failure; empty: a short JSON document
    headers: tuple[tuple[str, str], ...] = ()  # more headers of the answer
    drip: Drip = Drip.BODY
    drip_interval_s: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRule:
    """Which events are answered differently; what is empty matches everything."""

    behaviour: Behaviour
    id: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    name_prefix: str = ""
    annotation: str | None = None
    type: str = ""  # whole, or its last word: created, updated, deleted
    first_attempts: int = 0  # only for the first N requests of each event
    times: int = 0  # only the first N requests that this rule matches

    def matches(self, event: checks.CheckedEnvelope, attempt: int) -> bool:
        """Tell whether the rule is about this request of this event."""
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
    """All that can be switched at run time."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    rules: tuple[SinkRule, ...] = ()
    demands: checks.Demands = field(default_factory=checks.Demands)

    def changed(self, given: Mapping[str, object]) -> Self:
        """Give this plan with some keys changed; `rules` replaces all rules.

        Raises:
            ConfigError: with one line for every unknown key and unusable value.
        """
        found = values.read(given, READERS)
        rules = found.pop("rules", self.rules)
        demands = {key: found.pop(key) for key in list(found) if key in checks.READERS}
        return dataclasses.replace(
            self,
            behaviour=dataclasses.replace(self.behaviour, **found),
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
        """Return what holds now."""
        return self._plan

    def change(self, plan: SinkPlan) -> None:
        """Follow another plan from now on."""
        if plan.rules is not self._plan.rules:
            self._used = [0] * len(plan.rules)
        self._plan = plan

    def decide(self, event: checks.CheckedEnvelope, attempt: int) -> Behaviour:
        """Choose how a request is answered; the mode is never `random`, that has been decided too."""
        chosen = self._plan.behaviour
        for index, rule in enumerate(self._plan.rules):
            if (not rule.times or self._used[index] < rule.times) and rule.matches(event, attempt):
                self._used[index] += 1
                chosen = rule.behaviour
                break
        if chosen.mode is SinkMode.RANDOM:
            failing = self._random.random() < chosen.failure_rate
            return dataclasses.replace(chosen, mode=SinkMode.FAILURE if failing else SinkMode.SUCCESS)
        return chosen


def retry_after(behaviour: Behaviour) -> str | None:
    """Give the value of the Retry-After header (RFC 9110, 10.2.3), None for no such header."""
    wanted = behaviour.retry_after
    if wanted is None:
        return None
    if isinstance(wanted, str):
        seconds = wanted.removeprefix("date+")
        return formatdate(math.ceil(time.time() + float(seconds)), usegmt=True) if seconds != wanted else wanted
    return str(math.ceil(wanted))


def described(plan: SinkPlan) -> dict[str, Any]:
    """Give a plan as plain values; a token is only said to be there."""
    demands = dataclasses.asdict(plan.demands)
    demands["token"] = "***" if plan.demands.token else ""
    return {**dataclasses.asdict(plan.behaviour), **demands, "rules": [dataclasses.asdict(r) for r in plan.rules]}


def _retry_after(value: object) -> float | str:
    if not isinstance(value, str):
        return float(values.number(0)(value))
    if value.startswith("date+"):
        try:
            float(value.removeprefix("date+"))
        except ValueError as error:
            raise ValueError("must be seconds, a text, or date+ and seconds") from error
    return value


_BEHAVIOUR: dict[str, values.Reader] = {
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


def _rules(given: object) -> tuple[SinkRule, ...]:
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ValueError("must be a list of rules")  # noqa: TRY004  one kind of error for every unusable value
    problems: list[str] = []
    rules: list[SinkRule] = []
    for index, item in enumerate(given):
        try:
            rules.append(item if isinstance(item, SinkRule) else _rule(item, f"rules[{index}]"))
        except errors.ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise errors.ConfigError(problems)
    return tuple(rules)


def _rule(given: object, where: str) -> SinkRule:
    found = values.read(given, {**_BEHAVIOUR, **_MATCH}, where=where)
    match = {key: found.pop(key) for key in list(found) if key in _MATCH}
    # A rule that doesn't say how is there to make something fail.
    return SinkRule(behaviour=Behaviour(**{"mode": SinkMode.FAILURE, **found}), **match)


READERS: dict[str, values.Reader] = {**_BEHAVIOUR, **checks.READERS, "rules": _rules}
