"""All streams of the process: a thread, a bus client and a heart for each scope, so that none waits for another."""

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
    """The cluster's identity, read once and shared by all streams."""

    def __init__(self, api: connection.Connection) -> None:
        """Read through `api`, when first asked."""
        self._api = api
        self._uid = ""

    def uid(self) -> str:
        """Return the UID of namespace kube-system, "" when it may not be read, which is asked again next time.

        Raises:
            errors.TransientError: the API server did not answer properly.
        """
        # Streams that ask at the same time all read: waiting for each other they could not beat.
        # A refusal is not kept: it may be that of a server that has just started.
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
    """Follow every scope until the process is to stop; a thread that then hangs in a request is left behind.

    `beat` says that the calling thread lives.
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
    """Follow one scope in its own thread."""
    heart = context.heart(status.name_of(scope))
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:
        surroundings = scope_watch.WatchDependencies(
            api=api, client=client, cluster=identity.uid, stop=context.stop, beat=heart.beat, timing=timing
        )
        scope_watch.ScopeWatch(scope, surroundings, status.StreamStatus(scope, context.report)).run()
    heart.close()
