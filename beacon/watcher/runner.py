"""Puts the watcher together: one loop for all open watches, and threads for what blocks."""

from collections.abc import Callable, Sequence

from beacon import bus
from beacon.cluster import connection, lists
from beacon.domain import rules
from beacon.runtime import process, workers
from beacon.watcher import policy, scope_watch, status, watch_loop

QUICK_THREADS = 16  # lists and discovery of so many scopes at a time
MOST_THREADS = 128
_WIND_DOWN_S = 2.5


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
    pool = workers.Workers(context, "scopes", quick=QUICK_THREADS, most=MOST_THREADS)
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=beat) as client:
        shared = bus.SharedClient(client, stop=context.stop)
        context.stop.wakes(shared.wake)
        loop = watch_loop.WatchLoop(context, shared, pool)
        client.wake_on(loop.descriptor)
        identity = ClusterIdentity(api)
        try:
            loop.run(
                [_stream(scope, context, shared, pool, api=api, identity=identity, timing=timing) for scope in scopes]
            )
        finally:
            context.stop.set()
            pool.join(_WIND_DOWN_S)
            loop.close()


def _stream(
    scope: rules.Scope,
    context: process.Context,
    shared: bus.SharedClient,
    pool: workers.Workers,
    *,
    api: connection.Connection,
    identity: ClusterIdentity,
    timing: policy.Timing,
) -> scope_watch.ScopeWatch:
    link = bus.Link(shared, beat=pool.beat)
    deps = scope_watch.WatchDependencies(
        api=api, link=link, cluster=identity.uid, stop=context.stop, beat=pool.beat, timing=timing
    )
    return scope_watch.ScopeWatch(scope, deps, status.StreamStatus(scope, context.report))
