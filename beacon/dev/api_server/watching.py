"""Watches: the changes after a resourceVersion, sent line by line until the watch ends.

A watch has no queue. It reads from its resource's history, so ten watches cost the memory of one and a slow client
delays no other. A watch that falls behind the history ends with a 410, as in a real server.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from starlette.types import Receive, Scope, Send

from beacon.dev.api_server import access, faults, kinds, reading, routing, selectors, service, state, status

_BATCH = 256
_HEADERS = [(b"cache-control", b"no-cache, private"), (b"content-type", b"application/json")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The start of a watch, from its query."""

    version: int | None  # None: with the current objects
    initial: bool  # send the current objects as ADDED
    initial_end: bool  # then send a bookmark that marks their end
    bookmarks: bool
    timeout_s: float | None


class ServedWatch:
    """One open watch."""

    def __init__(
        self,
        cluster: service.ApiService,
        user: access.ApiUser,
        kind: kinds.ServedKind,
        info: routing.Info,
        *,
        start: Start,
        form: routing.PathForm,
        predicate: selectors.Predicate | None,
    ) -> None:
        self.user = user
        self.info = info
        self._cluster = cluster
        self._kind = kind
        self._start = start
        self._form = form
        self._predicate = predicate
        self._awake = asyncio.Event()
        self._closed = False
        self._ending: faults.Ending | None = None
        self._error = b""
        self._table = cluster.state.table(kind.storage)
        self._next = self._table.end

    def wake(self) -> None:
        """Wake the watch, so that it checks for changes and faults."""
        self._awake.set()

    def end(self, ending: faults.Ending, error: bytes = b"") -> None:
        """End the watch in the requested way."""
        self._error = error
        self._ending = ending
        self._awake.set()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request and send changes until the watch ends."""
        first = self._first_lines()
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        leaving = asyncio.ensure_future(self._await_leaving(receive))
        self._cluster.watches.add(self)
        try:
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            cut = await self._send_events(first, scope, send)
            if cut:
                self._cluster.close((scope["client"][0], scope["client"][1]))
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._cluster.watches.discard(self)
            leaving.cancel()

    async def _send_events(self, first: list[bytes], scope: Scope, send: Send) -> bool:
        """Send lines until the watch ends; return True if the connection must be cut instead of ended."""
        clock = asyncio.get_running_loop().time
        timing = _Timing(self._cluster.settings, self._start, clock())
        expired = first[:1] == [b""]
        lines = [_error_line(status.too_old(self._start.version or 0, self._table.floor))] if expired else first
        while not self._closed:
            await self._thaw()
            if self._ending is faults.Ending.HALF_LINE and lines:
                await _send(send, lines[0][: len(lines[0]) // 2])
                return True
            await self._send_lines(lines, send)
            if expired or self._is_over():
                return False
            if self._ending is not None and self._ending is not faults.Ending.HALF_LINE:
                return await self._finish(scope, send)
            over = clock() >= timing.deadline
            lines = self._read()
            if over:
                await self._send_lines(lines, send)
                return False
            if not lines and timing.bookmark_is_due(clock()):
                lines = list(filter(None, [self._bookmark()]))
            if not lines:
                await self._sleep(timing.next_at())
        return False

    async def _thaw(self) -> None:
        """Wait while a freeze is active; a half-open connection sends neither lines nor its end."""
        while not self._closed and self._cluster.faults.freezes(self.user, self.info):
            await self._sleep(None)

    async def _send_lines(self, lines: list[bytes], send: Send) -> None:
        delay_s = self._cluster.faults.line_delay_s(self.user, self.info)
        for line in lines if delay_s else ():
            await asyncio.sleep(delay_s)
            await _send(send, line)
        if lines and not delay_s:
            await _send(send, b"".join(lines))

    async def _finish(self, scope: Scope, send: Send) -> bool:
        if self._ending is faults.Ending.ERROR:
            await _send(send, self._error)
        elif self._ending is faults.Ending.CUT:
            self._cluster.abort((scope["client"][0], scope["client"][1]))
            return True
        return False

    async def _sleep(self, until: float | None) -> None:
        """Wait for a change, a fault, or the time `until`."""
        loop = asyncio.get_running_loop()
        timer = loop.call_at(until, self._awake.set) if until is not None else None
        await self._awake.wait()
        self._awake.clear()
        if timer:
            timer.cancel()

    async def _await_leaving(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._closed = True
        self._awake.set()

    def _is_over(self) -> bool:
        """Return True if no line can follow: the resource was removed, or the watch fell behind the history."""
        return (self._table.removed and self._next == self._table.end) or self._next < self._table.base

    def _first_lines(self) -> list[bytes]:
        """Return the initial lines; one empty line means that the resourceVersion is too old."""
        store = self._cluster.state
        with store.lock:
            self._next = self._table.end
            if self._start.initial:
                found = store.objects_at(self._kind.storage, store.version) or []
                inside = reading.within(found, self._kind, self.info)
                lines = [
                    self._line(b"ADDED", stored)
                    for stored in inside
                    if not self._predicate or self._predicate(stored.obj)
                ]
                return [*lines, self._bookmark(initial_end=True)] if self._start.initial_end else lines
            if self._start.version is not None:
                if self._start.version < self._table.floor:
                    return [b""]
                self._next = self._table.after(self._start.version)
            return []

    def _read(self) -> list[bytes]:
        """Return the next lines; an empty list only if all changes have been read."""
        # A watch from a future resourceVersion receives nothing up to that version.
        since = self._start.version or 0
        while changes := self._take():
            candidates = [self._line_of(change) for change in changes if change.version > since]
            if lines := [line for line in candidates if line]:
                return lines
        return []

    def _take(self) -> list[state.StoredChange]:
        with self._cluster.state.lock:
            at = self._next - self._table.base
            changes = self._table.changes[at : at + _BATCH] if at >= 0 else []
            self._next += len(changes)
            return changes

    def _line_of(self, change: state.StoredChange) -> bytes | None:
        if self._kind.namespaced and self.info.namespace not in {"", change.new.key[0]}:
            return None
        match = self._predicate
        was = change.old is not None and (match is None or match(change.old.obj))
        if change.deleted:
            return self._line(b"DELETED", change.new) if was else None
        if match is None or match(change.new.obj):
            return self._line(b"MODIFIED" if was else b"ADDED", change.new)
        if not was or change.old is None:
            return None
        if change.departure is None:
            change.departure = state.restamped(change.old, change.version)
        return self._line(b"DELETED", change.departure)

    def _line(self, event: bytes, stored: state.Stored) -> bytes:
        body = reading.rendered(stored, self._kind, self._form)
        return b'{"type":"%b","object":%b}\n' % (event, body)

    def _bookmark(self, *, initial_end: bool = False) -> bytes:
        with self._cluster.state.lock:
            progress = self._cluster.settings.progress or initial_end
            version = self._cluster.state.version if progress else self._table.newest
            started = self._start.version or 0
            if self._next != self._table.end or version < started or (version == started and not progress):
                return b""
        metadata: status.Json = {"resourceVersion": str(version)}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        head = {"kind": self._kind.kind, "apiVersion": self._kind.api_version}
        if self._form is not routing.PathForm.FULL:
            head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        return orjson.dumps({"type": "BOOKMARK", "object": {**head, "metadata": metadata}}) + b"\n"


class _Timing:
    """Computes when a watch ends and when its next bookmark is due."""

    def __init__(self, settings: service.ApiSettings, start: Start, now: float) -> None:
        usual_s = settings.watch_timeout_s * random.uniform(1, 2)  # noqa: S311 - spread, not secrecy
        self.deadline = now + (start.timeout_s or usual_s)
        self._last = self.deadline - settings.bookmark_before_timeout_s
        self._interval_s = settings.bookmark_interval_s
        self._bookmark_at: float | None = self._following(now) if start.bookmarks else None

    def next_at(self) -> float:
        """Return when the next bookmark or the end is due."""
        return min(self.deadline, self._bookmark_at or self.deadline)

    def bookmark_is_due(self, now: float) -> bool:
        """Return True if a bookmark is due; then schedule the next one."""
        if self._bookmark_at is None or now < self._bookmark_at:
            return False
        self._bookmark_at = self._following(now)
        return True

    def _following(self, now: float) -> float | None:
        regular = now + self._interval_s
        if now < self._last < regular:
            return self._last
        return regular if regular <= self.deadline else None


def start_of(query: Mapping[str, str]) -> Start:
    """Parse the start of a watch from its query. Raises as the real server does."""
    asked, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    initial = query.get("sendInitialEvents")
    if initial and match != "NotOlderThan":
        problem = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise status.invalid("meta.k8s.io", "ListOptions", "", "resourceVersionMatch", problem)
    if match and not initial:
        problem = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        raise status.invalid("meta.k8s.io", "ListOptions", "", "resourceVersionMatch", problem)
    version = reading.position(asked) if asked else 0
    bookmarks = query.get("allowWatchBookmarks") in {"true", "1"}
    return Start(
        version=version or None,
        initial=initial == "true" or (not version and initial != "false"),
        initial_end=initial == "true" and bookmarks,
        bookmarks=bookmarks,
        timeout_s=reading.number(query, "timeoutSeconds") or None,
    )


def _error_line(error: status.ApiError) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": error.body()}) + b"\n"


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
