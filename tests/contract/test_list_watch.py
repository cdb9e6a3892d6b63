"""The behavior of list and watch that beacon.cluster relies on, tested on the embedded API server and on a real one.

The real one is the cluster of BEACON_TEST_KUBECONFIG; the tests use a temporary namespace.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kubernetes import client, config

from beacon.cluster import connection, credentials, discovery, failures, items, lists, watching
from beacon.dev.api_server import server as api_server

Result = TypeVar("Result")
KEY = "bakerapps.net.maas"
REAL = "BEACON_TEST_KUBECONFIG"


class Subject:
    """A cluster under test, changed through the official client and read through ours."""

    def __init__(self, kubeconfig: Path, embedded: api_server.ApiServer | None) -> None:
        self.embedded = embedded
        self.api = connection.Connection(credentials.source({"KUBECONFIG": str(kubeconfig)}, connections=8))
        settings = client.Configuration()
        load: Any = config.load_kube_config
        load(str(kubeconfig), client_configuration=settings)
        # Both accept plain objects, although their type hints differ.
        core: Any = client.CoreV1Api(client.ApiClient(settings))
        extensions: Any = client.ApiextensionsV1Api(client.ApiClient(settings))
        self.core, self.extensions = core, extensions
        self.defined: list[str] = []
        self.namespace = f"beacon-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace({"metadata": {"name": self.namespace}})
        self.configmaps = discovery.find(self.api, "v1", "ConfigMap")

    def close(self) -> None:
        self.core.delete_namespace(self.namespace)
        for name in self.defined:
            self.extensions.delete_custom_resource_definition(name)

    def define(self) -> discovery.ServedResource:
        """Define a new kind, and return it as soon as it can be listed."""
        group = f"{self.namespace}.example.com"
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        spec = {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        }
        name = f"widgets.{group}"
        self.extensions.create_custom_resource_definition({"metadata": {"name": name}, "spec": spec})
        self.defined.append(name)

        def listed() -> discovery.ServedResource:
            found = discovery.find(self.api, f"{group}/v1", "Widget")
            lists.current(self.api, found, self.namespace)
            return found

        return patiently(listed)

    def create(self, name: str, **metadata: Any) -> Any:
        return self.core.create_namespaced_config_map(
            self.namespace, {"metadata": {"name": name, **metadata}, "data": {"secret": "never asked for"}}
        ).metadata

    def annotate(self, name: str, value: str | None) -> Any:
        patch = {"metadata": {"annotations": {KEY: value}}}
        return self.core.patch_namespaced_config_map(name, self.namespace, patch).metadata

    def delete(self, name: str) -> None:
        self.core.delete_namespaced_config_map(name, self.namespace)

    def current(self) -> int:
        return lists.current(self.api, self.configmaps, self.namespace)

    def listed(self, limit: int = 500) -> list[items.ListPageItems]:
        return list(lists.pages(self.api, self.configmaps, self.namespace, limit=limit))

    def watch(self, position: int, *, timeout_s: int = 60, inactive_s: float = 90) -> watching.OpenWatch:
        return watching.start(
            self.api, self.configmaps, self.namespace, position=position, timeout_s=timeout_s, inactive_s=inactive_s
        )

    def faults(self) -> Any:
        if self.embedded is None:
            pytest.skip("faults can't be injected into a real API server")
        return self.embedded.faults


@pytest.fixture(params=["embedded", "real"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "embedded":
        with api_server.running(bookmark_interval_s=0.2) as embedded:
            yield Subject(embedded.kubeconfig(tmp_path / "kubeconfig"), embedded)
        return
    if not os.environ.get(REAL):
        pytest.skip(f"{REAL} is not set")
    made = Subject(Path(os.environ[REAL]), None)
    try:
        yield made
    finally:
        made.close()


def patiently(ask: Callable[[], Result], within_s: float = 60) -> Result:
    """Retry until the server is ready: a new kind is served after a moment."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return ask()
        except (failures.Absent, failures.ApiRefused) as failure:
            unready = isinstance(failure, failures.Absent) or failure.status in {404, 429, 500, 503}
            if not unready or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def read(
    watch: watching.OpenWatch, enough: Callable[[list[items.WatchEvent]], bool], within_s: float = 100
) -> list[items.WatchEvent]:
    """Read lines until `enough` returns True."""
    lines: list[items.WatchEvent] = []
    deadline = time.monotonic() + within_s
    while not enough(lines) and not watch.ended:
        assert time.monotonic() < deadline, lines
        lines += [items.line(data) for data in watch.read(0.2)]
    return lines


def changes(lines: list[items.WatchEvent], *names: str) -> list[tuple[str, str]]:
    return [(line.type, line.item.name) for line in lines if line.item.name in names]


def test_discovery_returns_plural_and_scope(subject: Subject) -> None:
    deployments = discovery.find(subject.api, "apps/v1", "Deployment")
    nodes = discovery.find(subject.api, "v1", "Node")

    assert (deployments.plural, deployments.namespaced, deployments.name) == ("deployments", True, "deployments.apps")
    assert (nodes.plural, nodes.namespaced, nodes.name) == ("nodes", False, "nodes")
    assert deployments.path("a b") == "/apis/apps/v1/namespaces/a%20b/deployments"


@pytest.mark.parametrize(
    ("api_version", "kind"), [("v1", "Unknown"), ("unknown.example.com/v1", "Widget"), ("apps/v9", "Deployment")]
)
def test_a_kind_that_is_not_served_is_absent(subject: Subject, api_version: str, kind: str) -> None:
    with pytest.raises(failures.Absent):
        discovery.find(subject.api, api_version, kind)


def test_a_configured_plural_is_used_as_it_is(subject: Subject) -> None:
    assert discovery.find(subject.api, "v1", "Anything", "secrets").plural == "secrets"


def test_a_kind_without_list_and_watch_is_unsuitable(subject: Subject) -> None:
    with pytest.raises(failures.Unsuitable):
        discovery.find(subject.api, "authorization.k8s.io/v1", "SelfSubjectAccessReview")


def test_the_cluster_has_an_identity(subject: Subject) -> None:
    assert lists.cluster_uid(subject.api) == subject.core.read_namespace("kube-system").metadata.uid


def test_pages_have_one_resource_version_and_contain_every_object_once(subject: Subject) -> None:
    names = {f"c{number}" for number in range(7)}
    for name in names:
        subject.create(name)

    pages = lists.pages(subject.api, subject.configmaps, subject.namespace, limit=3)
    first = next(pages)
    subject.create("late")
    rest = list(pages)

    listed = [item.name for page in [first, *rest] for item in page.items]
    assert {page.version for page in rest} == {first.version}
    assert names <= set(listed)
    assert "late" not in listed
    assert len(listed) == len(set(listed))


def test_a_list_shows_annotations_labels_uid_and_version(subject: Subject) -> None:
    made = subject.create("a", annotations={KEY: "x"}, labels={"l": "1"})

    (found,) = [item for page in subject.listed() for item in page.items if item.name == "a"]

    assert (found.uid, found.resource_version) == (made.uid, made.resource_version)
    assert (found.annotations, found.labels) == ({KEY: "x"}, {"l": "1"})
    assert found.namespace == subject.namespace


def test_the_current_version_is_at_least_that_of_the_last_write(subject: Subject) -> None:
    made = subject.create("a")

    assert subject.current() >= int(made.resource_version)


def test_a_namespace_that_does_not_exist_is_an_empty_list(subject: Subject) -> None:
    (page,) = lists.pages(subject.api, subject.configmaps, "there-is-none")

    assert list(page.items) == []
    assert page.version > 0


def test_a_watch_sends_every_change_of_an_object_with_rising_versions(subject: Subject) -> None:
    position = subject.current()
    with subject.watch(position) as watch:
        subject.create("a", annotations={KEY: "x"})
        subject.annotate("a", "y")
        subject.annotate("a", None)
        subject.delete("a")
        lines = read(watch, lambda lines: len(changes(lines, "a")) == 4)

    mine = [line for line in lines if line.item.name == "a"]
    assert [line.type for line in mine] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    versions = [line.item.version for line in mine]
    assert versions == sorted(set(versions))
    assert versions[0] > position
    assert len({line.item.uid for line in mine}) == 1


def test_a_watch_resumed_at_a_position_sends_only_later_changes(subject: Subject) -> None:
    subject.create("before")
    position = subject.current()
    subject.create("short")
    subject.delete("short")

    with subject.watch(position) as watch:
        lines = read(watch, lambda lines: len(changes(lines, "short")) == 2)

    assert changes(lines, "before", "short") == [("ADDED", "short"), ("DELETED", "short")]
    assert all(line.item.version > position for line in lines)


def test_a_watch_ends_cleanly_after_its_timeout(subject: Subject) -> None:
    with subject.watch(subject.current(), timeout_s=1) as watch:
        read(watch, lambda _: False)

        assert watch.ended


def test_bookmarks_advance_the_position_of_an_idle_watch(subject: Subject) -> None:
    # The changes must be of the same kind: Kubernetes 1.24 sends no bookmark for a kind without changes.
    position = subject.current()
    subject.core.create_namespaced_config_map("default", {"metadata": {"name": subject.namespace}})
    subject.core.delete_namespaced_config_map(subject.namespace, "default")
    seconds = 75 if subject.embedded is None else 5

    with subject.watch(position, timeout_s=seconds) as watch:
        lines = read(watch, lambda lines: any(line.type == "BOOKMARK" for line in lines), within_s=seconds + 5)

    bookmark = next(line for line in lines if line.type == "BOOKMARK")
    assert bookmark.item.version > position
    assert bookmark.item.uid == ""


def test_a_compacted_position_is_a_410_with_a_message(subject: Subject) -> None:
    # A new cluster keeps its history since the start, and a test can't compact it. The history of a new kind begins
    # with its definition, on every version.
    widgets = subject.define()

    def watch_from_the_beginning() -> None:
        opened = watching.start(subject.api, widgets, subject.namespace, position=1, timeout_s=10, inactive_s=90)
        with opened as watch:
            read(watch, lambda _: False)

    with pytest.raises(failures.ApiRefused) as caught:
        patiently(watch_from_the_beginning)

    assert caught.value.status == 410
    assert "too old resource version" in str(caught.value)


def test_reading_an_idle_watch_does_not_block(subject: Subject) -> None:
    with subject.watch(subject.current()) as watch:
        read(watch, lambda _: True)

        watch.read(0.1)  # returns


def test_a_burst_is_read_completely_and_in_order_after_a_pause_of_the_reader(subject: Subject) -> None:
    position = subject.current()
    with subject.watch(position) as watch:
        for number in range(40):
            subject.create(f"b{number}", annotations={KEY: "x" * 3000})
        lines = read(watch, lambda lines: len([line for line in lines if line.type == "ADDED"]) >= 40)

    assert [line.item.name for line in lines if line.item.name.startswith("b")] == [f"b{n}" for n in range(40)]


def test_a_cut_connection_is_reported_as_broken_and_not_as_ended(subject: Subject) -> None:
    faults = subject.faults()
    with subject.watch(subject.current()) as watch:
        read(watch, bool)
        faults.drop()

        with pytest.raises(failures.Broken):
            read(watch, lambda _: False)
        assert not watch.ended


def test_an_incomplete_line_is_never_returned(subject: Subject) -> None:
    faults = subject.faults()
    with subject.watch(subject.current()) as watch:
        read(watch, bool)
        faults.half_line()
        subject.create("half", annotations={KEY: "x"})

        lines: list[items.WatchEvent] = []
        with pytest.raises(failures.Broken):
            lines += read(watch, lambda _: False)
    assert changes(lines, "half") == []


def test_a_frozen_connection_is_detected_by_inactivity(subject: Subject) -> None:
    faults = subject.faults()
    with subject.watch(subject.current(), inactive_s=0.5) as watch:
        faults.freeze()

        with pytest.raises(failures.Silent):
            read(watch, lambda _: False)


def test_an_error_line_is_raised_with_its_status(subject: Subject) -> None:
    faults = subject.faults()
    with subject.watch(subject.current()) as watch:
        read(watch, bool)
        faults.error_line(410)

        with pytest.raises(failures.ApiRefused) as caught:
            read(watch, lambda _: False)
    assert caught.value.status == 410


def test_a_refusal_carries_the_servers_message_and_retry_after(subject: Subject) -> None:
    faults = subject.faults()
    faults.fail(429, times=1, retry_after_s=7, resource="configmaps")

    with pytest.raises(failures.ApiRefused) as caught:
        subject.current()

    assert (caught.value.status, caught.value.delay_s) == (429, 7.0)


def test_an_expired_continue_token_is_a_410(subject: Subject) -> None:
    faults = subject.faults()
    for number in range(5):
        subject.create(f"c{number}")
    pages = lists.pages(subject.api, subject.configmaps, subject.namespace, limit=2)
    next(pages)
    subject.create("later")
    faults.compact()

    with pytest.raises(failures.ApiRefused) as caught:
        list(pages)

    assert caught.value.status == 410


def test_a_missing_bearer_token_is_a_refusal_and_not_a_library_exception(subject: Subject, tmp_path: Path) -> None:
    if subject.embedded is None:
        pytest.skip("the real cluster's kubeconfig may authenticate by certificate")
    path = subject.embedded.kubeconfig(tmp_path / "other", token="wrong")
    stranger = connection.Connection(credentials.source({"KUBECONFIG": str(path)}, connections=1))

    with pytest.raises(failures.ApiRefused) as caught:
        lists.current(stranger, subject.configmaps, "")

    assert caught.value.status == 401
