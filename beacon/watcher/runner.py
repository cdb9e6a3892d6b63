"""Starts one thread per scope, each with its own bus client and heartbeat, so that no scope waits for another."""

import functools
import time
from collections.abc import Callable, Sequence

from beacon import bus
from beacon.cluster import connection, lists
from beacon.domain import rules
from beacon.runtime import process
from beacon.watcher import policy, scope_watch, status

SPARE_CONNECTIONS = 4  # beside one for each watch: lists and discovery of several streams at a time
_WIND_DOWN_S = 2.5
_BEAT_S = 1.0


class ClusterIdentity:
    """The UID of the cluster, read once and shared by all streams."""

    def __init__(self, api: connection.Connection) -> None:
        """Read through `api` at the first call of `uid`."""
        self._api = api
        self._uid = ""

    def uid(self) -> str:
        """Return the UID of namespace kube-system, or "" if reading it is forbidden; the next call then reads again.

        Raises:
            errors.TransientError: the API server did not answer properly.
        """
        # Concurrent callers all read: a thread that waits for another one could not write its heartbeat.
        # A refusal is not cached: it may come from a server that has just started.
        if not self._uid:
            self._uid = lists.cluster_uid(self._api)
        return self._uid


def follow(
    context: process.Context,
    scopes: Sequence[rules.Scope],
    api: connection.Connection,
    timing: policy.Timing,
    *,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Watch every scope until the process is asked to stop; a thread that then hangs in a request is abandoned.

    `beat` writes the heartbeat of the calling thread.
    """
    identity = ClusterIdentity(api)
    threads = []
    for scope in scopes:
        target = functools.partial(_follow_one, context, scope, api, identity=identity, timing=timing)
        threads.append(context.spawn(status.name_of(scope), target))
    while not context.stop.wait(_BEAT_S):
        beat()
    deadline = time.monotonic() + _WIND_DOWN_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _follow_one(
    context: process.Context,
    scope: rules.Scope,
    api: connection.Connection,
    *,
    identity: ClusterIdentity,
    timing: policy.Timing,
) -> None:
    """Watch one scope in its own thread."""
    heartbeat = context.heartbeat(status.name_of(scope))
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heartbeat.beat) as client:
        deps = scope_watch.WatchDependencies(
            api=api, client=client, cluster=identity.uid, stop=context.stop, beat=heartbeat.beat, timing=timing
        )
        scope_watch.ScopeWatch(scope, deps, status.StreamStatus(scope, context.report)).run()
    heartbeat.close()
