"""The tables of docs/configuration.md, one for each section.

Everything outside of the two marks is left as it stands.
"""

from pathlib import Path

from beacon.configuration import settings
from beacon.dev.reference import keys

PATH = Path(__file__).parents[3] / "docs" / "configuration.md"

_BEGIN = "<!-- made by `make schema` from here on -->\n"
_END = "<!-- up to here -->\n"


def renewed(text: str) -> str:
    """Put the tables of now into the page.

    Raises:
        ValueError: the page has no marks to put them between.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PATH.name} has lost the marks between which the tables stand")
    return before + begin + "\n" + tables() + "\n" + end + after


def tables() -> str:
    """Render all keys."""
    return "\n".join(_table(section) for section in keys.walk(keys.tree()) if section.keys)


def _table(section: keys.Section) -> str:
    title = f"{section.path}[]" if section.many else section.path
    lines = [f"### `{title}`", "", "| key | type | default | range | effect |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(_row(key) for key in section.keys)]) + "\n"


def _row(key: keys.Key) -> str:
    return f"| `{key.name}` | {keys.written(key)} | {_default(key)} | {_range(key)} | {key.effect} |"


def _default(key: keys.Key) -> str:
    if key.required:
        return "required"
    if key.default in ("", (), {}):
        return "empty"
    if isinstance(key.default, bool):
        return f"`{str(key.default).lower()}`"
    return f"`{key.default}`" if isinstance(key.default, str) else f"`{keys.shown(key, key.default)}`"


def _range(key: keys.Key) -> str:
    allowed = key.allowed
    if allowed.one_of:
        return ", ".join(f"`{word}`" for word in allowed.one_of)
    if allowed.kind is settings.ValueKind.PORT:
        return "1 to 65535"
    if allowed.most is None:
        return ""
    low = f"above {keys.shown(key, allowed.above)}" if allowed.above is not None else ""
    least = keys.shown(key, allowed.least) if allowed.least is not None else ""
    return f"{low or least} to {keys.shown(key, allowed.most)}"
