"""Fault injection and administration of the cluster: faults, rights, restarts, backups.

The same methods serve Python (`server.faults`) and HTTP (`admin`). All may be called from any thread. Work on open
connections is done in the server's event loop before the call returns.
"""

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from beacon.dev.api_server import access, cascades, faults, load, service, state

Json = dict[str, Any]

_COMPACTED = "too old resource version: a fault was set"


class Control:
    """Controls one cluster. `**match` is verb, resource, group, namespace, user, path: see `faults.Match`."""

    def __init__(self, cluster: service.ApiService) -> None:
        self._cluster = cluster
        self._backups: dict[int, state.Saved] = {}
        self._numbers = itertools.count(1)
        # Restarts the listening server; set by `server.ApiServer`.
        self.restarting: Callable[[float], None] = lambda _: None

    def fail(
        self,
        code: int,
        *,
        times: int | None = None,
        retry_after_s: int | None = None,
        message: str = "",
        reason: str = "",
        **match: str,
    ) -> int:
        """Answer matching requests with this status, `times` times or until removed; return the fault's number."""
        error = faults.failure(code, message=message, reason=reason, retry_after_s=retry_after_s)
        return self._cluster.faults.add(faults.FaultKind.FAIL, faults.Match(**match), times=times, error=error)

    def refuse(self, *, times: int | None = None, **match: str) -> int:
        """Cut the connection of matching requests instead of answering."""
        return self._cluster.faults.add(faults.FaultKind.DROP, faults.Match(**match), times=times)

    def freeze(self, **match: str) -> int:
        """Accept matching requests without responding; open watches stay open but send nothing, as if half-open."""
        number = self._cluster.faults.add(faults.FaultKind.FREEZE, faults.Match(**match))
        self._cluster.changed()
        return number

    def thaw(self) -> None:
        """Remove every freeze; delayed responses and events are sent now."""
        self._cluster.faults.clear(faults.FaultKind.FREEZE)
        self._cluster.changed()

    def slow(self, *, response_s: float = 0.0, line_s: float = 0.0, times: int | None = None, **match: str) -> int:
        """Delay the responses to matching requests, and each line of matching watches."""
        return self._cluster.faults.add(
            faults.FaultKind.SLOW, faults.Match(**match), times=times, response_s=response_s, line_s=line_s
        )

    def remove(self, number: int) -> None:
        """Remove one fault."""
        self._cluster.faults.remove(number)
        self._cluster.changed()

    def clear(self) -> None:
        """Remove every fault, and every rule added by `allow` and `deny`."""
        self._cluster.faults.clear()
        self._cluster.access.clear()
        self._cluster.changed()

    def drop(self, **match: str) -> int:
        """Cut the connections of matching open watches; return how many there were."""
        return self._end(faults.Ending.CUT, b"", match)

    def end_watches(self, **match: str) -> int:
        """End matching open watches cleanly, as after timeoutSeconds; return how many there were."""
        return self._end(faults.Ending.CLEAN, b"", match)

    def half_line(self, **match: str) -> int:
        """Cut matching open watches in the middle of their next line; return how many there are."""
        return self._end(faults.Ending.HALF_LINE, b"", match)

    def error_line(self, code: int = 410, *, message: str = "", reason: str = "", **match: str) -> int:
        """Send matching open watches an ERROR line and end them; return how many there were."""
        default = _COMPACTED if code == 410 else ""
        body = faults.failure(code, message=message or default, reason=reason).body()
        line = orjson.dumps({"type": "ERROR", "object": body}) + b"\n"
        return self._end(faults.Ending.ERROR, line, match)

    def compact(self) -> int:
        """Discard all history: older positions and tokens get a 410. Return the current resourceVersion."""
        self._cluster.state.forget(compact=True)
        return self._cluster.state.version

    def age(self, seconds: float, *, history_s: float) -> None:
        """Advance the clock of the history, which reaches back `history_s`; positions before it get a 410."""
        self._cluster.state.age(seconds, history_s=history_s)

    def restart(self, downtime_s: float = 0.0, *, refusing_s: float = 0.0, code: int = 403) -> None:
        """Restart on the same port: connections break, the watch cache is empty, older positions get a 410.

        For `refusing_s` after that, every request is answered with `code`, as a real server answers 403 until its
        authorizer has loaded its rules.
        """
        number = self.fail(code) if refusing_s else None
        self.restarting(downtime_s)
        if number is not None:
            ready = threading.Timer(refusing_s, self.remove, [number])
            ready.daemon = True
            ready.start()

    def snapshot(self) -> int:
        """Save a backup of everything, like an etcd snapshot, and return its number."""
        number = next(self._numbers)
        self._backups[number] = self._cluster.state.save()
        return number

    def rewind(self, number: int) -> int:
        """Restore a backup, its resourceVersion included, and cut all watches; return that resourceVersion."""
        with self._cluster.state.lock:
            self._cluster.state.restore(self._backups[number])
            cascades.restored(self._cluster.life)
        self.drop()
        return self._cluster.state.version

    def load(self, count: int, *, rate: float = 0.0, **more: Any) -> Json:
        """Create many objects; see `load.Load`. Return the times of the first and the last creation."""
        return load.run(self._cluster, load.Load(count=count, rate=rate, **more))

    def fill(self, count: int, **more: Any) -> Json:
        """Create many objects at once; see `load.fill`."""
        return load.fill(self._cluster, load.Load(count=count, **more))

    def churn(self, count: int, *, rate: float, seconds: float, **more: Any) -> Json:
        """Change that many existing objects at a rate; see `load.churn`."""
        return load.churn(self._cluster, load.Load(count=count, rate=rate, **more), seconds=seconds)

    def issue(self, user: str, groups: Iterable[str] = ()) -> str:
        """Create a token for a user and return it. RBAC decides what the user may do."""
        return self._cluster.access.issue(user, groups)

    def reissue(self, token: str, user: str, groups: Iterable[str] = ()) -> None:
        """Register a specific token, for example one that was revoked."""
        self._cluster.access.reissue(token, user, groups)

    def revoke(self, token: str) -> None:
        """Invalidate a token: 401 from now on. Open watches continue, as in a real cluster."""
        self._cluster.access.revoke(token)

    def allow(self, **rule: str | list[str]) -> None:
        """Grant a right: user (text), verbs, groups, resources, namespaces (lists). An omitted argument matches all."""
        self._cluster.access.add(_rule(rule, allowed=True))

    def deny(self, **rule: str | list[str]) -> None:
        """Deny a right, with the arguments of `allow`. The latest rule wins, and takes precedence over RBAC."""
        self._cluster.access.add(_rule(rule, allowed=False))

    def _end(self, ending: faults.Ending, line: bytes, match: dict[str, str]) -> int:
        wanted = faults.Match(**match)

        def end() -> int:
            found = [watch for watch in self._cluster.watches if wanted.covers(watch.user, watch.info)]
            for watch in found:
                watch.end(ending, line)
            return len(found)

        return self._cluster.in_loop(end)


def _rule(words: dict[str, str | list[str]], *, allowed: bool) -> access.AccessRule:
    user = words.pop("user", "*")
    lists = {name: tuple([items] if isinstance(items, str) else items) for name, items in words.items()}
    return access.AccessRule(allowed=allowed, user=str(user), **lists)
