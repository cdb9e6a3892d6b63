"""The ASGI application: requests on a few paths query or control the endpoint, all others are events.

It combines checks, record, modes and answers, and owns the lock between the event loop and other threads. Events bypass
the router, because load tests use this endpoint.
"""

import dataclasses
import threading
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from beacon import codec, errors
from beacon.dev.endpoint import answers, checks, modes, options, record, report

_PAGE = 1000
_LONGEST_WAIT_S = 300.0
_POLL_S = 0.02


class SinkApp:
    """The ASGI application and its record. Methods documented as thread-safe may be called from any thread."""

    def __init__(self, settings: options.Options) -> None:
        self.lock = threading.Lock()
        self.record = record.SinkRecord(keep=settings.keep)
        self.director = modes.Director(settings.plan, seed=settings.seed)
        self._report = report.writer(settings.log)
        self._pages = {
            ("GET", "/stats"): self._stats,
            ("GET", "/events"): self._events,
            ("GET", "/attempts"): self._attempts,
            ("GET", "/health"): self._health,
            ("GET", "/control"): self._control,
            ("POST", "/control"): self._control,
            ("POST", "/reset"): self._reset,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        page = self._pages.get((scope["method"], scope["path"]))
        exchange = answers.SinkExchange(receive=receive, send=send, transport=scope["state"]["transport"])
        if page is None:
            await self._take(scope, exchange)
            return
        response = await page(Request(scope, receive), exchange)
        await response(scope, receive, send)

    def change(self, changes: Mapping[str, object]) -> None:
        """Change the plan. Thread-safe. Raises `errors.ConfigError`."""
        with self.lock:
            self.director.change(self.director.plan.changed(changes))

    def stats(self) -> record.Stats:
        """Return the current statistics. Thread-safe."""
        with self.lock:
            return self.record.stats()

    def accepted(self, after: int = 0, limit: int | None = None) -> list[record.SinkAttempt]:
        """Return the kept accepted requests after the index `after`. Thread-safe."""
        with self.lock:
            kept = self.record.accepted
            first = kept[0].index if kept else 1
            found = list(kept)[max(0, after + 1 - first) :]
        return found if limit is None else found[:limit]

    async def _take(self, scope: Scope, exchange: answers.SinkExchange) -> None:
        at_s, started_s = time.time(), time.monotonic()
        body = await _body(exchange.receive)
        request = record.SinkRequest(
            at_s=at_s,
            started_s=started_s,
            method=scope["method"],
            path=scope["path"],
            headers=scope["headers"],
            body=body or b"",
        )
        if body is None:
            with self.lock:
                attempt = self.record.lose(request, time.monotonic())
        else:
            demands = self.director.plan.demands
            event = checks.refuse_head(request.method, dict(request.headers), demands) or checks.read(body, demands)
            if isinstance(event, checks.CheckRefusal):
                attempt = await self._refuse(request, event, exchange)
            else:
                attempt = await self._answer(request, event, exchange)
        if self._report is not None:
            self._report(attempt)

    async def _answer(
        self, request: record.SinkRequest, event: checks.CheckedEnvelope, exchange: answers.SinkExchange
    ) -> record.SinkAttempt:
        with self.lock:
            attempt = self.record.begin(request, event)
            behavior = self.director.decide(event, attempt.number)
        answer: record.Answer = record.SinkOutcome.ABANDONED

        def accept() -> None:
            with self.lock:
                self.record.accept(attempt)

        try:
            answer = await answers.respond(exchange, behavior, accept)
        finally:
            with self.lock:
                self.record.end(attempt, answer, time.monotonic())
        return attempt

    async def _refuse(
        self, request: record.SinkRequest, refusal: checks.CheckRefusal, exchange: answers.SinkExchange
    ) -> record.SinkAttempt:
        with self.lock:
            attempt = self.record.refuse(request, refusal, time.monotonic())
            methods = self.director.plan.demands.methods
        headers = [(b"content-type", b"application/json")]
        if refusal.status == 405:
            headers.append((b"allow", ", ".join(methods).encode()))
        if refusal.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await answers.send(exchange, refusal.status, codec.encode({"error": refusal.reason}), headers)
        return attempt

    async def _stats(self, _request: Request, _exchange: answers.SinkExchange) -> Response:
        return _json(dataclasses.asdict(self.stats()))

    async def _health(self, _request: Request, _exchange: answers.SinkExchange) -> Response:
        return _json({"status": "ok"})

    async def _events(self, request: Request, exchange: answers.SinkExchange) -> Response:
        try:
            after = int(request.query_params.get("after", "0"))
            limit = int(request.query_params.get("limit", str(_PAGE)))
            wait_s = min(float(request.query_params.get("wait", "0")), _LONGEST_WAIT_S)
        except ValueError:
            return _json({"error": "after and limit are whole numbers, wait is seconds"}, 400)
        deadline = time.monotonic() + wait_s
        while not (found := self.accepted(after, limit)) and time.monotonic() < deadline:
            if await answers.left_within(exchange, _POLL_S):
                break
        events = [{"index": item.index, **report.plain(item), "body": _embedded(item.request.body)} for item in found]
        return _json({"events": events, "next": found[-1].index if found else after})

    async def _attempts(self, _request: Request, _exchange: answers.SinkExchange) -> Response:
        with self.lock:
            kept = list(self.record.attempts)
        return _json({"attempts": [report.plain(item) for item in kept]})

    async def _control(self, request: Request, _exchange: answers.SinkExchange) -> Response:
        if request.method == "POST":
            try:
                self.change(codec.decode(await request.body()))
            except (errors.ConfigError, codec.DecodeError) as error:
                return _json({"problems": list(getattr(error, "problems", [str(error)]))}, 400)
        return _json(modes.described(self.director.plan))

    async def _reset(self, _request: Request, _exchange: answers.SinkExchange) -> Response:
        with self.lock:
            self.record.reset()
        return _json({"status": "ok"})


async def _body(receive: Receive) -> bytes | None:
    """Return the complete body, or None if the client disconnected before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message["more_body"]:
        return bytes(message["body"])
    parts: list[bytes] = []
    while message["type"] == "http.request":
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)
        message = await receive()
    return None


def _embedded(body: bytes) -> Any:
    return codec.raw(body)


def _json(document: object, status: int = 200) -> Response:
    return Response(codec.encode(document), status, media_type="application/json")
