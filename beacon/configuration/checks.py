"""Checks that involve several values. Pure: returns the tree, with values corrected that the Go Beacon accepts."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import beacon
from beacon.boundary import proxies
from beacon.configuration import auth_checks, configured_scopes, settings, values
from beacon.domain import rules, selection

# Whole values must match. The JSON Schema for editors (`beacon.dev.reference`) uses the same patterns.
API_VERSION = r"([a-z0-9.-]+/)?v[a-z0-9]+"
KIND = r"[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
PLURAL = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
TYPE_PREFIX = r"[A-Za-z0-9._-]{1,253}"
VERSION = r"[\x21-\x7e]{1,64}"
SOURCE = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+"
CLUSTER_NAME = r"[A-Za-z0-9\-._~]{1,253}"
ANNOTATION = r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9][-A-Za-z0-9_.]{0,62}"
REFUSED_GROUP = "project.openshift.io/"

_SHARE_OF_INTERVAL = 0.9
_SHORTEST_BACKUP_S = 1.0
MOST_ENDPOINTS = 32


def check(
    tree: settings.Settings, invalid: Collection[str] = (), endpoints: Sequence[str] = ("endpoint",)
) -> list[str]:
    """Check the values against each other, and return all problems.

    `invalid` are the paths of values that are invalid by themselves, in whose place `tree` holds others. `endpoints`
    are the paths of the endpoints.
    """
    problems = _endpoints(tree, invalid, endpoints)
    problems += [*_paths(tree, invalid), *_order(tree), *_storage(tree), *_backup(tree.backup, invalid)]
    by_kind: dict[tuple[str, str], list[settings.ResourceSettings]] = {}
    for index, one in enumerate(tree.resources):
        where = f"resources[{index}]"
        found = _resource(one, where, invalid)
        problems += found
        if not found and not any(path == where or path.startswith(f"{where}.") for path in invalid):
            by_kind.setdefault((rules.group_of(one.api_version), one.kind), []).append(one)
    for entries in by_kind.values():
        try:
            configured_scopes.of(replace(tree, resources=tuple(entries)))
        except rules.RuleError as error:
            problems += [f"resources: {problem}" for problem in error.problems]
    return problems


def _resource(one: settings.ResourceSettings, where: str, invalid: Collection[str]) -> list[str]:
    problems = []
    if one.api_version.startswith(REFUSED_GROUP):
        problems.append(
            f"{where}.apiVersion: {one.api_version} shows only what the service account may see;"
            " use apiVersion v1, kind Namespace"
        )
    if not re.fullmatch(API_VERSION, one.api_version):
        problems.append(f"{where}.apiVersion: {one.api_version!r} must be an API version such as v1 or apps/v1")
    if not re.fullmatch(KIND, one.kind):
        problems.append(f"{where}.kind: {one.kind!r} must be a kind such as Deployment")
    if one.resource and not re.fullmatch(PLURAL, one.resource):
        problems.append(f"{where}.resource: {one.resource!r} must be a plural such as deployments")
    namespaces = one.namespaces or f"{where}.namespaces" in invalid
    if namespaces and (one.exclude_namespaces or f"{where}.excludeNamespaces" in invalid):
        problems.append(f"{where}.excludeNamespaces: can't be combined with namespaces")
    return problems


def _endpoints(tree: settings.Settings, invalid: Collection[str], paths: Sequence[str]) -> list[str]:
    problems: list[str] = []
    if len(tree.endpoints) > MOST_ENDPOINTS:
        problems.append(f"endpoints: {len(tree.endpoints)} are too many; at most {MOST_ENDPOINTS} are possible")
    names: dict[str, str] = {}
    known = not any(path.startswith("resources") for path in invalid)
    kinds = _kinds(tree) if known else frozenset()
    for path, one in zip(paths, tree.endpoints, strict=True):
        problems += [*_tls(one.tls, path, invalid), *_proxy(one.proxy, f"{path}.proxy", invalid)]
        problems += _unknown_kinds(one, path, kinds) if known else ()
        problems += auth_checks.problems(one, path, invalid)
        if len({name.lower() for name in one.headers}) < len(one.headers):
            problems.append(f"{path}.headers: two names differ only in case")
        if f"{path}.name" not in invalid and (first := names.setdefault(one.name, path)) != path:
            problems.append(f"{path}.name: {one.name!r} is the name of {first}, too; names must be unique")
    return problems


def _kinds(tree: settings.Settings) -> frozenset[str]:
    return frozenset(selection.kind_of(rules.group_of(one.api_version), one.kind) for one in tree.resources)


def _unknown_kinds(one: settings.EndpointSettings, path: str, known: Collection[str]) -> Iterator[str]:
    listed = ", ".join(sorted(known))
    for section, kinds in (("select", one.select.kinds), ("exclude", one.exclude.kinds)):
        for place, kind in enumerate(kinds):
            if kind not in known:
                yield f"{path}.{section}.kinds[{place}]: {kind!r} is the kind of no entry of resources ({listed})"


def _tls(tls: settings.Tls, path: str, invalid: Collection[str]) -> list[str]:
    has_certificate = bool(tls.cert_file) or f"{path}.tls.certFile" in invalid
    if has_certificate != (bool(tls.key_file) or f"{path}.tls.keyFile" in invalid):
        return [f"{path}.tls: certFile and keyFile must be set together"]
    return []


def _proxy(proxy: settings.ProxySettings, path: str, invalid: Collection[str]) -> Iterator[str]:
    """Yield the problems of a configured proxy's credentials."""
    if path in invalid or f"{path}.url" in invalid:
        return
    has_user = bool(proxy.username) or f"{path}.username" in invalid
    has_password = bool(proxy.password_file) or f"{path}.passwordFile" in invalid
    if not proxy.is_configured:
        if has_user or has_password:
            yield f"{path}.url: required"
        return
    is_socks = proxy.url.startswith("socks")
    if has_password and not has_user:
        yield f"{path}.username: required by passwordFile"
    elif is_socks and has_user and not has_password:
        yield f"{path}.passwordFile: required by the username of a SOCKS proxy"
    if problem := proxies.problem_of_user(proxy.username, is_socks=is_socks):
        yield f"{path}.username: {problem}"


def _paths(tree: settings.Settings, invalid: Collection[str]) -> list[str]:
    if any(path.partition(".")[0] in ("health", "metrics") for path in invalid):
        return []
    taken = [(tree.health.port, tree.health.liveness_path), (tree.health.port, tree.health.readiness_path)]
    taken += [(tree.metrics.port, tree.metrics.path)] if tree.metrics.enabled else []
    if len(set(taken)) < len(taken):
        return ["health, metrics: livenessPath, readinessPath and path must differ on one port"]
    return []


def _order(tree: settings.Settings) -> list[str]:
    source = tree.cloud_events.source
    problems = []
    if not re.fullmatch(TYPE_PREFIX, tree.cloud_events.type_prefix):
        problems.append("cloudEvents.typePrefix: must consist of letters, digits, -, . and _")
    if tree.app.version and not re.fullmatch(VERSION, tree.app.version):
        problems.append("app.version: must be at most 64 visible ASCII characters, it is sent in User-Agent")
    if not re.fullmatch(SOURCE, source):
        problems.append(f"cloudEvents.source: {source!r} must be a URI reference")
    if tree.app.cluster_name and not re.fullmatch(CLUSTER_NAME, tree.app.cluster_name):
        problems.append(f"app.clusterName: {tree.app.cluster_name!r} must consist of letters, digits, -, . and _")
    if not re.fullmatch(ANNOTATION, tree.annotation.key):
        problems.append(f"annotation.key: {tree.annotation.key!r} must be an annotation's name")
    return problems


def _storage(tree: settings.Settings) -> list[str]:
    path, volume = tree.storage.db_path, tree.storage.volume_path
    problems = []
    if not path.startswith("/") or "\0" in path:
        problems.append(f"storage.dbPath: {path!r} must be an absolute path")
    if "\0" in volume:
        problems.append(f"storage.volumePath: {volume!r} must be a path")
    return problems


def _backup(backup: settings.BackupSettings, invalid: Collection[str]) -> Iterator[str]:
    if 0 < backup.interval_s < _SHORTEST_BACKUP_S:
        yield f"backup.interval: {values.format_duration(backup.interval_s)} must be 0s (off), or at least 1s"
    is_on = bool(backup.interval_s) or "backup.interval" in invalid
    if is_on and not backup.path and "backup.path" not in invalid:
        yield "backup.path: required by interval"
    if backup.path and (not backup.path.startswith("/") or "\0" in backup.path):
        yield f"backup.path: {backup.path!r} must be an absolute path"


def corrected(
    tree: settings.Settings, warnings: list[str], endpoints: Sequence[str] = ("endpoint",)
) -> settings.Settings:
    """Return the tree with values corrected that do not fit each other; add the corrections to `warnings`."""
    reconciliation, storage, app = tree.reconciliation, tree.storage, tree.app
    fitting = tuple(
        _fitting(one, path, tree.worker, warnings) for path, one in zip(endpoints, tree.endpoints, strict=True)
    )
    if reconciliation.timeout_s >= reconciliation.interval_s:
        timeout_s = reconciliation.interval_s * _SHARE_OF_INTERVAL
        reconciliation = replace(reconciliation, timeout_s=timeout_s)
        shown = values.format_duration(timeout_s)
        warnings.append(f"reconciliation.timeout: not shorter than interval; {shown} is used")
    if storage.warning_threshold >= storage.critical_threshold:
        storage = replace(storage, warning_threshold=storage.critical_threshold * _SHARE_OF_INTERVAL)
        warnings.append(f"storage.warningThreshold: not below criticalThreshold; {storage.warning_threshold:g} is used")
    if not storage.volume_path:
        storage = replace(storage, volume_path=str(PurePosixPath(storage.db_path).parent))
    if tree.backup.interval_s and PurePosixPath(tree.backup.path) == PurePosixPath(storage.db_path).parent:
        warnings.append("backup.path: the directory of the ledger; a lost volume takes the backups with it")
    app = app if app.version else replace(app, version=beacon.VERSION)
    return replace(tree, endpoints=fitting, reconciliation=reconciliation, storage=storage, app=app)


def _fitting(
    one: settings.EndpointSettings, path: str, worker: settings.Worker, warnings: list[str]
) -> settings.EndpointSettings:
    retry, one = one.retry, replace(one, concurrency=one.concurrency or worker.concurrency)
    if retry.initial_backoff_s <= retry.max_backoff_s:
        return one
    warnings.append(f"{path}.retry.initialBackoff: longer than maxBackoff; maxBackoff is used for both")
    return replace(one, retry=replace(retry, initial_backoff_s=retry.max_backoff_s))
