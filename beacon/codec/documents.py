"""YAML to plain values and back, as `beacon.codec` promises it; apart from it because it is read when it is needed."""

import re
from typing import Any

import yaml

from beacon.codec import refusing


def load(text: str) -> Any:
    """Parse one document; see `codec.load_yaml`."""
    return _load(text, _Loader)


def load_text(text: str) -> Any:
    """Parse one document whose scalars stay text; see `codec.load_yaml_text`."""
    return _load(text, _TextLoader)


def dump(value: object) -> str:
    """Render a plain value; see `codec.dump_yaml`."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _load(text: str, loader: type[yaml.SafeLoader]) -> Any:
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506  both are SafeLoaders
    except yaml.MarkedYAMLError as error:
        raise refusing.DecodeError(_located(error)) from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # What a wrong tag such as !!int makes of a value; the text is not repeated, it may be a secret.
        raise refusing.DecodeError(f"a value is not what its tag says ({type(error).__name__})") from error


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a repeated key."""

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
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
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


def _located(error: yaml.MarkedYAMLError) -> str:
    """Say what is wrong and where, without the words that YAML quotes from the text: they may be a secret."""
    what = " ".join(part for part in (error.context, error.problem) if part) or "not YAML"
    if isinstance(error, yaml.constructor.ConstructorError | yaml.composer.ComposerError):
        what = what if what.startswith("the key") or "a key must" in what else "a tag, an anchor or an alias is wrong"
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what
