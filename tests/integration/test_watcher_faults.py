"""A failing API server or a missing right: logged once, survived, and limited to one scope."""

import itertools

import pytest

from tests.integration import watcher_world
from tests.integration.watcher_world import ON, entry, object_, world


def test_a_refused_right_is_named_and_its_return_is_noticed() -> None:
    with world(entry(), entry("Secret")) as w:
        w.api.faults.deny(user="admin", resources=["configmaps"], verbs=["list", "watch"])
        w.start()

        reason = str(w.await_state("forbidden")["reason"])
        w.await_state("watching", "Secret")
        assert 'may not "list" "configmaps" in API group "" in all namespaces' in reason

        w.api.faults.allow(user="admin", resources=["configmaps"], verbs=["list", "watch"])
        w.await_state("watching")


def test_a_missing_right_to_watch_is_distinguished_from_one_to_list() -> None:
    with world(entry(namespaces=("default",))) as w:
        w.api.faults.deny(user="admin", resources=["configmaps"], verbs=["watch"])
        w.start()

        reason = str(w.await_state("forbidden", "ConfigMap@default")["reason"])
        assert 'may not "watch" "configmaps" in API group "" in namespace \'default\'' in reason


def test_a_right_taken_away_deletes_nothing() -> None:
    with world() as w:
        w.api.create("configmaps", object_("a", ON))
        w.start().await_state("watching")
        w.await_received(("created", "a"))

        w.api.faults.deny(user="admin", resources=["configmaps"])
        w.api.faults.compact()
        w.api.faults.drop()
        w.await_state("forbidden")
        w.api.faults.allow(user="admin", resources=["configmaps"])
        w.await_state("watching")

        w.api.create("configmaps", object_("b", ON))
        w.await_received(("created", "a"), ("created", "b"))


def test_a_token_that_is_replaced_in_the_file_is_read_again() -> None:
    with world() as w:
        w.token = w.api.faults.issue("reader", groups=["system:masters"])
        w.start().await_state("watching")

        w.api.faults.revoke(w.token)
        fresh = w.api.faults.issue("reader", groups=["system:masters"])
        w.api.kubeconfig(w.directory / "kubeconfig", token=fresh)
        w.api.faults.drop()
        w.api.create("configmaps", object_("a", ON))

        w.await_received(("created", "a"))
        assert w.context is not None
        assert ("ConfigMap", "unauthorized") not in w.context.states


def test_a_revoked_token_is_reported_and_its_return_is_detected() -> None:
    with world() as w:
        w.token = w.api.faults.issue("reader", groups=["system:masters"])
        w.start().await_state("watching")

        w.api.faults.revoke(w.token)
        w.api.faults.drop()
        w.await_state("unauthorized")
        w.api.faults.reissue(w.token, "reader", groups=["system:masters"])

        w.await_state("watching")


@pytest.mark.parametrize("code", [429, 500, 503, 504])
def test_trouble_of_the_server_is_waited_out(code: int) -> None:
    with world() as w:
        w.start().await_state("watching")
        w.api.faults.fail(code, times=3, retry_after_s=0)
        w.api.faults.drop()
        w.api.create("configmaps", object_("a", ON))

        w.await_received(("created", "a"))
        w.await_state("watching")


def test_retry_after_is_honoured() -> None:
    with world() as w:
        w.start().await_state("watching")
        w.api.faults.fail(429, times=1, retry_after_s=2)
        w.api.faults.drop()
        watcher_world.await_(lambda: any(answer.status == 429 for answer in w.api.cluster.answered))

        w.await_state("unreachable")
        w.await_state("watching")

        times = [answer for answer in w.api.cluster.answered if answer.user == "admin"]
        refused = next(index for index, answer in enumerate(times) if answer.status == 429)
        assert times[refused + 1].at - times[refused].at >= 2.0


def test_an_unreachable_api_server_is_reported_and_retried() -> None:
    with world() as w:
        w.start().await_state("watching")
        w.api.faults.refuse()
        w.api.faults.drop()
        assert w.await_state("unreachable")["reason"]

        w.api.faults.clear()

        w.await_state("watching")


@pytest.mark.parametrize("fault", ["drop", "half_line", "end_watches"])
def test_a_watch_that_breaks_off_is_resumed_where_it_was(fault: str) -> None:
    with world() as w:
        w.start().await_state("watching")
        expected = []
        for number in range(10):
            getattr(w.api.faults, fault)()
            w.api.create("configmaps", object_(f"o{number}", ON))
            expected.append(("created", f"o{number}"))
            w.await_received(*expected)

        assert w.context is not None
        assert ("ConfigMap", "listing") not in w.states_since_watching()


def test_a_half_open_connection_is_noticed() -> None:
    with world() as w:
        w.timing = watcher_world.replace(w.timing, inactive_s=1.0)
        w.start().await_state("watching")
        w.api.faults.freeze()
        w.api.create("configmaps", object_("a", ON))
        w.await_state("unreachable")

        w.api.faults.thaw()

        w.await_received(("created", "a"))
        w.await_state("watching")


def test_a_frozen_api_server_does_not_keep_the_watcher_from_stopping() -> None:
    with world() as w:
        w.start().await_state("watching")
        w.api.faults.freeze()
        w.api.faults.drop()

        w.stop()


def test_trouble_of_one_scope_is_not_anothers() -> None:
    with world(entry(), entry("Secret")) as w:
        w.api.faults.fail(500, resource="secrets")
        w.start().await_state("watching")
        w.await_state("unreachable", "Secret")

        w.api.create("configmaps", object_("a", ON))

        w.await_received(("created", "a"))


def test_a_server_that_ends_every_watch_at_once_gets_no_hot_loop_of_requests() -> None:
    with world() as w:
        w.start().await_state("watching")
        for _ in range(8):
            w.api.faults.end_watches()
            watcher_world.await_(lambda: bool(w.api.cluster.watches))

        asked = [answer for answer in w.api.cluster.answered if answer.verb == "watch"]
        pauses = [later.at - earlier.at for earlier, later in itertools.pairwise(asked)]
        assert max(pauses) > 0.1


def test_a_cluster_whose_identity_may_not_be_read_is_watched_nevertheless() -> None:
    with world() as w:
        w.api.faults.deny(user="admin", resources=["namespaces"], verbs=["get"])
        w.start().await_state("watching")
        w.api.create("configmaps", object_("a", ON))

        w.await_received(("created", "a"))
