"""A silent watch: Kubernetes 1.24 sends nothing for ten minutes, and neither does a half-open connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from beacon.runtime import metrics
from tests.integration import watcher_world
from tests.integration.watcher_world import ON, World, object_, world


@contextmanager
def quiet(**timing: Any) -> Iterator[World]:
    with world(progress=False) as w:
        w.timing = watcher_world.replace(w.timing, **{"inactive_s": 0.2} | timing)
        w.api.create("configmaps", object_("first", ON))
        w.start().await_state("watching")
        yield w


def asked(w: World, verb: str) -> int:
    return len(w.api.requests(verb=verb, resource="configmaps"))


def test_a_quiet_watch_is_no_fault_as_long_as_another_connection_is_answered() -> None:
    connected = metrics.WATCH_CONNECTED.labels(scope="configmaps")
    with quiet() as w:
        before = asked(w, "list")
        watcher_world.await_(lambda: asked(w, "list") >= before + 4)

        assert (asked(w, "watch"), connected._value.get()) == (1, 1)
        w.api.create("configmaps", object_("a", ON))

        w.await_received(("created", "first"), ("created", "a"))
        assert {state for _, state in w.states_since_watching()} == {"watching"}
        assert asked(w, "watch") == 1


def test_a_quiet_watch_is_resumed_when_its_time_is_over() -> None:
    with quiet(watch_s=(1, 1)) as w:
        watcher_world.await_(lambda: asked(w, "watch") >= 3)

        assert {state for _, state in w.states_since_watching()} == {"watching"}


def test_a_frozen_watch_is_resumed_when_its_time_is_over_although_the_server_answers() -> None:
    with quiet(watch_s=(1, 1), grace_s=0.2) as w:
        w.api.faults.freeze(verb="watch")
        w.api.create("configmaps", object_("a", ON))
        watcher_world.await_(lambda: not w.api.watches())

        w.api.faults.thaw()

        w.await_received(("created", "first"), ("created", "a"))


@pytest.mark.parametrize("code", [401, 403, 503])
def test_a_server_that_refuses_the_read_ends_the_watch(code: int) -> None:
    with quiet() as w:
        w.api.faults.fail(code, times=2 if code == 401 else 1, verb="list")

        watcher_world.await_(lambda: asked(w, "watch") == 2, explain=w.explain)
        w.await_state("watching")


def test_a_busy_server_is_no_silent_one() -> None:
    with quiet() as w:
        w.api.faults.fail(429, verb="list", retry_after_s=0)
        before = asked(w, "list")
        watcher_world.await_(lambda: asked(w, "list") >= before + 3)

        assert asked(w, "watch") == 1


def test_a_restored_cluster_is_noticed_by_a_silent_watch() -> None:
    with world() as w:
        w.timing = watcher_world.replace(w.timing, inactive_s=0.2)
        backup = w.api.faults.snapshot()
        w.start().await_state("watching")
        w.api.create("configmaps", object_("lost", ON))
        w.await_received(("created", "lost"))

        w.api.faults.freeze(verb="watch")
        w.api.cluster.state.restore(w.api.faults._backups[backup])

        w.await_received(("created", "lost"), ("deleted", "lost"))
        w.api.faults.thaw()
