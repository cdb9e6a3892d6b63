"""The settings as a file would contain them: camelCase keys, durations and sizes as text, secrets masked."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from beacon.configuration import settings, values

_MASK = "***"


def as_file(tree: settings.Settings) -> dict[str, Any]:
    """Return every key with its effective value; the result can be loaded, except for the masked values.

    The only endpoint is shown as `endpoint`.
    """
    shown = _section(tree)
    if len(tree.endpoints) > 1:
        return shown
    return {
        ("endpoint" if key == "endpoints" else key): (value[0] if key == "endpoints" else value)
        for key, value in shown.items()
    }


def url(text: str) -> str:
    """Return a URL with the values of its query masked: they may be secrets, as may a part without a value."""
    head, mark, query = text.partition("?")
    parts = (part.partition("=") for part in query.split("&"))
    return head + mark + "&".join(f"{name}={_MASK}" if value.strip("=") else name and _MASK for name, _, value in parts)


def _section(part: Any) -> dict[str, Any]:
    return {settings.key_of(one.name): value(one, getattr(part, one.name)) for one in dataclasses.fields(part)}


def value(one: dataclasses.Field[object], value: Any) -> object:
    """Return the value of one key."""
    if isinstance(value, settings.ProxySettings) and not value.is_configured:
        return value.url
    if dataclasses.is_dataclass(value):
        return _section(value)
    if isinstance(value, Mapping):
        is_plain = one.metadata["allowed"].kind in (settings.ValueKind.HEADER_FILES, settings.ValueKind.PARAMETERS)
        return dict(value) if is_plain else dict.fromkeys(value, _MASK)
    if isinstance(value, tuple):
        return [_section(item) if dataclasses.is_dataclass(item) else item for item in value]
    kind = one.metadata["allowed"].kind
    if kind is settings.ValueKind.URL:
        return url(value)
    if kind is settings.ValueKind.DURATION:
        return values.format_duration(value)
    return value
