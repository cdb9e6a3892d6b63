"""The keys of the configuration in the order of the model, each with its type, default and allowed values.

Pure: it reads the model of the settings and nothing else. `schema` and `page` render it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from beacon.configuration import settings, values
from beacon.dev.reference import effects

_WRITTEN = {
    settings.ValueKind.DURATION: "duration",
    settings.ValueKind.SIZE: "size",
    settings.ValueKind.URL: "URL",
    settings.ValueKind.PATH: "URL path",
    settings.ValueKind.PORT: "port",
    settings.ValueKind.SELECTOR: "label selector",
    settings.ValueKind.GROUP_KIND: "kind",
    settings.ValueKind.PATTERN: "shell pattern",
    settings.ValueKind.PROXY_URL: "URL",
}
_SIZES = ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki"), (0, ""))
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key. `hint` is the type of its attribute in the model, `effect` its text from `effects`."""

    name: str
    hint: Any
    allowed: settings.Allowed
    required: bool
    default: Any
    effect: str

    @property
    def is_list(self) -> bool:
        """Return True if the value is a list of strings."""
        return get_origin(self.hint) is tuple

    @property
    def is_map(self) -> bool:
        """Return True if the value maps names to strings."""
        return not self.is_list and bool(get_args(self.hint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A mapping of keys, or a list of such mappings if `many`."""

    name: str
    path: str
    keys: tuple[Key, ...]
    sections: tuple["Section", ...] = ()
    many: bool = False


def tree() -> Section:
    """Return the root section."""
    return _section(settings.Settings, "", "")


def walk(section: Section) -> Iterator[Section]:
    """Yield a section and all sections below it, in order."""
    yield section
    for below in section.sections:
        yield from walk(below)


def written(key: Key) -> str:
    """Return the type of a key's value as users know it."""
    if key.is_list:
        return "list of statuses" if key.allowed.kind is settings.ValueKind.STATUS else "list of strings"
    if key.is_map:
        return "map of strings"
    if key.allowed.one_of:
        return "one of"
    return _WRITTEN.get(key.allowed.kind, _TYPES[key.hint]) if key.allowed.kind else _TYPES[key.hint]


def shown(key: Key, value: float) -> str:
    """Return a number in the notation of the configuration file."""
    if key.allowed.kind is settings.ValueKind.DURATION:
        return values.format_duration(value)
    if key.allowed.kind is settings.ValueKind.SIZE and value:
        return next(f"{value // 2**power:.0f}{unit}" for power, unit in _SIZES if value % 2**power == 0)
    return f"{value:.12g}"


def _section(kind: Any, name: str, path: str, *, many: bool = False) -> Section:
    keys, sections = [], []
    hints = get_type_hints(kind)
    for one in dataclasses.fields(kind):
        if one.name == "endpoints":  # the keys of an entry are those of `endpoint`
            sections.append(_section(settings.EndpointSettings, "endpoint", "endpoint"))
            continue
        own = settings.key_of(one.name)
        hint, below = hints[one.name], f"{path}.{own}".removeprefix(".")
        item = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if dataclasses.is_dataclass(item):
            sections.append(_section(item, own, below, many=item is not hint))
        else:
            keys.append(_key(one, own, hint, below))
    return Section(name=name, path=path, keys=tuple(keys), sections=tuple(sections), many=many)


def _key(one: dataclasses.Field[Any], name: str, hint: Any, path: str) -> Key:
    default: Any = one.default
    if one.default_factory is not dataclasses.MISSING:
        default = one.default_factory()
    return Key(
        name=name,
        hint=hint,
        allowed=one.metadata["allowed"],
        required=default is dataclasses.MISSING,
        default=default,
        effect=effects.EFFECTS[path],
    )
