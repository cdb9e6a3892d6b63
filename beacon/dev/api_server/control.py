"""What a test can make happen to the cluster: faults, rights, restarts, restores.

The same methods serve Python (`server.faults`) and HTTP (`admin`). All may be called from any thread; what concerns
open connections is done in the server's loop before the call returns.
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
    """The switches of one cluster. `**match` is verb, resource, group, namespace, user, path: see `faults.Match`."""

    def __init__(self, cluster: service.ApiService) -> None:
        self._cluster = cluster
        self._backups: dict[int, state.Saved] = {}
        self._numbers = itertools.count(1)
        # How to restart the listening server; it sets this itself.
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
        return self._cluster.faults.add(faults.Action.FAIL, faults.Match(**match), times=times, error=error)

    def refuse(self, *, times: int | None = None, **match: str) -> int:
        """Cut the connection of matching requests instead of answering."""
        return self._cluster.faults.add(faults.Action.DROP, faults.Match(**match), times=times)

    def freeze(self, **match: str) -> int:
        """Accept matching requests and say nothing; open watches stay open and fall silent, as if half-open."""
        number = self._cluster.faults.add(faults.Action.FREEZE, faults.Match(**match))
        self._cluster.changed()
        return number

    def thaw(self) -> None:
        """End every freeze; what was held back is sent now."""
        self._cluster.faults.clear(faults.Action.FREEZE)
        self._cluster.changed()

    def slow(self, *, response_s: float = 0.0, line_s: float = 0.0, times: int | None = None, **match: str) -> int:
        """Hold back the answers to matching requests, and each line of matching watches."""
        return self._cluster.faults.add(
            faults.Action.SLOW, faults.Match(**match), times=times, response_s=response_s, line_s=line_s
        )

    def remove(self, number: int) -> None:
        """Take one fault back."""
        self._cluster.faults.remove(number)
        self._cluster.changed()

    def clear(self) -> None:
        """Take back every fault, and every right given or taken by `allow` and `deny`."""
        self._cluster.faults.clear()
        self._cluster.access.clear()
        self._cluster.changed()

    def drop(self, **match: str) -> int:
        """Cut the connections of matching open watches; return how many there were."""
        return self._end(faults.Ending.CUT, b"", match)

    def end_watches(self, **match: str) -> int:
        """End matching open watches cleanly, as a timeout does; return how many there were."""
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
        """Forget all history up to now: older positions and tokens get a 410. Return the present resourceVersion."""
        self._cluster.state.forget(compact=True)
        return self._cluster.state.version

    def restart(self, downtime_s: float = 0.0, *, refusing_s: float = 0.0, code: int = 403) -> None:
        """Restart on the same port: connections break, the watch cache is empty, older positions get a 410.

        For `refusing_s` after that every request is answered with `code`, as a real server answers 403 until its
        authorizer has read its rules.
        """
        number = self.fail(code) if refusing_s else None
        self.restarting(downtime_s)
        if number is not None:
            ready = threading.Timer(refusing_s, self.remove, [number])
            ready.daemon = True
            ready.start()

    def snapshot(self) -> int:
        """Take a backup of everything, as of etcd, and return its number."""
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
        """Create many objects, `rate` a second if given; see `load.Load` for the rest. Return when that was."""
        return load.run(self._cluster, load.Load(count=count, rate=rate, **more))

    def issue(self, user: str, groups: Iterable[str] = ()) -> str:
        """Make a new token for a user and return it; what the user may do is a matter of RBAC."""
        return self._cluster.access.issue(user, groups)

    def reissue(self, token: str, user: str, groups: Iterable[str] = ()) -> None:
        """Make a given token known, for instance one that was revoked."""
        self._cluster.access.reissue(token, user, groups)

    def revoke(self, token: str) -> None:
        """Make a token unknown: 401 from now on. Open watches go on, as they do in a real cluster."""
        self._cluster.access.revoke(token)

    def allow(self, **rule: str | list[str]) -> None:
        """Give a right: user (text), verbs, groups, resources, namespaces (lists); what is left out means all."""
        self._cluster.access.add(_rule(rule, allowed=True))

    def deny(self, **rule: str | list[str]) -> None:
        """Take a right, in the words of `allow`; the last word counts, and it beats RBAC."""
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
