"""Changes while the watcher, the store or the API server was down are emitted once, from the history or by a list."""

import pytest

from beacon.dev.api_server import server as api_server
from beacon.runtime import metrics
from tests.integration import watcher_world
from tests.integration.watcher_world import KEY, ON, entry, object_, world


def test_an_object_created_and_deleted_while_the_watcher_was_down_is_emitted() -> None:
    with world() as w:
        w.api.create("configmaps", object_("kept", ON))
        w.start().await_state("watching")
        w.stop()

        w.api.create("configmaps", object_("short", ON))
        w.api.delete("configmaps", "short")
        w.start().await_state("watching")

        w.await_received(("created", "kept"), ("created", "short"), ("deleted", "short"))


def test_after_an_expired_position_the_scope_is_listed_and_the_differences_are_emitted() -> None:
    with world() as w:
        for name in ("goes", "stays", "loses"):
            w.api.create("configmaps", object_(name, ON))
        w.start().await_state("watching")
        w.await_received(("created", "goes"), ("created", "loses"), ("created", "stays"))
        w.stop()

        w.api.delete("configmaps", "goes")
        w.api.annotate("configmaps", "loses", {KEY: None})
        w.api.create("configmaps", object_("comes", ON))
        w.api.faults.compact()
        w.start().await_state("watching")

        watcher_world.await_(lambda: len(w.received()) == 6, explain=w.explain)
        assert set(w.received()[3:]) == {("created", "comes"), ("deleted", "loses"), ("deleted", "goes")}


def test_an_error_line_of_410_in_an_open_watch_leads_to_a_list() -> None:
    with world() as w:
        w.api.create("configmaps", object_("a", ON))
        w.start().await_state("watching")
        w.await_received(("created", "a"))

        assert w.api.faults.error_line(410)
        w.api.create("configmaps", object_("b", ON))

        w.await_received(("created", "a"), ("created", "b"))
        assert ("ConfigMap", "listing") in w.states_since_watching()


def test_a_410_as_status_leads_to_a_list() -> None:
    with world() as w:
        w.api.create("configmaps", object_("a", ON))
        w.start().await_state("watching")
        w.await_received(("created", "a"))

        w.api.faults.fail(410, times=1, verb="watch")
        w.api.faults.end_watches()
        w.api.create("configmaps", object_("b", ON))

        w.await_received(("created", "a"), ("created", "b"))


def test_an_api_server_restarted_with_an_empty_cache_costs_nothing() -> None:
    with world() as w:
        w.start().await_state("watching")
        for number in range(5):
            w.api.create("configmaps", object_(f"o{number}", ON))
            w.api.restart(downtime_s=0.1)
            w.api.create("configmaps", object_(f"p{number}", ON))

        watcher_world.await_(lambda: len(w.received()) == 10, explain=w.explain)
        assert len(set(w.received())) == 10


def test_a_restored_cluster_is_noticed_and_compared() -> None:
    with world() as w:
        w.api.create("configmaps", object_("before", ON))
        backup = w.api.faults.snapshot()
        w.start().await_state("watching")
        for number in range(20):
            w.api.create("configmaps", object_(f"lost{number}", ON))
        watcher_world.await_(lambda: len(w.received()) == 21, explain=w.explain)

        w.api.faults.rewind(backup)
        w.api.create("configmaps", object_("after", ON))

        watcher_world.await_(lambda: len(w.received()) == 42, explain=w.explain)
        assert ("created", "after") in w.received()[21:]
        assert {what for what in w.received()[21:] if what[0] == "deleted"} == {
            ("deleted", f"lost{number}") for number in range(20)
        }


def test_a_restored_cluster_is_noticed_after_the_watcher_was_down() -> None:
    with world(entry(), entry("Secret")) as w:
        backup = w.api.faults.snapshot()
        w.start().await_state("watching")
        w.api.create("configmaps", object_("lost", ON))
        w.await_received(("created", "lost"))
        w.stop()

        w.api.faults.rewind(backup)
        w.start()

        w.await_received(("created", "lost"), ("deleted", "lost"))
        w.await_state("watching")


def test_a_store_killed_again_and_again_misses_nothing() -> None:
    with world() as w:
        w.start().await_state("watching")
        for number in range(300):
            w.api.create("configmaps", object_(f"o{number}", ON))
            if number % 60 == 30:
                w.stop_store()
                w.start_store()

        watcher_world.await_(lambda: len({name for _, name in w.received()}) == 300, w.explain)
        assert len({received.delivery.event_id for received in w.receiver.received}) == 300


def test_a_list_interrupted_by_a_restart_of_the_store_starts_over() -> None:
    with world() as w:
        for number in range(1500):
            w.api.create("configmaps", object_(f"o{number}", ON))
        w.api.faults.slow(response_s=0.2, verb="list")
        w.start().await_state("listing")
        w.stop_store()
        w.start_store()

        w.await_state("watching")
        watcher_world.await_(lambda: len(w.received()) == 1500, w.explain)


def test_an_expired_continue_token_starts_the_list_over() -> None:
    with world() as w:
        for number in range(1200):
            w.api.create("configmaps", object_(f"o{number}", ON))
        w.api.faults.fail(410, times=1, path=r"continue=")
        w.start().await_state("watching")

        watcher_world.await_(lambda: len(w.received()) == 1200, w.explain)


def test_a_changed_configuration_ends_the_watcher_so_that_it_restarts_with_it() -> None:
    with world() as w:
        w.start().await_state("watching")
        assert w.context is not None
        context = w.context

        w.configure(values=["gold"])

        watcher_world.await_(lambda: bool(context.errors))
        assert [type(error).__name__ for error in context.errors] == ["SettingsChanged"]
        context.errors.clear()


def test_another_cluster_behind_the_same_configuration_is_refused() -> None:
    with world() as w, api_server.running() as other:
        w.start().await_state("watching")
        w.stop()
        w.api = other

        w.start()

        assert w.context is not None
        context = w.context
        watcher_world.await_(lambda: bool(context.errors))
        assert "cluster" in str(context.errors[0])
        assert type(context.errors[0]).__name__ == "ConfigError"
        context.errors.clear()


@pytest.mark.parametrize("seed", range(3))
def test_bursts_with_drops_and_restarts_in_between_are_emitted_in_order_without_gaps(seed: int) -> None:
    del seed
    with world() as w:
        w.start().await_state("watching")
        for number in range(600):
            w.api.create("configmaps", object_(f"o{number}", ON))
            w.api.annotate("configmaps", f"o{number}", {KEY: None})
            match number % 100:
                case 20:
                    w.api.faults.drop()
                case 40:
                    w.api.faults.half_line()
                case 60:
                    w.api.faults.end_watches()
                case 80:
                    w.stop()
                    w.start()

        watcher_world.await_(lambda: len(w.received()) == 1200, w.explain)
        assert w.received() == [(what, f"o{number}") for number in range(600) for what in ("created", "deleted")]


def test_a_ledger_that_was_replaced_is_noticed_even_where_nothing_happens() -> None:
    with world() as w:
        w.api.create("configmaps", object_("a", ON))
        w.start().await_state("watching")
        w.await_received(("created", "a"))

        w.stop_store()
        for path in w.run_dir.glob("e.db*"):
            path.unlink()
        w.start_store()

        watcher_world.await_(lambda: len(w.received()) == 2, explain=w.explain)
        assert {name for _, name in w.received()} == {"a"}


def test_an_object_released_by_a_changed_configuration_is_still_reported_as_deleted() -> None:
    with world() as w:
        w.api.create("configmaps", object_("a", {KEY: "lead"}))
        w.start().await_state("watching")
        w.await_received(("created", "a"))
        w.stop()

        w.configure(values=["gold"])
        w.start().await_state("watching")
        w.api.annotate("configmaps", "a", {"other": "x"})
        w.api.annotate("configmaps", "a", {"other": "y"})
        w.api.delete("configmaps", "a")

        received = w.await_received(("created", "a"), ("deleted", "a"))
        assert received[1].cause == "object-deleted"


def test_a_store_that_does_not_answer_bounds_the_lines_that_are_read() -> None:
    lines = metrics.WATCH_LINES.labels(kind="ConfigMap", type="ADDED")
    with world() as w:
        w.start().await_state("watching")
        w.freeze_store()
        before = lines._value.get()
        for number in range(9_000):
            w.api.create("configmaps", object_(f"o{number}", {KEY: "x" * 500}))
        watcher_world.await_(lambda: lines._value.get() - before > 100)

        watcher_world.await_quiet(lines._value.get)

        assert lines._value.get() - before < 8_000
        w.stop()
        w.start()
        w.thaw_store()
        watcher_world.await_(lambda: len(w.receiver.received) == 9_000, w.explain)
        assert len({received.name for received in w.receiver.received}) == 9_000
