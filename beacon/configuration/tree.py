"""The validator: pydantic models built from the declarations in `settings`. The only user of pydantic.

All problems are collected, each with its path, its value, the allowed values, and the nearest key for an unknown one.
A value that the Go Beacon accepts although it makes no sense is corrected with a warning.
"""

import copy
import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import pydantic
from pydantic_core import ErrorDetails

from beacon.configuration import settings, values
from beacon.domain import selectors

_LONGEST_SHOWN = 60
_MASKED = "headers"
_MAY_SHOW_SECRETS = frozenset({"auth", "signing"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The tree, with all problems of single values, and the paths of the values that have one.

    `endpoints` are the paths of the endpoints: `endpoint`, or `endpoints[0]` and so on.

    With problems, the tree holds defaults and placeholders instead of the invalid values, so that the others can be
    checked against each other; None if even that is not possible.
    """

    tree: settings.Settings | None
    problems: tuple[str, ...] = ()
    invalid: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()  # corrections
    endpoints: tuple[str, ...] = ()


@dataclasses.dataclass(slots=True, kw_only=True)
class _Corrections:
    """The corrections so far, and the path of the endpoint that is being read; `many`: the file has a list."""

    many: bool
    found: list[str] = dataclasses.field(default_factory=list)
    read: int = 0

    def add(self, name: str, text: str) -> None:
        rest = name.removeprefix("endpoint.")
        where = f"endpoints[{self.read - 1}].{rest}" if self.many and rest != name else name
        self.found.append(f"{where}: {text}")


def build(content: Mapping[str, object]) -> Built:
    """Validate the content of the file."""
    problems: tuple[str, ...] = ()
    invalid: frozenset[str] = frozenset()
    content = {key: copy.deepcopy(value) for key, value in content.items() if value is not None}
    both = ("endpoint: can't be combined with endpoints",) if {"endpoint", "endpoints"} <= content.keys() else ()
    many = "endpoints" in content
    only = content.pop("endpoint", {})
    content.setdefault("endpoints", [only])
    for _ in range(_MOST_ROUNDS):
        corrections = _Corrections(many=many)
        try:
            model = _model(settings.Settings).model_validate(content, context=corrections)
        except pydantic.ValidationError as error:
            found = [one for one in error.errors(include_url=False) if not _is_consequence(one)]
            problems = problems or tuple(_sentence(one, _as_written(one["loc"], many=many)) for one in found)
            invalid |= {_dotted(_as_written(one["loc"], many=many)) for one in found}
            if sum(_repair(content, one) for one in found) < len(found):
                break
        else:
            tree = settings.from_plain(model.model_dump())
            places = tuple(f"endpoints[{place}]" for place in range(len(tree.endpoints))) if many else ("endpoint",)
            warnings = tuple(corrections.found)
            return Built(tree=tree, problems=both + problems, invalid=invalid, warnings=warnings, endpoints=places)
    return Built(tree=None, problems=both + problems, invalid=invalid)


def _as_written(path: Sequence[object], *, many: bool) -> list[object]:
    """Return the path as the file has it: the only endpoint stands in `endpoint`."""
    if not many and list(path[:2]) == ["endpoints", 0]:
        return ["endpoint", *path[2:]]
    return list(path)


def _repair(content: Any, problem: ErrorDetails) -> bool:
    """Remove an invalid value, or put a placeholder where one is required; return False if that is not possible."""
    *path, last = problem["loc"]
    if isinstance(last, int) and path not in (["resources"], ["endpoints"]):
        *path, last = path  # an invalid item: the list is removed
    part = content
    for key in path:
        child = part.get(key) if isinstance(part, dict) else part[key]
        if child is None:  # absent, or empty: both mean a section without keys
            child = part[key] = {}
        part = child
    if problem["type"] in ("missing", "too_short"):
        part[last] = copy.deepcopy(_PLACEHOLDERS[str(last)])
    elif isinstance(part, list):
        part[int(last)] = {}
    else:
        return part.pop(last, None) is not None
    return True


_MOST_ROUNDS = 5  # an entry that is not a mapping, then its required keys
_PLACEHOLDERS: Mapping[str, object] = {
    "resources": [{}],
    "endpoints": [{}],
    "apiVersion": "v1",
    "kind": "Placeholder",
    "url": "http://placeholder.invalid/",
}


@cache
def _model(kind: type) -> type[pydantic.BaseModel]:
    """Build the model of one dataclass of the settings; its fields have the file's keys as aliases."""
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {one.name: _field(kind, one, hints[one.name]) for one in dataclasses.fields(kind)}
    config = pydantic.ConfigDict(extra="forbid", alias_generator=settings.key_of, frozen=True)
    # An empty section is read as null; it means the same as an absent one.
    emptied = pydantic.model_validator(mode="before")(_BEGINNINGS.get(kind, _begin))
    return pydantic.create_model(
        kind.__name__, __config__=config, __validators__={"emptied": cast("Any", emptied)}, **fields
    )


def _begin(value: object) -> object:
    return {} if value is None else value


def _begin_endpoint(value: object, info: pydantic.ValidationInfo[_Corrections]) -> object:
    info.context.read += 1
    return _begin(value)


def _begin_proxy(value: object) -> object:
    """Accept `env` and `none` instead of a mapping; inside one they are no URLs."""
    words = (settings.PROXY_OF_ENVIRONMENT, settings.NO_PROXY)
    if value in words:
        return {"url": _ProxyWord(str(value))}
    if value not in (None, "") and not isinstance(value, dict):
        raise ValueError(f"must be {', '.join(words)}, or a mapping with url")
    return value or {}


class _ProxyWord(str):
    """`env` or `none`, which only stands instead of a mapping."""

    __slots__ = ()


_BEGINNINGS: Mapping[type, Any] = {settings.EndpointSettings: _begin_endpoint, settings.ProxySettings: _begin_proxy}


def _field(owner: type, one: dataclasses.Field[object], hint: object) -> tuple[object, object]:
    if dataclasses.is_dataclass(hint):
        model = _model(hint)  # type: ignore[arg-type]
        return model, pydantic.Field(default_factory=lambda: model.model_validate({}), validate_default=False)
    default = (
        ... if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING else _default(one)
    )
    if get_origin(hint) is tuple and dataclasses.is_dataclass(get_args(hint)[0]):
        item: Any = _model(get_args(hint)[0])
        return Annotated[tuple[item, ...], pydantic.Field(min_length=1)], ...
    reader = _ValueReader(owner, one, default)
    return Annotated[
        _plain(hint), pydantic.BeforeValidator(reader.read), pydantic.AfterValidator(reader.correct)
    ], default


def _default(one: dataclasses.Field[object]) -> object:
    if one.default_factory is not dataclasses.MISSING:
        return one.default_factory()
    return one.default


def _plain(hint: object) -> object:
    return dict[str, str] if get_origin(hint) is not tuple and get_args(hint) else hint


class _ValueReader:
    """Reads one value, and corrects it if the Go Beacon would have accepted it."""

    def __init__(self, owner: type, one: dataclasses.Field[object], default: Any) -> None:
        self._allowed: settings.Allowed = one.metadata["allowed"]
        self._default = default
        self._name = f"{_SECTIONS.get(owner, '')}{settings.key_of(one.name)}"

    def read(self, value: object) -> object:
        """Convert the file's text to the value; an empty value means the default."""
        if (value is None or value == "") and self._default is not ...:
            return self._default
        if isinstance(value, list):
            return self._read_items([item for item in value if item != ""])
        if isinstance(value, dict):
            return {key: "" if text is None else text for key, text in value.items()}
        return self._read_text(value)

    def correct(self, value: object, info: pydantic.ValidationInfo[_Corrections]) -> object:
        """Check the value against its bounds. Return it, corrected if that is possible."""
        allowed = self._allowed
        if not isinstance(value, tuple):
            self._check_word(value)
        if allowed.kind is settings.ValueKind.PORT:
            return value or self._default
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._read_map(value, info.context) if isinstance(value, dict) else value
        if (allowed.above is None or value > allowed.above) and _within(value, allowed.least, allowed.most):
            return value
        if not allowed.go:
            raise ValueError(f"must be {_bounds(allowed)}")
        corrected = self._default
        if allowed.most is not None and value > allowed.most:
            corrected = allowed.most
        elif allowed.least is not None and 0 < value < allowed.least:
            corrected = allowed.least
        info.context.add(self._name, f"must be {_bounds(allowed)}; {_shown(corrected, allowed)} is used")
        return type(value)(corrected)

    def _read_text(self, value: object) -> object:
        kind = self._allowed.kind
        if not isinstance(value, str) or kind not in _READERS or isinstance(value, _ProxyWord):
            return value
        return _READERS[kind](value)

    def _read_items(self, items: Sequence[object]) -> tuple[object, ...]:
        """Convert the items of a list; raise with all problems."""
        read, problems = [], []
        for item in items:
            try:
                read.append(self._read_text(self._check_word(item)))
            except ValueError as error:
                problems.append(f"{_quoted(item)} {error}")
        if problems:
            raise ValueError("; ".join(problems))
        return tuple(read)

    def _check_word(self, word: object) -> object:
        if self._allowed.one_of and word not in self._allowed.one_of:
            raise ValueError(f"must be one of {', '.join(self._allowed.one_of)}")
        return word

    def _read_map(self, value: dict[str, str], corrections: _Corrections) -> dict[str, str]:
        if self._allowed.kind is settings.ValueKind.PARAMETERS:
            return value
        if self._allowed.kind is not settings.ValueKind.HEADER_FILES:
            return self._filter_headers(value, corrections)
        problems = []
        for name, path in value.items():
            try:
                values.header_file(name, path)
            except ValueError as error:
                problems.append(f"{_header_name(name)!r} {error}")
        if problems:
            raise ValueError("; ".join(problems))
        return value

    def _filter_headers(self, headers: dict[str, str], corrections: _Corrections) -> dict[str, str]:
        kept, problems = {}, []
        for name, value in headers.items():
            if name.lower() == "content-type":
                corrections.add("endpoint.headers.Content-Type", "ignored, events are application/cloudevents+json")
                continue
            try:
                values.header(name, value)
            except ValueError as error:
                problems.append(f"{_header_name(name)!r} {error}")
            kept[name] = value
        if problems:
            raise ValueError("; ".join(problems))
        return kept


def _header_name(name: str) -> str:
    """Return what may be shown of a header's name; a value may stand behind it by mistake."""
    return name.partition(":")[0][:_LONGEST_SHOWN]


def _selector(text: str) -> str:
    selectors.parse(text)
    return text


_READERS: Mapping[settings.ValueKind | None, Callable[[str], object]] = {
    settings.ValueKind.DURATION: values.duration,
    settings.ValueKind.SIZE: values.size,
    settings.ValueKind.URL: values.url,
    settings.ValueKind.PATH: values.path,
    settings.ValueKind.PORT: values.port,
    settings.ValueKind.LABEL: values.label,
    settings.ValueKind.NAMESPACE: values.namespace,
    settings.ValueKind.SELECTOR: _selector,
    settings.ValueKind.GROUP_KIND: values.group_kind,
    settings.ValueKind.PATTERN: values.pattern,
    settings.ValueKind.PROXY_URL: values.proxy_url,
    settings.ValueKind.STATUS: values.status,
}
_SECTIONS: dict[type, str] = {
    kind: f"{settings.key_of(name)}."
    for name, kind in get_type_hints(settings.Settings).items()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type)
} | {
    settings.EndpointSettings: "endpoint.",
    settings.Retry: "endpoint.retry.",
    settings.BreakerSettings: "endpoint.breaker.",
    settings.Park: "endpoint.park.",
    settings.Tls: "endpoint.tls.",
    settings.ProxySettings: "endpoint.proxy.",
}


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _bounds(allowed: settings.Allowed) -> str:
    low = allowed.least if allowed.above is None else allowed.above
    words = (
        [] if low is None else [f"{'more than' if allowed.above is not None else 'at least'} {_shown(low, allowed)}"]
    )
    words += [] if allowed.most is None else [f"at most {_shown(allowed.most, allowed)}"]
    return " and ".join(words)


def _shown(value: float, allowed: settings.Allowed) -> str:
    return values.format_duration(value) if allowed.kind is settings.ValueKind.DURATION else f"{value:.12g}"


def _sentence(problem: ErrorDetails, path: Sequence[object]) -> str:
    """Return the message for one problem, with its path as the file has it: path, value, allowed values."""
    kind, where = problem["type"], _dotted(path)
    if kind == "extra_forbidden":
        return f"{where}: no such key{_nearest(problem['loc'])}"
    if kind == "missing":
        return f"{where}: required"
    if kind == "too_short":
        return f"{where}: at least one is required"
    message = str(problem.get("ctx", {}).get("error", "")) or _words(problem)
    value = problem["input"]
    if isinstance(value, dict | list | tuple) or _MASKED in path or not _is_shown(path):
        return f"{where}: {message}"
    return f"{where}: {repr(_masked(str(value))) if path[-1] == 'url' else _quoted(value)} {message}"


def _is_shown(path: Sequence[object]) -> bool:
    """Return False where a secret may stand by mistake: a URL in place of a mapping, a secret in place of its file."""
    if path[-1] == "proxy" or not _MAY_SHOW_SECRETS.isdisjoint(path):
        return False
    return list(path) not in (["endpoint"], ["endpoints"]) and not (path[0] == "endpoints" and len(path) == 2)


def _is_consequence(problem: ErrorDetails) -> bool:
    """Return True if a list is too short only because its items are invalid, which other messages report."""
    return problem["type"] == "too_short" and bool(problem["input"])


def _words(problem: ErrorDetails) -> str:
    kinds = {"int": "must be an integer", "float": "must be a number", "bool": "must be true or false"}
    kinds |= {
        "string": "must be text",
        "tuple": "must be a list",
        "dict": "must be a mapping",
        "model": "must be a mapping",
    }
    return kinds.get(problem["type"].partition("_")[0], str(problem["msg"]))


def _masked(url: str) -> str:
    """Return a URL without the parts that may be secret: user info and query."""
    user_info, at, rest = url.rpartition("@")
    scheme = re.match(r"[a-zA-Z]*:?/{0,2}", user_info)
    shown = (f"{scheme[0] if scheme else ''}***@{rest}" if at else url).partition("?")[0]
    return "".join(char if char.isprintable() else "?" for char in shown)[:_LONGEST_SHOWN]


def _quoted(value: object) -> str:
    return repr(_masked(value)) if isinstance(value, str) and "://" in value else _cut(value)


def _cut(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _dotted(path: Sequence[object]) -> str:
    text = ""
    for part in path:
        name = str(part).partition("?")[0]  # drop the query of a URL that was read as a key
        word = "".join(char if char.isprintable() else "?" for char in name[:_LONGEST_SHOWN])
        text += f"[{part}]" if isinstance(part, int) else f".{word}"
    return text.removeprefix(".")


def _nearest(path: Sequence[object]) -> str:
    """Return a hint at the nearest key of the same section, else the known keys."""
    wrong = str(path[-1])
    here = _keys_at(path[:-1])
    lower = {key.lower(): key for key in here}
    if near := difflib.get_close_matches(wrong.lower(), lower, n=1, cutoff=0.6):
        return f"; did you mean {lower[near[0]]}?"
    return f"; known keys: {', '.join(sorted(here))}" if here else ""


def _keys_at(path: Sequence[object]) -> list[str]:
    kind: type = settings.Settings
    for part in path:
        if isinstance(part, int):
            continue
        hints = {settings.key_of(name): hint for name, hint in get_type_hints(kind).items()}
        hint = hints[str(part)]
        kind = get_args(hint)[0] if get_origin(hint) is tuple else hint
    keys = [settings.key_of(one.name) for one in dataclasses.fields(kind)]
    return [*keys, "endpoint"] if kind is settings.Settings else keys
