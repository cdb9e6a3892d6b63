"""The filters that select deliveries, common to `events`, `redeliver` and `discard`."""

import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import click

from beacon import wire
from beacon.cli import endpoint_choice
from beacon.domain import builtin, model

LIMIT = click.IntRange(0, 1_000_000_000)
DELIVERY = click.IntRange(0, model.MAX_INTEGER)
_AGO = re.compile(r"([0-9]{1,12})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Instant(click.ParamType[int]):
    """An instant in microseconds: RFC 3339 (`2026-01-31T12:00:00Z`), or an age (`90m`, `2h`, `1d12h`)."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse an instant; any other text is a usage error."""
        if isinstance(value, int):
            return value
        if re.fullmatch(rf"(?:{_AGO.pattern})+", value):
            age_s = sum(int(number) * _SECONDS[unit] for number, unit in _AGO.findall(value))
            return self._bounded(int((time.time() - age_s) * 1_000_000), value, param, ctx)
        try:
            instant = datetime.fromisoformat(value)
            aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return self._bounded(int(aware.timestamp() * 1_000_000), value, param, ctx)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither an instant like 2026-01-31T12:00:00Z nor an age like 2h", param, ctx)

    def _bounded(self, us: int, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Reject instants before 1970: no event is that old, and SQLite's integers are bounded."""
        if us < 0:
            self.fail(f"{value[:40]!r} is before 1970", param, ctx)
        return us


def options(command: Callable[..., object]) -> Callable[..., object]:
    """Add all filters to a command; `selection` turns their values into a request."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def object_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the filters for the object: `--kind`, `--namespace` and `--name`."""
    for add in reversed(_OBJECT):
        command = add(command)
    return command


def selection(params: dict[str, Any], ids: tuple[str, ...] = ()) -> wire.DeliveryFilter:
    """Remove the filters from a command's parameters and return them as a selection."""
    return wire.DeliveryFilter(
        states=tuple(model.DeliveryState(state) for state in params.pop("state")),
        types=tuple(model.EventType(type_) for type_ in params.pop("type")),
        kind=params.pop("kind"),
        namespace=params.pop("namespace"),
        name=params.pop("name"),
        uid=params.pop("uid"),
        since_us=params.pop("since") or 0,
        until_us=params.pop("until") or 0,
        ids=ids,
        endpoint=params.pop("endpoint"),
    )


def kind_of(word: str, scopes: Iterable[wire.ScopeStatistics]) -> str:
    """Return the kind for a kind, plural or short name in any case, with or without its API group.

    The store's scopes have the plurals of custom resources. An unknown word is returned without its group.
    """
    wanted = word.lower()
    for scope in scopes:
        kind, plural = (text.partition("@")[0] for text in (scope.name, scope.label))
        if wanted in {spelling.lower() for text in (kind, plural) for spelling in (text, text.partition(".")[0])}:
            return kind.partition(".")[0]
    return builtin.kind_of(word.partition(".")[0]) or word.partition(".")[0]


def matches(selection: wire.DeliveryFilter, one: wire.DeliverySummary) -> bool:
    """Return True if a selection without event ids contains a delivery, as the store decides it."""
    return (
        (not selection.states or one.state in selection.states)
        and (not selection.types or one.type in selection.types)
        and selection.kind in ("", one.kind)
        and selection.namespace in (None, one.namespace)
        and selection.name in ("", one.name)
        and selection.uid in ("", one.uid)
        and selection.endpoint in ("", one.endpoint)
        and selection.since_us <= one.detected_us < (selection.until_us or model.MAX_INTEGER)
    )


def _one_of(values: type[StrEnum]) -> click.Choice[str]:
    return click.Choice([value.value for value in values])


_OBJECT = (
    click.option("--kind", default="", help="Kind, plural or short name of the object's type, in any case: deploy."),
    click.option("-n", "--namespace", default=None, help='Namespace of the object; "" for cluster-wide objects.'),
    click.option("--name", default="", help="Name of the object."),
)
endpoint_option = endpoint_choice.option("Endpoint of the delivery; a removed one, too.")
_OPTIONS = (
    click.option(
        "--state", multiple=True, type=_one_of(model.DeliveryState), help="State of the delivery; repeatable."
    ),
    click.option("--type", multiple=True, type=_one_of(model.EventType), help="Type of the event; repeatable."),
    *_OBJECT,
    click.option("--uid", default="", help="UID of the object, or the beginning of it."),
    click.option(
        "--since", type=Instant(), help="Detected at or after this instant: 2026-01-31T12:00:00Z, or 2h (ago)."
    ),
    click.option("--until", type=Instant(), help="Detected before this instant."),
    endpoint_option,
)
