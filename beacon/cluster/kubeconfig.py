"""Reads a kubeconfig as kubectl does: one or several files, the current context, its cluster and its user.

Pure apart from reading the files. Unsupported settings are rejected with a message; no message repeats a value that may
be a secret. The structure is that of `client.k8s.io/v1` (k8s.io/client-go/tools/clientcmd/api/v1).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from beacon import codec, errors
from beacon.boundary import files

_LONGEST = 16 * 1024 * 1024  # bytes; it may contain certificates
_API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_INSTEAD = "use exec, token, tokenFile or a client certificate"


class KubeconfigCluster(msgspec.Struct, rename="kebab", kw_only=True):
    """A cluster. `server` and the file paths are as written; relative paths start at `base`."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    base: str = ""
    extensions: Any = None


class Variable(msgspec.Struct):
    """An environment variable of a plugin."""

    name: str
    value: str = ""


class Exec(msgspec.Struct, rename="camel", kw_only=True):
    """An exec plugin that returns credentials."""

    command: str = ""
    api_version: str = ""
    args: list[str] = []
    env: list[Variable] = []
    install_hint: str = ""
    interactive_mode: str = ""
    provide_cluster_info: bool = False


class _AuthProvider(msgspec.Struct):
    name: str = ""


class KubeconfigUser(msgspec.Struct, rename="kebab", kw_only=True):
    """A user: at most one of token, plugin and password is used, in this order, together with a client certificate."""

    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    exec: Exec | None = None
    auth_provider: _AuthProvider | None = None
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    as_user: str = msgspec.field(name="as", default="")
    as_uid: str = ""
    as_groups: list[str] = []
    as_user_extra: dict[str, list[str]] = {}
    base: str = ""


class _Context(msgspec.Struct):
    cluster: str = ""
    user: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: KubeconfigCluster = msgspec.field(default_factory=KubeconfigCluster)


class _NamedUser(msgspec.Struct):
    name: str
    user: KubeconfigUser = msgspec.field(default_factory=KubeconfigUser)


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context = msgspec.field(default_factory=_Context)


class _File(msgspec.Struct, rename="kebab", kw_only=True):
    current_context: str = ""
    clusters: list[_NamedCluster] = []
    users: list[_NamedUser] = []
    contexts: list[_NamedContext] = []


class Chosen(msgspec.Struct, kw_only=True):
    """The cluster and the user of the current context, and the user's name for messages."""

    cluster: KubeconfigCluster
    user: KubeconfigUser
    user_name: str


def read(paths: str, context: str = "") -> Chosen:
    """Read the files in KUBECONFIG; if several define the same name, the first definition counts.

    `context` is chosen in place of the current context.

    Raises:
        errors.ConfigError: the files can't be used, or contain an unsupported setting.
    """
    found = [_read_file(Path(path).expanduser()) for path in paths.split(os.pathsep) if path]
    present = [file for file in found if file is not None]
    if not present:
        raise errors.ConfigError([f"KUBECONFIG {paths} can't be used: there is no such file"])
    try:
        return _choose(present, context)
    except errors.ConfigError as error:
        raise errors.ConfigError(
            [f"KUBECONFIG {paths} can't be used: {problem}" for problem in error.problems]
        ) from error


def extension(cluster: KubeconfigCluster, name: str) -> object:
    """Return the value of a cluster's extension, or None if it is absent."""
    entries = cluster.extensions if isinstance(cluster.extensions, list) else []
    found = [entry.get("extension") for entry in entries if isinstance(entry, dict) and entry.get("name") == name]
    return found[0] if found else None


def _read_file(path: Path) -> _File | None:
    """Read one file; return None if it does not exist, because kubectl skips it, too."""
    from beacon.codec import documents  # noqa: PLC0415  not needed within a pod

    try:
        text = files.read_text(path, most_bytes=_LONGEST)
        plain = documents.load_text(text)
        if not isinstance(plain, dict):
            raise errors.ConfigError(
                [f"KUBECONFIG {path} can't be used: it is no mapping of clusters, users, contexts"]
            )
        parsed = msgspec.convert(_without_nulls(plain), _File, strict=False)
        _locate(parsed, str(path.absolute().parent), documents.load(text))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise errors.ConfigError([f"KUBECONFIG {path} can't be used: {why}"]) from error
    except codec.DecodeError as error:
        raise errors.ConfigError([f"KUBECONFIG {path} can't be used: it is not YAML: {error}"]) from error
    except msgspec.ValidationError as error:
        raise errors.ConfigError([f"KUBECONFIG {path} can't be used: {_one_line(error)}"]) from error
    return parsed


def _without_nulls(value: object) -> object:
    """Remove null values: kubectl treats them as absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value if each is not None]
    return value


def _locate(parsed: _File, base: str, typed: Mapping[str, Any]) -> None:
    """Record the file's directory, and the clusters' extensions with the types of their values."""
    extensions = {entry.get("name"): entry.get("cluster") or {} for entry in typed.get("clusters") or ()}
    for cluster in parsed.clusters:
        cluster.cluster.base = base
        cluster.cluster.extensions = extensions.get(cluster.name, {}).get("extensions")
    for user in parsed.users:
        user.user.base = base


def _choose(found: list[_File], wanted: str) -> Chosen:
    name = wanted or next((file.current_context for file in found if file.current_context), "")
    if not name:
        raise errors.ConfigError(["it names no current-context"])
    context = next((each.context for file in found for each in file.contexts if each.name == name), None)
    if context is None:
        names = ", ".join(dict.fromkeys(each.name for file in found for each in file.contexts)) or "none"
        what = f"it has no context {name!r}" if wanted else f"its current-context {name!r} does not exist"
        raise errors.ConfigError([f"{what}; its contexts: {names}"])
    cluster = next((each.cluster for file in found for each in file.clusters if each.name == context.cluster), None)
    if cluster is None:
        raise errors.ConfigError([f"the cluster {context.cluster!r} of context {name!r} does not exist"])
    user = next((each.user for file in found for each in file.users if each.name == context.user), None)
    if user is None and context.user:
        raise errors.ConfigError([f"the user {context.user!r} of context {name!r} does not exist"])
    chosen = Chosen(cluster=cluster, user=user or KubeconfigUser(), user_name=context.user)
    if problems := [*_problems_of_user(chosen.user, context.user), *_problems_of_plugin(chosen.user, context.user)]:
        raise errors.ConfigError(problems)
    return chosen


def _problems_of_user(user: KubeconfigUser, name: str) -> list[str]:
    problems = []
    if user.auth_provider is not None:
        problems.append(
            f"user {name!r} has auth-provider {user.auth_provider.name!r}, which is not supported: {_INSTEAD}"
        )
    if (user.as_uid or user.as_groups or user.as_user_extra) and not user.as_user:
        problems.append(f"user {name!r} has as-uid, as-groups or as-user-extra without `as`")
    if bool(user.client_certificate or user.client_certificate_data) != bool(user.client_key or user.client_key_data):
        problems.append(f"user {name!r}: client-certificate and client-key go together")
    return problems


def _problems_of_plugin(user: KubeconfigUser, name: str) -> list[str]:
    plugin, who = user.exec, f"the exec plugin of user {name!r}"
    if plugin is None:
        return []
    problems = []
    if not plugin.command or "\0" in plugin.command:
        problems.append(f"{who} has no command")
    if plugin.api_version not in _API_VERSIONS:
        problems.append(f"{who} has apiVersion {plugin.api_version!r}: one of {', '.join(_API_VERSIONS)} is supported")
    if plugin.interactive_mode == "Always":
        problems.append(f"{who} has interactiveMode Always, but Beacon has no terminal: it must run without one")
    elif plugin.interactive_mode not in ("", "Never", "IfAvailable"):
        problems.append(f"{who} has interactiveMode {plugin.interactive_mode!r}: use Never or IfAvailable")
    if any(not each.name or set("=\0") & set(each.name) or "\0" in each.value for each in plugin.env):
        problems.append(f"{who} has a variable in env whose name or value can't be passed on")
    if any("\0" in each for each in plugin.args):
        problems.append(f"{who} has an argument that can't be passed on")
    return problems


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
