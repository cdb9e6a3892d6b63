"""An API server that has just restarted refuses for a while what it granted before: no right is missing."""

import pytest

from tests.integration import watcher_world
from tests.integration.watcher_world import ON, entry, object_, world

LONG_S = 60.0


@pytest.mark.parametrize("code", [403, 401, 404, 503])
def test_the_first_answers_of_a_restarted_server_are_not_believed(code: int) -> None:
    with world(entry(), entry("Secret")) as w:
        w.timing = watcher_world.replace(w.timing, doubt_s=LONG_S)
        w.api.create("configmaps", object_("a", ON))
        w.start().await_state("watching")
        w.await_state("watching", "Secret")
        w.await_position()

        refusal = w.api.faults.fail(code)
        w.api.restart(0.3)
        watcher_world.await_(lambda: [one.status for one in w.api.requests()].count(code) >= 4)
        w.api.faults.remove(refusal)
        w.api.create("configmaps", object_("b", ON))
        w.api.delete("configmaps", "a")

        w.await_received(("created", "a"), ("created", "b"), ("deleted", "a"))
        w.await_state("watching", "Secret")
        assert {state for _, state in w.states_since_watching()} <= {"watching", "unreachable", "opening", "listing"}


def test_a_server_that_answers_403_for_a_moment_without_having_been_away_is_not_believed_either() -> None:
    with world() as w:
        w.timing = watcher_world.replace(w.timing, doubt_s=LONG_S)
        w.start().await_state("watching")

        w.api.faults.fail(403, times=1)
        w.api.faults.end_watches()
        w.api.create("configmaps", object_("a", ON))

        w.await_received(("created", "a"))
        assert {state for _, state in w.states_since_watching()} == {"watching"}


@pytest.mark.parametrize("verbs", [["list"], ["watch"], ["list", "watch"]])
def test_a_right_that_stays_missing_is_reported_and_its_return_is_noticed(verbs: list[str]) -> None:
    with world() as w:
        w.start().await_state("watching")
        w.api.faults.deny(user="admin", resources=["configmaps"], verbs=verbs)
        w.api.faults.end_watches()

        said = str(w.await_state("forbidden")["reason"])
        assert "bind it to a role" in said
        assert ("ConfigMap", "opening") in w.states_since_watching()

        w.api.faults.allow(user="admin", resources=["configmaps"], verbs=verbs)
        w.api.create("configmaps", object_("a", ON))
        w.await_received(("created", "a"))


def test_no_role_is_advised_while_a_refusal_is_doubted() -> None:
    with world() as w:
        w.timing = watcher_world.replace(w.timing, doubt_s=LONG_S)
        w.start().await_state("watching")
        w.api.faults.deny(user="admin", resources=["configmaps"])
        w.api.faults.end_watches()

        said = str(w.await_state("opening")["reason"])

        assert "role" not in said
        assert "forbidden" in said


@pytest.mark.parametrize("how", ["deleted", "no longer served"])
def test_a_kind_that_goes_while_the_server_stays_is_reported_at_once_and_known_to_have_been_followed(how: str) -> None:
    definitions, name = "customresourcedefinitions.apiextensions.k8s.io", "widgets.example.com"
    with world(entry("Widget", "example.com/v1")) as w:
        w.timing = watcher_world.replace(w.timing, doubt_s=LONG_S)
        w.api.define("widgets", "example.com", "Widget")
        w.start().await_state("watching", "Widget.example.com")
        (before,) = w.figures().scopes

        if how == "deleted":
            w.api.delete(definitions, name)
        else:
            (version,) = (w.api.get(definitions, name) or {})["spec"]["versions"]
            w.api.patch(definitions, name, {"spec": {"versions": [version | {"served": False}]}})
            w.api.faults.end_watches()

        report = w.await_state("waiting", "Widget.example.com")
        assert report["listed"]
        w.stop()
        w.start().await_state("waiting", "Widget.example.com")
        (after,) = w.figures().scopes
        assert (before.name, after.name) == ("Widget.example.com", "Widget.example.com")
        assert after.position_us


def test_the_identity_that_a_starting_server_refused_is_read_later() -> None:
    with world() as w:
        w.api.faults.fail(403, times=1, path="kube-system")
        w.start().await_state("watching")
        w.api.faults.end_watches()
        w.api.faults.drop()

        def read() -> bool:
            return any(one.status == 200 and one.path.endswith("kube-system") for one in w.api.requests())

        watcher_world.await_(read)


def test_an_unreachable_server_is_retried_until_it_answers() -> None:
    with world() as w:
        w.timing = watcher_world.replace(w.timing, doubt_s=LONG_S)
        w.start().await_state("watching")
        away = w.api.faults.refuse()
        w.api.faults.drop()
        w.await_state("unreachable")
        refusal = w.api.faults.fail(403)
        w.api.faults.remove(away)
        watcher_world.await_(lambda: any(one.status == 403 for one in w.api.requests()))
        w.api.faults.remove(refusal)

        w.await_state("watching")
        assert ("ConfigMap", "forbidden") not in w.states_since_watching()
