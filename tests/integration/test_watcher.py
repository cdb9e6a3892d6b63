"""What happens in the cluster is told, once and in order: the ordinary day of the watcher."""

from tests.integration.watcher_world import ON, object_, world


def test_what_exists_is_told_and_then_what_happens() -> None:
    with world() as w:
        w.api.create("configmaps", object_("old", ON))
        w.api.create("configmaps", object_("plain"))
        w.start().await_state("watching")

        w.api.create("configmaps", object_("new", ON))
        w.api.annotate("configmaps", "plain", {"bakerapps.net.maas": "x"})
        w.api.annotate("configmaps", "old", {"bakerapps.net.maas": None})
        w.api.delete("configmaps", "new")

        told = w.await_told(
            ("created", "old"), ("created", "new"), ("created", "plain"), ("deleted", "old"), ("deleted", "new")
        )
        assert [t.cause for t in told] == [
            "first-seen",
            "object-created",
            "annotation-added",
            "annotation-removed",
            "object-deleted",
        ]
