"""Paths that are not plain objects: service account tokens and access reviews.

kubectl and client libraries use them occasionally. Each has one function; all other paths must go to the general
handlers.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from beacon.dev.api_server import access, clock, kinds, routing, service, state, writing

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialAnswer:
    """The response of a special path."""

    code: int
    body: bytes


async def answer(
    cluster: service.ApiService, request: Request, user: access.ApiUser, kind: kinds.ServedKind, info: routing.Info
) -> SpecialAnswer | None:
    """Answer a special path; return None for any other path."""
    if (kind.plural, info.verb) == ("selfsubjectaccessreviews", "create"):
        sent = writing.body_of(await request.body(), request.headers.get("content-type", ""))
        return _review(cluster, user, sent)
    key = (info.namespace if kind.namespaced else "", info.name)
    if info.resource == "serviceaccounts/token" and info.verb == "create":
        return _token(cluster, kind, key)
    return None


def _review(cluster: service.ApiService, user: access.ApiUser, review: Json) -> SpecialAnswer:
    asked = (review.get("spec") or {}).get("resourceAttributes") or {}
    info = routing.Info(
        verb=asked.get("verb", ""),
        path="",
        group=asked.get("group", ""),
        plural=asked.get("resource", ""),
        namespace=asked.get("namespace", ""),
        name=asked.get("name", ""),
        subresource=asked.get("subresource", ""),
    )
    review |= {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    return SpecialAnswer(
        code=201, body=orjson.dumps({**review, "status": {"allowed": cluster.access.allows(user, info)}})
    )


def _token(cluster: service.ApiService, kind: kinds.ServedKind, key: state.Key) -> SpecialAnswer:
    cluster.life.read(kind, key)
    token = cluster.access.issue(f"system:serviceaccount:{key[0]}:{key[1]}")
    result = {"token": token, "expirationTimestamp": clock.now(ahead_s=3600)}
    head = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
    return SpecialAnswer(code=201, body=orjson.dumps({**head, "metadata": {"name": key[1]}, "status": result}))
