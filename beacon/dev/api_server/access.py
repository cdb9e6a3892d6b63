"""Authentication and authorization: bearer tokens, RBAC objects, and rules that a test sets.

RBAC is evaluated from the stored (Cluster)Roles and bindings, so a manifest can be tested as it is. Rules set from
Python take precedence, to grant or deny single rights. This module must not read request bodies.
"""

import secrets
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from beacon.dev.api_server import routing, state, status

Json = dict[str, Any]

ADMIN_GROUP = "system:masters"
_RBAC = "rbac.authorization.k8s.io"
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_DISCOVERY = ("/api", "/apis", "/openapi")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUser:
    """An authenticated user, or the anonymous one."""

    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = ApiUser(name="system:anonymous", groups=("system:unauthenticated",))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """A right that a test grants or denies; `*` matches everything."""

    allowed: bool
    user: str = "*"
    verbs: tuple[str, ...] = ("*",)
    groups: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    namespaces: tuple[str, ...] = ("*",)

    def covers(self, user: ApiUser, info: routing.Info) -> bool:
        """Return True if this rule applies to the request."""
        return (
            self.user in {"*", user.name}
            and _within(info.verb, self.verbs)
            and _within(info.group, self.groups)
            and _within(info.resource, self.resources)
            and _within(info.namespace, self.namespaces)
        )


class AccessReviewer:
    """Authenticates and authorizes the requests of one cluster. Thread-safe."""

    def __init__(self, store: state.ClusterState) -> None:
        self._state = store
        self._lock = threading.Lock()
        self._tokens: dict[str, ApiUser] = {}
        self._rules: tuple[AccessRule, ...] = ()

    def issue(self, user: str, groups: Iterable[str] = ()) -> str:
        """Create a token for a user, who need not exist, and return it."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._tokens[token] = ApiUser(name=user, groups=(*groups, "system:authenticated", *_implied(user)))
        return token

    def revoke(self, token: str) -> None:
        """Invalidate a token; requests with it are answered with 401."""
        with self._lock:
            self._tokens.pop(token, None)

    def reissue(self, token: str, user: str, groups: Iterable[str] = ()) -> None:
        """Register a specific token, for example one that was revoked."""
        with self._lock:
            self._tokens[token] = ApiUser(name=user, groups=(*groups, "system:authenticated", *_implied(user)))

    def add(self, rule: AccessRule) -> None:
        """Add a rule that takes precedence over all others."""
        with self._lock:
            self._rules = (rule, *self._rules)

    def clear(self) -> None:
        """Remove every rule that was added."""
        with self._lock:
            self._rules = ()

    def authenticate(self, authorization: str) -> ApiUser:
        """Return the user of this Authorization header. Raises 401 for an unknown token."""
        scheme, _, token = authorization.partition(" ")
        if not authorization or scheme.lower() != "bearer":
            return ANONYMOUS
        user = self._tokens.get(token.strip())
        if user is None:
            raise status.unauthorized()
        return user

    def authorize(self, user: ApiUser, info: routing.Info) -> None:
        """Raise 403 if the user may not make this request."""
        if not self.allows(user, info):
            raise forbidden(user, info)

    def allows(self, user: ApiUser, info: routing.Info) -> bool:
        """Return True if the user may make this request."""
        if not info.plural:
            return _may_see(user, info.path)
        if info.plural.startswith("selfsubject") and user is not ANONYMOUS:
            return True  # every authenticated user may review their own access
        for rule in self._rules:
            if rule.covers(user, info):
                return rule.allowed
        return ADMIN_GROUP in user.groups or any(_permits(rule, info) for rule in self._granted(user, info.namespace))

    def _granted(self, user: ApiUser, namespace: str) -> Iterator[Json]:
        with self._state.lock:
            bindings = [*self._state.table((_RBAC, "clusterrolebindings")).objects.values()]
            within = self._state.table((_RBAC, "rolebindings")).objects
            bindings += [stored for key, stored in within.items() if key[0] == namespace]
        for binding in bindings:
            if any(_is_subject(user, subject, binding) for subject in binding.obj.get("subjects") or ()):
                yield from self._rules_of(binding)

    def _rules_of(self, binding: state.Stored) -> list[Json]:
        reference = binding.obj.get("roleRef") or {}
        cluster = reference.get("kind") == "ClusterRole"
        storage = (_RBAC, "clusterroles" if cluster else "roles")
        role = self._state.get(storage, ("" if cluster else binding.key[0], reference.get("name", "")))
        return (role.obj.get("rules") or []) if role else []


def _implied(user: str) -> tuple[str, ...]:
    """Return the groups that a service account belongs to by its name."""
    parts = user.split(":")
    if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4:
        return "system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"
    return ()


def _within(item: str, items: Iterable[str]) -> bool:
    return item in items or "*" in items


def _may_see(user: ApiUser, path: str) -> bool:
    if path.startswith(_PUBLIC) or ADMIN_GROUP in user.groups:
        return True
    return user is not ANONYMOUS and path.startswith(_DISCOVERY)


def _permits(rule: Json, info: routing.Info) -> bool:
    names = rule.get("resourceNames")
    return (
        _within(info.verb, rule.get("verbs") or ())
        and _within(info.group, rule.get("apiGroups") or ())
        and _within(info.resource, rule.get("resources") or ())
        and (not names or info.name in names)
    )


def _is_subject(user: ApiUser, subject: Json, binding: state.Stored) -> bool:
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace') or binding.key[0]}:{name}"
    return name in user.groups if kind == "Group" else name == user.name


def forbidden(user: ApiUser, info: routing.Info) -> status.ApiError:
    """Return the 403 error that names the missing right."""
    if not info.plural:
        message = f'forbidden: User "{user.name}" cannot {info.verb} path "{info.path}"'
        return status.ApiError(403, "Forbidden", message, details={})
    what = f"{status.qualified(info.group, info.plural)}{f' {chr(34)}{info.name}{chr(34)}' if info.name else ''}"
    where = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    message = (
        f'{what} is forbidden: User "{user.name}" cannot {info.verb} resource "{info.resource}" '
        f'in API group "{info.group}" {where}'
    )
    return status.ApiError(403, "Forbidden", message, details=status.of_resource(info.group, info.plural, info.name))
