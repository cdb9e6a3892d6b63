"""Conversion between YAML and plain values: the safe subset of YAML, limited in depth and size.

A repeated key in a mapping is an error, because the second value would silently win.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any

import yaml

from beacon.codec import DecodeError

_DEEPEST = 64  # levels; a configuration has 5, a kubeconfig 6
_LARGEST = 4 * 1024 * 1024  # characters, with all aliases expanded
_ENDLESS = (_LARGEST + 1, _DEEPEST + 1)
_LONGEST_SHOWN = 60
_WRONG_VALUE = "a value does not match its tag"


def load(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        DecodeError: the text is not YAML, has several documents, or repeats a key; the message states line and column.
    """
    return _load(text, _Loader)


def load_text(text: str) -> Any:
    """Parse one YAML document; every scalar except null stays text.

    `values: [true]` yields the text "true", and `version: 1.10` keeps its zero, for a reader that knows the types.

    Raises:
        DecodeError: as `load`.
    """
    return _load(text, _TextLoader)


def read_text(text: str) -> tuple[Any, list[str]]:
    """Parse one YAML document as `load_text`, but collect the problems. Return the readable part, None if none is.

    A repeated key, a value with a wrong tag and a second document are ignored after they were noted. An error of the
    syntax ends the reading: what follows it can't be known.
    """
    problems: list[str] = []
    try:
        return _load(text, lambda stream: _CollectingLoader(stream, problems)), list(dict.fromkeys(problems))
    except DecodeError as error:
        return None, [*dict.fromkeys(problems), str(error)]


def dump(value: object, *, ascii_only: bool = False) -> str:
    """Render a plain value as block-style YAML in its own order; text is read as text by YAML 1.1 and 1.2 parsers."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only, width=120)
    return text


def _load(text: str, loader: Callable[[str], "_Loader"]) -> Any:
    try:
        return yaml.load(text, Loader=loader)  # type: ignore[arg-type]  # noqa: S506  all are SafeLoaders
    except yaml.MarkedYAMLError as error:
        raise DecodeError(_located(error)) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = f"line {before.count(chr(10)) + 1}, column {error.position - before.rfind(chr(10))}"
        character = "a NUL" if error.character == 0 else f"the character U+{error.character:04X}"
        raise DecodeError(f"{place}: {character} is not allowed in YAML") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise DecodeError(f"a value does not match its tag ({type(error).__name__})") from error


class _Loader(yaml.SafeLoader):
    """A SafeLoader that rejects repeated keys, deep nesting and exponential growth through aliases."""

    _depth = 0

    def get_single_node(self) -> yaml.Node | None:
        """Compose the document, and check its size before any value is constructed."""
        node = super().get_single_node()
        if node is not None:
            _measure(node)
        return node

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node, or raise if it is nested too deeply: composing, constructing and validating are recursive."""
        if self._depth >= _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"nested more than {_DEEPEST} levels deep", problem_mark=mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:  # noqa: FBT001, FBT002
        """Construct a value. An error states the position of a mistagged value, not the value: it may be a secret."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise yaml.MarkedYAMLError(problem=_WRONG_VALUE, problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:  # noqa: FBT001, FBT002
        """Construct a mapping; raise if a key occurs twice."""
        seen: set[object] = set()
        kept = []
        for key_node, value_node in node.value:
            if key_node.tag != "tag:yaml.org,2002:merge":
                key = self.construct_object(key_node, deep=True)
                if problem := _problem_of_key(key, seen):
                    self.report(yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark))
                    continue
                seen.add(key)
            kept.append((key_node, value_node))
        node.value = kept
        built: dict[object, object] = super().construct_mapping(node, deep=deep)
        return built

    def report(self, error: yaml.MarkedYAMLError) -> None:
        """Handle a problem that does not prevent the reading of the rest; raises it here."""
        raise error


class _Dumper(yaml.SafeDumper):
    """Quotes text that any reader would parse as another type."""


# PyYAML writes these texts without quotes; kubectl would read a namespace `n` as false and `1e3` as a number.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]$"), list("yYnN"))
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.?[0-9][0-9_.]*[eE][-+]?[0-9]+|0o[0-7]+)$"), list("-+.0123456789")
)


class _TextLoader(_Loader):
    """Resolves only null; every other scalar is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own attribute
        first: [
            (tag, pattern) for tag, pattern in pairs if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
        ]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _CollectingLoader(_TextLoader):
    """Collects the problems that do not prevent the reading of the rest."""

    def __init__(self, stream: str, problems: list[str]) -> None:
        """Read a text; append its problems to `problems`."""
        super().__init__(stream)
        self._problems = problems
        self._document: yaml.Node | None = None
        self._failed: set[int] = set()

    def report(self, error: yaml.MarkedYAMLError) -> None:
        """Note a problem."""
        self._problems.append(_located(error))

    def compose_document(self) -> yaml.Node | None:
        """Compose a document, and keep it in case that another one follows."""
        self._document = super().compose_document()
        return self._document

    def get_single_node(self) -> yaml.Node | None:
        """Compose the first document."""
        try:
            return super().get_single_node()
        except yaml.composer.ComposerError as error:
            if self._document is None or error.problem != _ANOTHER:
                raise
            self.report(error)
            _measure(self._document)
            return self._document

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:  # noqa: FBT001, FBT002
        """Construct a value; one that can't be is noted once, and empty."""
        if id(node) in self._failed:
            return None
        try:
            return super().construct_object(node, deep=deep)
        except yaml.MarkedYAMLError as error:
            self._failed.add(id(node))
            self.report(error)
            return None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:  # noqa: FBT001, FBT002
        """Construct a mapping; one with a wrong merge is noted, and empty."""
        try:
            return super().construct_mapping(node, deep=deep)
        except yaml.MarkedYAMLError as error:
            self.report(error)
            return {}


def _problem_of_key(key: object, seen: set[object]) -> str:
    if not isinstance(key, str | int | float | bool | None):
        return "a key must be a plain value"
    return f"duplicate key {_short(key)}" if key in seen else ""


def _measure(root: yaml.Node) -> None:
    """Raise if the document, with all aliases expanded, is too large, too deep or endless."""
    known: dict[int, tuple[int, int]] = {}

    def measure(node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            return 1 + len(node.value), 1
        if id(node) not in known:
            known[id(node)] = _ENDLESS  # stays if the node contains itself
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
        return "an alias refers to a node that contains it"
    return f"nested more than {_DEEPEST} levels deep" if depth > _DEEPEST else "repeated aliases make it too large"


def _short(key: object) -> str:
    shown = repr(key)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def _located(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong and where, without text quoted from the document, which may be a secret."""
    mark = error.problem_mark or error.context_mark
    what = _plain(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what


def _plain(error: yaml.MarkedYAMLError) -> str:
    what = " ".join(part for part in (error.context, error.problem) if part) or "not YAML"
    if not isinstance(error, yaml.constructor.ConstructorError | yaml.composer.ComposerError):
        return what
    return next((plain for words, plain in _PLAIN.items() if words in what), "a tag, an anchor or an alias is wrong")


_ANOTHER = "but found another document"
# Parts of PyYAML's messages, and the messages that replace them.
_PLAIN = {
    _ANOTHER: "a second document starts here; only one is allowed",
    "undefined alias": "an alias refers to an undefined anchor",
    "duplicate anchor": "duplicate anchor",
    "could not determine a constructor": "unknown tag",
    "for merging": "<< requires a mapping or a list of mappings",
    "recursive": "an alias refers to a node that contains it",
    "unhashable key": "a key must be a plain value",
}
