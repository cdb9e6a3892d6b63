"""Every change in the cluster is emitted once and in order: normal operation of the watcher."""

import pytest

from beacon import wire
from tests.integration import watcher_world
from tests.integration.watcher_world import KEY, ON, entry, object_, world


def test_existing_objects_are_emitted_and_then_their_changes() -> None:
    with world() as w:
        w.api.create("configmaps", object_("old", ON))
        w.api.create("configmaps", object_("plain"))
        w.start().await_state("watching")

        w.api.create("configmaps", object_("new", ON))
        w.api.annotate("configmaps", "plain", {KEY: "x"})
        w.api.annotate("configmaps", "old", {KEY: None})
        w.api.delete("configmaps", "new")

        received = w.await_received(
            ("created", "old"), ("created", "new"), ("created", "plain"), ("deleted", "old"), ("deleted", "new")
        )
        assert [t.cause for t in received] == [
            "first-seen",
            "object-created",
            "annotation-added",
            "annotation-removed",
            "object-deleted",
        ]
        assert [t.source for t in received] == ["reconciliation", "watch", "mutation", "mutation", "watch"]


def test_a_changed_value_is_an_update_where_that_is_configured() -> None:
    with world(updates=True) as w:
        w.start().await_state("watching")

        w.api.create("configmaps", object_("a", {KEY: "1"}))
        w.api.annotate("configmaps", "a", {KEY: "2"})
        w.api.annotate("configmaps", "a", {"other": "2"})

        received = w.await_received(("created", "a"), ("updated", "a"))
        w.await_position()
        assert [t.value for t in received] == ["1", "2"]
        assert len(w.received()) == 2


def test_every_toggle_of_an_annotation_within_milliseconds_is_an_event() -> None:
    with world() as w:
        w.api.create("configmaps", object_("a"))
        w.start().await_state("watching")

        for _ in range(50):
            w.api.annotate("configmaps", "a", {KEY: "on"})
            w.api.annotate("configmaps", "a", {KEY: None})

        w.await_received(*[("created", "a"), ("deleted", "a")] * 50)


def test_only_configured_values_count() -> None:
    with world(values=["gold", "silver"]) as w:
        w.start().await_state("watching")

        w.api.create("configmaps", object_("a", {KEY: "lead"}))
        w.api.annotate("configmaps", "a", {KEY: "gold"})
        w.api.annotate("configmaps", "a", {KEY: "silver"})
        w.api.annotate("configmaps", "a", {KEY: "lead"})

        w.await_received(("created", "a"), ("deleted", "a"))
        w.await_position()
        assert len(w.received()) == 2


def test_a_recreated_object_is_reported_as_deleted_and_created() -> None:
    with world() as w:
        w.start().await_state("watching")

        for _ in range(10):
            w.api.create("configmaps", object_("a", ON))
            w.api.delete("configmaps", "a")

        received = w.await_received(*[("created", "a"), ("deleted", "a")] * 10)
        assert len({t.delivery.event_id for t in received}) == 20


def test_selectors_and_exclusions_are_judged_by_beacon() -> None:
    entries = [entry(selector="tier in (web),!canary", excluded=("default",))]
    with world(*entries) as w:
        for namespace in ("a", "default"):
            w.api.namespace(namespace)
        w.start().await_state("watching")

        for namespace in ("a", "default"):
            w.api.create("configmaps", object_(f"in-{namespace}", ON, labels={"tier": "web"}, namespace=namespace))
        w.api.label("configmaps", "in-a", {"canary": "yes"}, namespace="a")
        w.api.label("configmaps", "in-a", {"canary": None}, namespace="a")

        received = w.await_received(("created", "in-a"), ("deleted", "in-a"), ("created", "in-a"))
        w.await_position()
        assert [t.cause for t in received] == ["object-created", "label-removed", "annotation-added"]
        assert len(w.received()) == 3


def test_several_kinds_and_namespaces_are_followed_side_by_side() -> None:
    entries = [
        entry(namespaces=("a", "b")),
        entry("Deployment", "apps/v1"),
        entry("Namespace"),
    ]
    with world(*entries) as w:
        for namespace in ("a", "b", "c"):
            w.api.namespace(namespace)
        w.start()
        for scope in ("ConfigMap@a", "ConfigMap@b", "Deployment.apps", "Namespace"):
            w.await_state("watching", scope)

        for namespace in ("a", "b", "c"):
            w.api.create("configmaps", object_(f"in-{namespace}", ON, namespace=namespace))
        w.api.create("deployments.apps", object_("web", ON, namespace="c"))
        w.api.annotate("namespaces", "c", {KEY: "true"})

        watcher_world.await_(lambda: len(w.received()) == 4, explain=w.explain)
        assert set(w.received()) == {("created", "in-a"), ("created", "in-b"), ("created", "web"), ("created", "c")}
        labels = {scope.label for scope in w.figures().scopes}
        assert labels == {"configmaps@a", "configmaps@b", "deployments.apps", "namespaces"}


def test_a_list_of_many_pages_emits_every_object_once() -> None:
    with world() as w:
        for number in range(1200):
            w.api.create("configmaps", object_(f"o{number}", ON if number % 3 == 0 else None))

        w.start().await_state("watching")

        watcher_world.await_(lambda: len(w.received()) == 400, explain=w.explain)
        assert len(set(w.received())) == 400


def test_the_position_advances_with_bookmarks_and_with_events_of_other_objects() -> None:
    with world() as w:
        w.start().await_state("watching")

        w.api.create("configmaps", object_("plain"))
        w.api.create("pods", object_("elsewhere"))

        assert w.await_position().listed


def test_a_kind_that_appears_later_is_followed_then_and_its_going_deletes_nothing_by_itself() -> None:
    with world(entry("Widget", "example.com/v1"), entry()) as w:
        w.start().await_state("waiting", "Widget.example.com")
        w.await_state("watching")

        w.api.define("widgets", "example.com", "Widget")
        w.await_state("watching", "Widget.example.com")
        w.api.create("widgets.example.com", object_("a", ON))
        w.await_received(("created", "a"))
        w.api.delete("customresourcedefinitions.apiextensions.k8s.io", "widgets.example.com")
        w.await_state("waiting", "Widget.example.com")
        w.api.define("widgets", "example.com", "Widget")
        w.await_state("watching", "Widget.example.com")

        w.await_received(("created", "a"), ("deleted", "a"))
        assert w.report() is not None


@pytest.mark.parametrize(
    ("configured", "words"),
    [
        (entry("Project", "project.openshift.io/v1"), "Namespace"),
        (entry("Node", namespaces=("a",)), "namespaces"),
    ],
)
def test_a_kind_that_cannot_be_watched_so_is_refused_in_plain_words(configured: dict[str, object], words: str) -> None:
    with world(configured, entry()) as w:
        w.start().await_state("watching")
        name = f"{configured['kind']}"
        scope = "Project.project.openshift.io" if name == "Project" else "Node@a"

        assert words in str(w.await_state("refused", scope)["reason"])


def test_observations_within_milliseconds_go_into_one_request() -> None:
    with world() as w:
        w.start().await_state("watching")
        for number in range(2000):
            w.api.create("configmaps", object_(f"o{number}", ON))

        watcher_world.await_(lambda: len(w.received()) == 2000, explain=w.explain)
        assert [name for _, name in w.received()] == [f"o{number}" for number in range(2000)]


def test_the_watcher_stops_at_once_and_stores_how_far_it_came() -> None:
    with world() as w:
        w.start().await_state("watching")
        w.api.create("configmaps", object_("plain"))

        w.stop()
        assert isinstance(w.figures(), wire.Statistics)
