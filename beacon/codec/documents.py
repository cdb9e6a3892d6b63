"""YAML to plain values and back: the safe subset, bounded in depth and size.

A key that stands twice in one mapping is an error, because the second would silently win.
"""

import itertools
import re
from typing import Any

import yaml

from beacon.codec import DecodeError

_DEEPEST = 64  # levels; a configuration has 5, a kubeconfig 6
_LARGEST = 4 * 1024 * 1024  # characters, with every alias in its place
_ENDLESS = (_LARGEST + 1, _DEEPEST + 1)
_LONGEST_SHOWN = 60
_WRONG_VALUE = "a value is not what its tag says"


def load(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        DecodeError: it is not YAML, is more than one document, or repeats a key; states line and column.
    """
    return _load(text, _Loader)


def load_text(text: str) -> Any:
    """Parse one YAML document; every scalar but null stays the text that it is.

    So `values: [true]` is the text "true" and `version: 1.10` keeps its zero, as a typed reader would have it.

    Raises:
        DecodeError: as `load`.
    """
    return _load(text, _TextLoader)


def dump(value: object, *, ascii_only: bool = False) -> str:
    """Render a plain value as block-style YAML in the order given; text stays text for readers of YAML 1.1 and 1.2."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only, width=120)
    return text


def _load(text: str, loader: type["_Loader"]) -> Any:
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506  both are SafeLoaders
    except yaml.MarkedYAMLError as error:
        raise DecodeError(_located(error)) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = f"line {before.count(chr(10)) + 1}, column {error.position - before.rfind(chr(10))}"
        character = "a NUL" if error.character == 0 else f"the character U+{error.character:04X}"
        raise DecodeError(f"{place}: {character} can't stand in YAML") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise DecodeError(f"a value is not what its tag says ({type(error).__name__})") from error


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a repeated key, and what would grow beyond measure: nesting and repeated aliases."""

    _depth = 0

    def get_single_node(self) -> Any:
        """Compose the document, and measure it before a value of it is made."""
        node = super().get_single_node()
        if node is not None:
            _measure(node)
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless it is nested too deeply: composing, constructing and validating recurse."""
        if self._depth >= _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"nested more than {_DEEPEST} levels deep", problem_mark=mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Build a value; one that is not what its tag (`!!int`) says is located, and not quoted: it may be a secret."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise yaml.MarkedYAMLError(problem=_WRONG_VALUE, problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Build a mapping after looking for keys that stand twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.MarkedYAMLError(problem="a key must be a plain value", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {_short(key)} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return built


class _Dumper(yaml.SafeDumper):
    """Puts what looks like another type to any reader in quotes."""


# PyYAML takes these for text and writes them bare; kubectl would read a namespace `n` as false and `1e3` as a number.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]$"), list("yYnN"))
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.?[0-9][0-9_.]*[eE][-+]?[0-9]+|0o[0-7]+)$"), list("-+.0123456789")
)


class _TextLoader(_Loader):
    """Resolves null alone; every other scalar is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own attribute
        first: [
            (tag, pattern) for tag, pattern in pairs if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
        ]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _measure(root: yaml.Node) -> None:
    """Raise if the document, with every alias in its place, is larger or deeper than one may be, or endless."""
    known: dict[int, tuple[int, int]] = {}

    def measure(node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            return 1 + len(node.value), 1
        if id(node) not in known:
            known[id(node)] = _ENDLESS  # until its parts are measured
            pairs = isinstance(node, yaml.MappingNode)
            parts = [measure(part) for part in (itertools.chain(*node.value) if pairs else node.value)]
            known[id(node)] = 1 + sum(size for size, _ in parts), 1 + max((depth for _, depth in parts), default=0)
        size, depth = known[id(node)]
        if depth > _DEEPEST or size > _LARGEST:
            raise yaml.MarkedYAMLError(problem=_excess(size, depth), problem_mark=node.start_mark)
        return size, depth

    measure(root)


def _excess(size: int, depth: int) -> str:
    if (size, depth) == _ENDLESS:
        return "an alias stands within what it stands for"
    return f"nested more than {_DEEPEST} levels deep" if depth > _DEEPEST else "repeated aliases make it too large"


def _short(key: object) -> str:
    shown = repr(key)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def _located(error: yaml.MarkedYAMLError) -> str:
    """Say what is wrong and where, without the words that YAML quotes from the text: they may be a secret."""
    mark = error.problem_mark or error.context_mark
    what = _plain(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what


def _plain(error: yaml.MarkedYAMLError) -> str:
    what = " ".join(part for part in (error.context, error.problem) if part) or "not YAML"
    if not isinstance(error, yaml.constructor.ConstructorError | yaml.composer.ComposerError):
        return what
    return next((plain for words, plain in _PLAIN.items() if words in what), "a tag, an anchor or an alias is wrong")


# What the library says, in part, and what is meant.
_PLAIN = {
    "but found another document": "a second document begins here: one is expected",
    "undefined alias": "an alias names an anchor that does not stand before it",
    "duplicate anchor": "the same anchor stands twice",
    "could not determine a constructor": "a tag that is not known here",
    "for merging": "<< takes a mapping, or a list of mappings",
    "recursive": "an alias stands within what it stands for",
    "unhashable key": "a key must be a plain value",
}
