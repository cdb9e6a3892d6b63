"""From the file's text and the environment to the settings, or to the complete list of problems."""

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon import codec, errors
from beacon.boundary import files, proxies, secret
from beacon.codec import documents
from beacon.configuration import checks, settings, tree

_DEFAULT_PATH = "/config/config.yaml"
_OVERRIDES = {"DB_PATH": ("storage", "dbPath"), "ENDPOINT_URL": ("endpoint", "url")}
LARGEST_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings and the warnings, one line each."""

    settings: settings.Settings
    warnings: tuple[str, ...] = ()


def load(environ: Mapping[str, str]) -> Loaded:
    """Read the file that `CONFIG_PATH` names, apply the overrides from the environment, and validate.

    Raises:
        errors.ConfigError: the configuration is invalid; holds all problems, one line each.
    """
    path = Path(environ.get("CONFIG_PATH") or _DEFAULT_PATH)
    return parse(_read(path), environ, name=str(path))


def parse(text: str, environ: Mapping[str, str], *, name: str = "the configuration") -> Loaded:
    """Validate the text of a configuration file.

    Raises:
        errors.ConfigError: the configuration is invalid; holds all problems, one line each.
    """
    if len(text) > LARGEST_FILE:
        raise errors.ConfigError([f"{name} is larger than 1 MiB: is it the configuration?"])
    try:
        content = documents.load_text(text)
    except codec.DecodeError as error:
        raise errors.ConfigError([f"{name} is not YAML: {error}"]) from error
    if content is None:
        raise errors.ConfigError([f"{name} is empty: at least resources and endpoint.url are needed"])
    if not isinstance(content, dict):
        raise errors.ConfigError([f"{name} must be a mapping of keys such as resources and endpoint"])
    _override(content, environ)
    warnings: list[str] = []
    if odd := _oddity(content):
        raise errors.ConfigError([f"{name} {odd}"])
    built, problems = tree.build(content, warnings)
    if built is None:
        raise errors.ConfigError(problems)
    built, problems = checks.check(built, warnings)
    problems += _problems_of_environment(environ, built.endpoint.url)
    if problems:
        raise errors.ConfigError(problems)
    return Loaded(settings=built, warnings=tuple(warnings))


def _read(path: Path) -> str:
    try:
        data = files.read(path, most_bytes=LARGEST_FILE)
    except OSError as error:
        large = error.errno == errno.EFBIG
        reason = "is larger than 1 MiB: is it the configuration?" if large else f"can't be read: {error.strerror}"
        raise errors.ConfigError([f"{path} {reason}"]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.ConfigError([f"{path} is not UTF-8 text (byte {error.start})"]) from error


def _oddity(content: object) -> str:
    """Return why the content does not consist of plain values, "" if it does."""
    if not all(map(_is_unicode, _texts(content))):
        return "holds text that is not Unicode (a lone surrogate)"
    try:
        codec.encode(content)
    except TypeError:
        return "is nested too deeply, or has a key that is not text or a value with a tag such as !!binary or !!set"
    return ""


def _texts(content: object) -> Iterator[str]:
    """Yield all texts, including keys; an anchor may contain itself."""
    waiting, seen = [content], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list) and id(one) not in seen:
            seen.add(id(one))
            waiting += [*one, *one.values()] if isinstance(one, dict) else one


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problems_of_environment(environ: Mapping[str, str], url: str) -> list[str]:
    """Return the problems with the endpoint's proxy and token in the environment."""
    problems: list[str] = []
    try:
        proxies.of_environment(environ, url)
    except errors.ConfigError as error:
        problems += error.problems
    token = environ.get("ENDPOINT_AUTH_TOKEN", "")
    if token.strip() and not environ.get("ENDPOINT_AUTH_TOKEN_FILE"):
        try:
            secret.token(token, "ENDPOINT_AUTH_TOKEN")
        except errors.TransientError as error:
            problems.append(str(error))
    return problems


def _override(content: dict[str, Any], environ: Mapping[str, str]) -> None:
    for variable, (section, key) in _OVERRIDES.items():
        if value := environ.get(variable):
            if content.get(section) is None:
                content[section] = {}
            if isinstance(content[section], dict):
                content[section][key] = value
