"""The filters that several commands have in common: which deliveries are meant."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import click

from beacon import wire
from beacon.domain import model

LIMIT = click.IntRange(0, 1_000_000_000)
DELIVERY = click.IntRange(0, model.MAX_INTEGER)
_AGO = re.compile(r"([0-9]{1,12})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Instant(click.ParamType[int]):
    """An instant in microseconds: RFC 3339 (`2026-01-31T12:00:00Z`), or how long ago (`90m`, `2h`, `1d12h`)."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse one; anything else is wrong use."""
        if isinstance(value, int):
            return value
        if re.fullmatch(rf"(?:{_AGO.pattern})+", value):
            ago_s = sum(int(number) * _SECONDS[unit] for number, unit in _AGO.findall(value))
            return self._bounded(int((time.time() - ago_s) * 1_000_000), value, param, ctx)
        try:
            instant = datetime.fromisoformat(value)
            aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return self._bounded(int(aware.timestamp() * 1_000_000), value, param, ctx)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither an instant like 2026-01-31T12:00:00Z nor a time ago like 2h", param, ctx)

    def _bounded(self, us: int, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Refuse what is before 1970: no event is, and SQLite's integers end somewhere."""
        if us < 0:
            self.fail(f"{value[:40]!r} is before 1970", param, ctx)
        return us


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all filters; `selection` makes of them what travels."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def selection(given: dict[str, Any], ids: tuple[str, ...] = ()) -> wire.DeliveryFilter:
    """Take the filters out of a command's parameters; what is left there is the command's own."""
    return wire.DeliveryFilter(
        states=tuple(model.DeliveryState(state) for state in given.pop("state")),
        types=tuple(model.EventType(type_) for type_ in given.pop("type")),
        kind=given.pop("kind"),
        namespace=given.pop("namespace"),
        name=given.pop("name"),
        uid=given.pop("uid"),
        since_us=given.pop("since") or 0,
        until_us=given.pop("until") or 0,
        ids=ids,
    )


def _one_of(words: type[StrEnum]) -> click.Choice[str]:
    return click.Choice([word.value for word in words])


_OPTIONS = (
    click.option("--state", multiple=True, type=_one_of(model.DeliveryState), help="Of the delivery; may repeat."),
    click.option("--type", multiple=True, type=_one_of(model.EventType), help="Of the event; may repeat."),
    click.option("--kind", default="", help="Of the object, as in its manifest: Deployment."),
    click.option("-n", "--namespace", default=None, help='Of the object; "" for objects that have none.'),
    click.option("--name", default="", help="Of the object."),
    click.option("--uid", default="", help="Of the object."),
    click.option("--since", type=Instant(), help="Detected at this instant or later: 2026-01-31T12:00:00Z, or 2h ago."),
    click.option("--until", type=Instant(), help="Detected before this instant."),
)
