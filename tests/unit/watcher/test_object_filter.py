"""Only objects that the rule accepts, and those in the wanted set, are sent to the store."""

from beacon.cluster import items
from beacon.domain import model, rules
from beacon.watcher import object_filter
from beacon.watcher.object_filter import Mutation

KEY = "k"
RULE = rules.ScopeRule(
    annotation=KEY, payload_annotations=frozenset({"p", "kubectl.kubernetes.io/last-applied-configuration"})
)


def item(uid: str = "u", /, **annotations: str) -> items.Item:
    return items.Item(
        uid=uid, namespace="ns", name="a", resource_version="5", labels={"l": "1"}, annotations=annotations or None
    )


def line(kind: str, seen: items.Item) -> items.WatchEvent:
    return items.WatchEvent(type=kind, item=seen)


def pass_on(watched: object_filter.ObjectFilter, kind: str, seen: items.Item) -> Mutation | None:
    observation = watched.seen(line(kind, seen), 1)
    assert observation is not None
    return watched.follow(observation)


def test_an_object_that_is_neither_accepted_nor_wanted_is_not_sent() -> None:
    watched = object_filter.ObjectFilter(RULE)

    assert watched.seen(line("ADDED", item(other="x")), 1) is None
    assert watched.seen(line("DELETED", item()), 1) is None
    assert watched.listed(item()) is None


def test_an_accepted_object_is_sent_with_the_fields_of_the_payload() -> None:
    last_applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    watched = object_filter.ObjectFilter(RULE)

    seen = watched.seen(line("ADDED", item(k="v", p="q", other="x", **last_applied)), 7)

    assert seen == model.Observation(
        uid="u",
        namespace="ns",
        name="a",
        resource_version=5,
        change=model.ChangeKind.ADDED,
        verdict=model.RuleVerdict.ACCEPTED,
        value="v",
        labels={"l": "1"},
        annotations={"p": "q"},
        received_ns=7,
    )


def test_an_object_sent_as_accepted_is_followed_until_it_is_released() -> None:
    watched = object_filter.ObjectFilter(RULE)
    pass_on(watched, "ADDED", item(k="v"))

    released = watched.seen(line("MODIFIED", item()), 1)
    assert released is not None
    assert released.verdict is model.RuleVerdict.ANNOTATION
    watched.follow(released)

    assert watched.seen(line("MODIFIED", item()), 1) is None
    assert watched.seen(line("DELETED", item()), 1) is None


def test_an_object_sent_as_deleted_is_no_longer_wanted() -> None:
    watched = object_filter.ObjectFilter(RULE, ["u"])

    pass_on(watched, "DELETED", item())

    assert watched.seen(line("DELETED", item()), 1) is None


def test_an_object_that_only_the_store_knows_stays_wanted_because_it_may_be_unmanaged() -> None:
    watched = object_filter.ObjectFilter(RULE, ["u"])

    pass_on(watched, "MODIFIED", item())

    assert watched.seen(line("DELETED", item()), 1) is not None


def test_a_list_replaces_the_wanted_uids_by_those_of_the_store() -> None:
    watched = object_filter.ObjectFilter(RULE, ["old"])
    watched.listed(item("kept", k="v"))

    watched.replace_wanted(["kept", "unmanaged"])

    assert watched.seen(line("MODIFIED", item("old")), 1) is None
    assert watched.seen(line("MODIFIED", item("unmanaged")), 1) is not None
    assert pass_on(watched, "MODIFIED", item("kept")) is Mutation.REMOVED


def test_changes_of_the_annotation_are_distinguished() -> None:
    watched = object_filter.ObjectFilter(RULE)

    received = [
        pass_on(watched, "ADDED", item(k="1")),
        pass_on(watched, "MODIFIED", item(k="1", other="x")),
        pass_on(watched, "MODIFIED", item(k="2")),
        pass_on(watched, "MODIFIED", item()),
        pass_on(watched, "MODIFIED", item(k="2")),
        pass_on(watched, "DELETED", item(k="2")),
    ]

    assert received == [None, None, Mutation.CHANGED, Mutation.REMOVED, Mutation.ADDED, None]
