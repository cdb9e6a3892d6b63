"""Streams against an API server that responds slowly, or repeats errors: one scope fails, within a time limit."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from beacon.runtime import heartbeat, run_directory
from tests.integration import test_watcher_scripted as scripts
from tests.integration import watcher_world
from tests.integration.test_watcher_scripted import line
from tests.integration.watcher_world import World, entry

TWO = {
    "kind": "APIResourceList",
    "groupVersion": "v1",
    "resources": [
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["list", "watch"]},
        {"name": "secrets", "kind": "Secret", "namespaced": True, "verbs": ["list", "watch"]},
    ],
}


def error(code: int) -> dict[str, Any]:
    return {"type": "ERROR", "object": {"message": "etcd has a cold", "code": code}}


def test_error_lines_that_repeat_without_progress_lead_to_a_list() -> None:
    with scripts.scripted([error(500)], [error(403)], [error(500)], [line("ADDED", "b", 90)]) as (script, w):
        w.start()

        w.await_received(("created", "b"))
        assert script.lists == 2
        assert script.positions[:4] == [10, 10, 10, script.positions[3]]


def test_a_watch_lost_after_such_a_list_is_resumed_without_another_list() -> None:
    with watcher_world.world() as w:
        w.start().await_state("watching")
        for number in range(3):
            watcher_world.await_(lambda: w.api.faults.error_line(500) == 1)
            watcher_world.await_(lambda: len(w.api.requests(verb="watch")) >= number + 2)  # noqa: B023  called at once
        watcher_world.await_(lambda: lists(w) == 2, explain=w.explain)

        w.api.faults.fail(503, times=2, verb="watch")
        for number in range(3):
            w.api.faults.drop()
            w.api.create("configmaps", watcher_world.object_(f"o{number}", watcher_world.ON))
            w.await_received(*[("created", f"o{received}") for received in range(number + 1)])

        assert lists(w) == 2


def lists(w: World) -> int:
    """Return how often a stream has entered the state in which it lists."""
    assert w.context is not None
    return w.context.states.count(("ConfigMap", "listing"))


def test_lines_that_are_no_json_and_repeat_lead_to_a_list() -> None:
    with scripts.scripted(*[[{"raw": "<html>no line of a watch</html>"}]] * 3, [line("ADDED", "b", 90)]) as (script, w):
        w.start()

        w.await_received(("created", "b"))
        assert script.lists == 2


def test_error_lines_after_progress_are_resumed() -> None:
    watches = [[line("ADDED", f"o{number}", 11 + number), error(500)] for number in range(5)]
    with scripts.scripted(*watches, []) as (script, w):
        w.start()

        w.await_received(*[("created", f"o{number}") for number in range(5)])
        assert script.lists == 1


class Dripping(scripts.Handler):
    """Lists of secrets, or watches of configmaps, drip; everything else is answered."""

    drips = "secrets"

    def answer(self) -> None:
        if self.path == "/api/v1":
            self.say(TWO)
        elif self.drips in self.path and "limit=1&" not in f"{self.path}&":
            self.drip()
        else:
            super().answer()

    def drip(self) -> None:
        self.script.positions.append(0)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.script.ended.wait(0.02):
                self.wfile.write(b"1\r\n\n\r\n")


@contextlib.contextmanager
def dripping(what: str) -> Iterator[tuple[scripts.Script, World]]:
    handler = type("DrippingHandler", (Dripping,), {"drips": what})
    with scripts.scripted([line("ADDED", "a", 11)], entries=[entry(), entry("Secret")], handler=handler) as made:
        yield made


def test_a_list_that_drips_is_a_failure_of_its_scope_and_its_thread_keeps_sending_heartbeats() -> None:
    with dripping("secrets") as (script, w):
        w.read_s = 0.3
        w.start()

        w.await_received(("created", "a"))
        reason = str(w.await_state("unreachable", "Secret")["reason"])
        watcher_world.await_(lambda: len(script.positions) >= 4, explain=w.explain)

        assert "no response in time" in reason
        beats = heartbeat.read(run_directory.heartbeats_directory(w.run_dir))
        assert all(beat.age_s < heartbeat.HUNG_S for beat in beats)
        assert ("ConfigMap", "unreachable") not in w.states_since_watching()


@pytest.mark.parametrize(("longest_s", "inactive_s"), [(600, 0.2), (1, 600.0)], ids=["silent", "over"])
def test_a_watch_that_drips_blanks_is_ended_although_the_server_answers(longest_s: int, inactive_s: float) -> None:
    with dripping("watch=true") as (script, w):
        w.timing = watcher_world.replace(w.timing, watch_s=(longest_s, longest_s), grace_s=0.1, inactive_s=inactive_s)
        w.start()

        watcher_world.await_(lambda: len(script.positions) >= 6, explain=w.explain)
