"""From the file's text and the environment to the settings, or to the complete list of problems."""

import errno
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon import codec, errors
from beacon.boundary import files, proxies, secret
from beacon.codec import documents
from beacon.configuration import auth_checks, checks, settings, tree

_DEFAULT_PATH = "/config/config.yaml"
_ONLY_ENDPOINT = ("ENDPOINT_URL", "ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE")
LARGEST_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings and the warnings, one line each."""

    settings: settings.Settings
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """All problems and warnings of a configuration, one line each. The tree is valid if there is no problem.

    With problems it holds defaults instead of the invalid values; None if nothing of the file could be read.
    """

    tree: settings.Settings | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def load(environ: Mapping[str, str]) -> Loaded:
    """Read the file that `CONFIG_PATH` names, apply the overrides from the environment, and validate.

    Raises:
        errors.ConfigError: the configuration is invalid; holds all problems, one line each.
    """
    return _required(inspect(environ))


def parse(text: str, environ: Mapping[str, str], *, name: str = "the configuration") -> Loaded:
    """Validate the text of a configuration file.

    Raises:
        errors.ConfigError: the configuration is invalid; holds all problems, one line each.
    """
    return _required(inspect_text(text, environ, name))


def path_of(environ: Mapping[str, str]) -> Path:
    """Return the path of the configuration file."""
    return Path(environ.get("CONFIG_PATH") or _DEFAULT_PATH)


def inspect(environ: Mapping[str, str]) -> Inspected:
    """Read the file that `CONFIG_PATH` names, and collect the problems of the file and of the environment."""
    path = path_of(environ)
    try:
        text = _read(path)
    except errors.ConfigError as error:
        return _unreadable(environ, error.problems)
    return inspect_text(text, environ, str(path))


def _required(inspected: Inspected) -> Loaded:
    if inspected.problems or inspected.tree is None:
        raise errors.ConfigError(inspected.problems)
    return Loaded(settings=inspected.tree, warnings=inspected.warnings)


def inspect_text(text: str, environ: Mapping[str, str], name: str) -> Inspected:
    """Collect the problems of a configuration and of the environment; `name` is the text's name in messages."""
    if len(text) > LARGEST_FILE:
        return _unreadable(environ, [f"{name} is larger than 1 MiB: is it the configuration?"])
    content, found = documents.read_text(text)
    problems = [f"{name} is not YAML: {problem}" for problem in found]
    if not isinstance(content, dict):
        if content is not None:
            problems.append(f"{name} must be a mapping of keys such as resources and endpoint")
        return _unreadable(environ, problems or [f"{name} is empty: at least resources and endpoint.url are needed"])
    if not all(map(_is_unicode, _texts(content))):
        problems.append(f"{name} holds text that is not Unicode (a lone surrogate)")
        content = _replaced(content)
    if not _is_plain(content):
        problems.append(f"{name} {_NOT_PLAIN}")
        return _unreadable(environ, problems)
    _override(content, environ)
    built = tree.build(content)
    problems += built.problems
    if built.tree is None:
        return _unreadable(environ, problems)
    problems += checks.check(built.tree, built.invalid, built.endpoints)
    urls = [
        None if _has_own_way(one, path, built.invalid) else "" if built.invalid & {path, f"{path}.url"} else one.url
        for path, one in zip(built.endpoints, built.tree.endpoints, strict=True)
    ]
    problems += _problems_of_environment(environ, *urls)
    problems += auth_checks.problems_with_environment(built.tree.endpoints, built.endpoints, environ)
    if problems:
        return Inspected(tree=built.tree, problems=tuple(problems), warnings=built.warnings)
    warnings = list(built.warnings)
    made = checks.corrected(built.tree, warnings, built.endpoints)
    return Inspected(tree=made, warnings=tuple(warnings))


def _unreadable(environ: Mapping[str, str], problems: Sequence[str]) -> Inspected:
    return Inspected(problems=(*problems, *_problems_of_environment(environ, "")))


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


_NOT_PLAIN = "is nested too deeply, or has a key that is not text or a value with a tag such as !!binary or !!set"


def _is_plain(content: object) -> bool:
    try:
        codec.encode(content)
    except TypeError:
        return False
    return True


def _replaced(content: Any) -> Any:
    """Return the content with a question mark for each lone surrogate."""
    if isinstance(content, str):
        return content.encode(errors="replace").decode()
    if isinstance(content, dict):
        return {_replaced(key): _replaced(value) for key, value in content.items()}
    return [_replaced(item) for item in content] if isinstance(content, list) else content


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


def _has_own_way(one: settings.EndpointSettings, path: str, invalid: Collection[str]) -> bool:
    """Return True if an endpoint does not use the environment's proxy."""
    is_known = not any(f"{path}.proxy".startswith(each) or each.startswith(f"{path}.proxy") for each in invalid)
    return is_known and one.proxy.url != settings.PROXY_OF_ENVIRONMENT


def _problems_of_environment(environ: Mapping[str, str], *urls: str | None) -> list[str]:
    """Return the problems with the environment's proxies and token, given the URL of each endpoint.

    None stands for an endpoint that does not use the environment's proxy.
    """
    named = [url for url in urls if url is not None]
    problems = list(dict.fromkeys(problem for url in named for problem in _problems_of_proxy(environ, url)))
    if len(urls) > 1:
        problems += [
            f"{variable}: means the only endpoint, but endpoints has {len(urls)}; remove the variable"
            for variable in _ONLY_ENDPOINT
            if environ.get(variable)
        ]
    token = environ.get("ENDPOINT_AUTH_TOKEN", "")
    if token.strip() and not environ.get("ENDPOINT_AUTH_TOKEN_FILE"):
        try:
            secret.token(token, "ENDPOINT_AUTH_TOKEN")
        except errors.TransientError as error:
            problems.append(str(error))
    return problems


def _problems_of_proxy(environ: Mapping[str, str], url: str) -> Sequence[str]:
    """Return the problems with the proxy of an endpoint.

    Without a valid `url` it is not known which proxy is used; a usual one that no NO_PROXY can exclude is checked.
    """
    if not url and not environ.get("no_proxy", environ.get("NO_PROXY", "")):
        guessed = environ.get("ENDPOINT_URL", "").lower().startswith("http:")
        url = f"{'http' if guessed else 'https'}://placeholder.invalid/"
    try:
        proxies.of_environment(environ, url)
    except errors.ConfigError as error:
        return error.problems
    return ()


def _override(content: dict[str, Any], environ: Mapping[str, str]) -> None:
    if path := environ.get("DB_PATH"):
        _set(content, "storage", "dbPath", path)
    url, entries = environ.get("ENDPOINT_URL"), content.get("endpoints")
    if url and isinstance(entries, list):
        if len(entries) == 1:
            _set(entries, 0, "url", url)
    elif url:
        _set(content, "endpoint", "url", url)


def _set(content: Any, place: Any, key: str, value: str) -> None:
    """Set a key of a section; an absent or empty section is made, one of another type is left to the validator."""
    section = content.get(place) if isinstance(content, dict) else content[place]
    if section is None:
        section = content[place] = {}
    if isinstance(section, dict):
        section[key] = value
