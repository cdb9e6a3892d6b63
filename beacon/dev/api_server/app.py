"""The API as an ASGI application: authenticate, apply faults, authorize, dispatch to a handler.

Every request passes the same steps, so faults and rights apply to all of them alike. This module must not decide the
content of a response; the handlers do.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from beacon.dev.api_server import (
    access,
    admin,
    control,
    discovery,
    faults,
    kinds,
    reading,
    routing,
    service,
    special,
    status,
    watching,
    writing,
)

_CHUNKED_FROM = 2048  # Go's server sends longer bodies chunked, without Content-Length
_HEALTH = ("/healthz", "/livez", "/readyz")


class Dropped(Exception):
    """The connection must be cut without a response."""


class Body(Response):
    """A response with the headers of a real API server."""

    def __init__(self, content: bytes, code: int = 200, media_type: str = "application/json") -> None:
        super().__init__(content, code, {"cache-control": "no-cache, private"}, media_type)
        if len(content) > _CHUNKED_FROM:
            del self.headers["content-length"]


class Api:
    """The ASGI application of one cluster."""

    def __init__(self, cluster: service.ApiService, switches: control.Control) -> None:
        self._cluster = cluster
        self._admin = admin.Admin(cluster, switches)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        info = routing.read(request.method, request.url.path, request.query_params)
        user = access.ANONYMOUS
        try:
            user = self._cluster.access.authenticate(request.headers.get("authorization", ""))
            if info.path.startswith(admin.PREFIX):
                answer: Response | watching.ServedWatch = await self._admin.answer(request, user)
            else:
                await self._strike(user, info)
                self._cluster.access.authorize(user, info)
                answer = await self._answer(request, user, info)
        except status.ApiError as error:
            answer = _refusal(error)
        except Dropped:
            self._cluster.abort((scope["client"][0], scope["client"][1]))
            return
        if isinstance(answer, watching.ServedWatch):
            self._cluster.record(user.name, info, 200)
            await answer.serve(scope, receive, send)
        else:
            self._cluster.record(user.name, info, answer.status_code)
            await answer(scope, receive, send)

    async def _strike(self, user: access.ApiUser, info: routing.Info) -> None:
        """Apply the faults that match this request."""
        for fault in self._cluster.faults.take(user, info):
            if fault.action is faults.FaultKind.SLOW:
                await asyncio.sleep(fault.response_s)
            elif fault.action is faults.FaultKind.DROP:
                raise Dropped
            elif fault.error is not None:
                raise access.forbidden(user, info) if fault.error.code == 403 else fault.error
        while self._cluster.faults.freezes(user, info):
            await asyncio.sleep(0.01)

    async def _answer(
        self, request: Request, user: access.ApiUser, info: routing.Info
    ) -> Response | watching.ServedWatch:
        if not info.plural:
            return self._describe(request, info)
        kind = self._kind(info)
        if not kind:
            return _plain_not_found()
        if answer := await special.answer(self._cluster, request, user, kind, info):
            return Body(answer.body, answer.code)
        _check_verb(kind, info)
        if info.verb == "watch":
            return self._watch(request, user, kind, info)
        if info.verb in {"get", "list"}:
            return Body(self._read(request, kind, info))
        return await self._write(request, kind, info)

    def _kind(self, info: routing.Info) -> kinds.ServedKind | None:
        """Return the kind of a path, or None if its group or version is unknown. Raises 404 for an unknown plural."""
        if (info.group, info.version) not in self._cluster.registry.versions:
            return None
        kind = self._cluster.registry.get(info.group, info.version, info.plural)
        if kind is None:
            raise status.no_such_resource()
        if not kind.namespaced and info.namespace and kind.plural != "namespaces":
            raise status.no_such_resource()
        return kind

    def _read(self, request: Request, kind: kinds.ServedKind, info: routing.Info) -> bytes:
        accept, listing = request.headers.get("accept", ""), info.verb == "list"
        if listing:
            form = routing.form(accept, lists=True)
            return reading.list_page(self._cluster, kind, info, request.query_params, form)
        # A missing object is a 404 before an unacceptable form is a 406.
        key = (info.namespace if kind.namespaced else "", info.name)
        self._cluster.life.read(kind, key)
        return reading.get(self._cluster, kind, info, routing.form(accept, lists=False))

    def _watch(
        self, request: Request, user: access.ApiUser, kind: kinds.ServedKind, info: routing.Info
    ) -> watching.ServedWatch:
        form = routing.form(request.headers.get("accept", ""), lists=False)
        start = watching.start_of(request.query_params)
        predicate = reading.matching(kind, info, request.query_params)
        return watching.ServedWatch(self._cluster, user, kind, info, start=start, form=form, predicate=predicate)

    async def _write(self, request: Request, kind: kinds.ServedKind, info: routing.Info) -> Response:
        sent = writing.Sent(
            kind=kind,
            info=info,
            query=request.query_params,
            content_type=request.headers.get("content-type", ""),
            agent=request.headers.get("user-agent", ""),
            body=await request.body(),
        )
        if info.verb == "delete":
            return Body(writing.delete(self._cluster, sent))
        if info.verb == "deletecollection":
            return Body(writing.delete_collection(self._cluster, sent))
        form = routing.form(request.headers.get("accept", ""), lists=False)
        created = info.verb == "create"
        if created:
            stored = writing.create(self._cluster, sent)
        elif info.verb == "update":
            stored = writing.update(self._cluster, sent)
        else:
            stored, created = writing.patch(self._cluster, sent)
        return Body(reading.rendered(stored, kind, form), 201 if created else 200)

    def _describe(self, request: Request, info: routing.Info) -> Response:
        """Answer a request for a path without a resource."""
        registry, path = self._cluster.registry, info.path.rstrip("/")
        if path in _HEALTH or path.startswith(tuple(f"{known}/" for known in _HEALTH)):
            return Body(b"ok", media_type="text/plain; charset=utf-8")
        if info.verb != "get":
            raise status.method_not_allowed()
        aggregated = discovery.wants_aggregated(request.headers.get("accept", ""))
        if path in {"/api", "/apis"} and aggregated:
            response = _json(discovery.aggregated(registry, core=path == "/api"), discovery.AGGREGATED)
            response.headers["cache-control"] = "public"
            return response
        document = _document(registry, info, path, self._cluster.address)
        return _plain_not_found() if document is None else _json(document)


def _document(registry: kinds.Registry, info: routing.Info, path: str, address: str) -> Any:
    fixed: dict[str, Callable[[], Any]] = {
        "/version": lambda: discovery.VERSION,
        "/api": lambda: discovery.api_versions(address),
        "/apis": lambda: discovery.group_list(registry),
        "/openapi/v3": lambda: discovery.openapi_index(registry),
    }
    if path in fixed:
        return fixed[path]()
    if (served := registry.versions.get((info.group, info.version))) is not None and info.version:
        return discovery.resource_list(served, f"{info.group}/{info.version}" if info.group else info.version)
    name = path.removeprefix("/apis/")
    if versions := registry.groups().get(name):
        return discovery.group(name, versions, standalone=True)
    prefix = path.removeprefix("/openapi/v3/")
    described = routing.read("GET", f"/{prefix}", {})
    if prefix != path and (found := registry.versions.get((described.group, described.version))):
        return discovery.openapi(found, prefix)
    return None


def _check_verb(kind: kinds.ServedKind, info: routing.Info) -> None:
    """Raise 405 for a verb that the resource does not support, and 404 for an unknown subresource."""
    verbs: tuple[str, ...] = kind.verbs
    if info.subresource:
        found = [sub for sub in kind.subresources if sub.name == info.subresource and sub.name == "status"]
        if not found:
            raise status.no_such_resource()
        verbs = found[0].verbs
    misplaced = (info.verb == "create" and info.name) or (info.verb in {"update", "patch"} and not info.name)
    nowhere = kind.namespaced and not info.namespace and info.verb not in {"get", "list", "watch"}
    if info.verb not in verbs or misplaced or nowhere:
        raise status.method_not_allowed()


def _refusal(error: status.ApiError) -> Response:
    response = Body(orjson.dumps(error.body()), error.code)
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(error.retry_after_s)
    return response


def _json(document: Any, media_type: str = "application/json") -> Response:
    return Body(orjson.dumps(document), media_type=media_type)


def _plain_not_found() -> Response:
    return Body(b"404 page not found\n", 404, "text/plain; charset=utf-8")
