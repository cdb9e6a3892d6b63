"""Many scopes: few files and threads, one confirmation for all quiet ones, and none waits for another that hangs."""

import threading
from pathlib import Path

import pytest

from beacon import wire
from beacon.watcher import runner
from tests.integration import watcher_world
from tests.integration.watcher_world import ON, entry, object_, world

SCOPES = 40


def namespaces(w: watcher_world.World, count: int = SCOPES) -> None:
    for number in range(count):
        w.api.namespace(f"n{number}")


def many(count: int = SCOPES) -> dict[str, object]:
    return entry(namespaces=tuple(f"n{number}" for number in range(count)))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_scope_costs_one_file_and_no_thread() -> None:
    with world(many()) as w:
        namespaces(w)
        files, threads = open_files(), threading.active_count()
        w.start()
        for number in range(SCOPES):
            w.await_state("watching", f"ConfigMap@n{number}")

        # The embedded API server runs in this process, too: it has a socket for each connection.
        watcher_world.await_(lambda: open_files() - files <= 2 * SCOPES + 20, explain=lambda: str(open_files() - files))
        assert threading.active_count() - threads <= runner.QUICK_THREADS + SCOPES // 4 + 10
        w.api.create("configmaps", object_("a", ON, namespace=f"n{SCOPES - 1}"))
        w.await_received(("created", "a"))


def test_quiet_scopes_are_confirmed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    confirm = wire.Confirm

    def counted(*, positions: tuple[wire.Observe, ...]) -> wire.Confirm:
        asked.append(len(positions))
        return confirm(positions=positions)

    with world(many()) as w:
        namespaces(w)
        w.start()
        for number in range(SCOPES):
            w.await_state("watching", f"ConfigMap@n{number}")
        w.api.create("configmaps", object_("other", namespace="default"))
        monkeypatch.setattr(wire, "Confirm", counted)
        for number in range(SCOPES):
            w.await_position(f"configmaps@n{number}")
        watcher_world.await_(lambda: sum(asked) >= 3 * SCOPES, explain=lambda: str(asked))

    assert len(asked) <= sum(asked) / 4


def test_scopes_that_hang_hold_up_no_other() -> None:
    hanging = runner.QUICK_THREADS + 4
    with world(many(hanging), entry("Secret")) as w:
        namespaces(w, hanging)
        w.read_s = 60.0
        w.api.faults.freeze(resource="configmaps")
        w.start()

        w.await_state("watching", "Secret")
        w.api.create("secrets", object_("s", ON))
        w.await_received(("created", "s"))
        w.api.faults.thaw()
        for number in range(hanging):
            w.await_state("watching", f"ConfigMap@n{number}")


def test_after_a_restart_of_the_store_every_scope_opens_its_session_again() -> None:
    with world(many(3)) as w:
        namespaces(w, 3)
        w.start()
        for number in range(3):
            w.await_state("watching", f"ConfigMap@n{number}")
        assert w.context is not None
        w.stop_store()
        w.start_store()  # it knows no session

        for number in range(3):
            w.api.create("configmaps", object_(f"c{number}", ON, namespace=f"n{number}"))
        watcher_world.await_(lambda: len(w.received()) == 3, explain=w.explain)
        assert sorted(w.received()) == [("created", f"c{number}") for number in range(3)]
