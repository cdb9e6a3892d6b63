"""The embedded API server where the recordings are silent: objects, lists, watches and rights."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon.dev.api_server import server, status
from tests.contract.recordings import asking

Json = dict[str, Any]

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture(scope="module")
def shared() -> Iterator[server.ApiServer]:
    with server.running() as running:
        yield running


@pytest.fixture
def cluster(shared: server.ApiServer) -> server.ApiServer:
    """Empty the server and return it."""
    shared.faults.clear()
    for resource in ("configmaps", "deployments.apps", "pods"):
        for obj in shared.list(resource):
            metadata = obj["metadata"]
            shared.patch(
                resource, metadata["name"], {"metadata": {"finalizers": None}}, namespace=metadata["namespace"]
            )
            shared.delete(resource, metadata["name"], namespace=metadata["namespace"])
    return shared


@pytest.fixture
def client(cluster: server.ApiServer, tmp_path: Path) -> asking.Client:
    return asking.Client(cluster, tmp_path)


def named(name: str, **metadata: Any) -> Json:
    return {"metadata": {"name": name, **metadata}}


def test_one_resource_version_counts_every_change_of_every_kind(cluster: server.ApiServer) -> None:
    first = int(cluster.create("configmaps", named("a"))["metadata"]["resourceVersion"])

    second = int(cluster.create("deployments.apps", named("b"))["metadata"]["resourceVersion"])

    assert (second, cluster.version) == (first + 1, first + 1)


def test_the_generation_counts_changes_of_the_spec_only(client: asking.Client) -> None:
    client.ask("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {"replicas": 1}})

    _, labelled = client.ask(
        "PATCH", f"{DEPLOYMENTS}/d", {"metadata": {"labels": {"a": "b"}}}, content_type=asking.MERGE
    )
    _, scaled = client.ask("PATCH", f"{DEPLOYMENTS}/d", {"spec": {"replicas": 2}}, content_type=asking.MERGE)

    assert (labelled["metadata"]["generation"], scaled["metadata"]["generation"]) == (1, 2)


def test_the_status_is_written_through_its_subresource_only(client: asking.Client) -> None:
    client.ask("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {"replicas": 1}})
    change = {"status": {"replicas": 3}, "spec": {"replicas": 9}}

    _, whole = client.ask("PATCH", f"{DEPLOYMENTS}/d", {"status": {"replicas": 3}}, content_type=asking.MERGE)
    _, part = client.ask("PATCH", f"{DEPLOYMENTS}/d/status", change, content_type=asking.MERGE)

    assert whole["status"] == {}
    assert (part["status"], part["spec"]) == ({"replicas": 3}, {"replicas": 1})


def test_fields_that_only_the_server_sets_are_refused(client: asking.Client) -> None:
    _, made = client.ask("POST", CONFIGMAPS, named("a", uid="mine", creationTimestamp="2020-01-01T00:00:00Z"))

    assert made["metadata"]["uid"] != "mine"
    assert not made["metadata"]["creationTimestamp"].startswith("2020")


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("PUT", f"{CONFIGMAPS}/a", {"metadata": {"name": "b"}}, 400),
        ("PUT", f"{CONFIGMAPS}/a", {"metadata": {"name": "a", "uid": "other"}}, 409),
        ("PUT", f"{CONFIGMAPS}/none", {"metadata": {"name": "none"}}, 404),
        ("POST", CONFIGMAPS, {"metadata": {"name": "x", "namespace": "other"}}, 400),
        ("POST", CONFIGMAPS, {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}, 400),
        ("POST", CONFIGMAPS, {"metadata": {}}, 422),
        ("POST", CONFIGMAPS, [1], 400),
        ("POST", CONFIGMAPS, b"{", 400),
        ("POST", "/api/v1/configmaps", {"metadata": {"name": "x"}}, 405),
        ("DELETE", "/api/v1/namespaces/kube-system", None, 403),
        ("DELETE", f"{CONFIGMAPS}/a", {"preconditions": {"uid": "other"}}, 409),
        ("GET", f"{CONFIGMAPS}?limit=x", None, 400),
        ("GET", f"{CONFIGMAPS}?fieldSelector=data.k%3Dv", None, 400),
        ("GET", f"{CONFIGMAPS}?resourceVersionMatch=Exact", None, 422),
        ("GET", f"{CONFIGMAPS}?watch=true&sendInitialEvents=true", None, 422),
        ("GET", "/api/v2/pods", None, 404),
        ("GET", f"{CONFIGMAPS}/a/nothing", None, 404),
    ],
)
def test_impossible_requests_are_refused(client: asking.Client, method: str, path: str, body: Any, code: int) -> None:
    client.ask("POST", CONFIGMAPS, named("a"))

    assert client.ask(method, path, body)[0] == code


@pytest.mark.parametrize("content_type", ["application/yaml", "text/plain"])
def test_an_unknown_kind_of_body_is_refused(client: asking.Client, content_type: str) -> None:
    assert client.ask("POST", CONFIGMAPS, named("a"), content_type=content_type)[0] == 415


def test_options_of_a_deletion_are_read_from_protobuf(client: asking.Client) -> None:
    _, made = client.ask("POST", CONFIGMAPS, named("a"))
    path, media_type = f"{CONFIGMAPS}/a", "application/vnd.kubernetes.protobuf"

    def ask(uid: str, *more: bytes) -> int:
        options = protobuf_field(2, protobuf_field(1, uid.encode())) + b"".join(more)
        head = protobuf_field(1, protobuf_field(1, b"v1") + protobuf_field(2, b"DeleteOptions"))
        body = b"k8s\x00" + head + protobuf_field(2, options)
        return client.ask("DELETE", path, body, content_type=media_type)[0]

    assert ask("another") == 409
    assert ask(made["metadata"]["uid"], protobuf_field(5, b"All")) == 200  # a dry run
    assert client.get(path)[0] == 200
    assert ask(made["metadata"]["uid"], b"\x08\x00", protobuf_field(4, b"Background")) == 200
    assert client.get(path)[0] == 404


def protobuf_field(number: int, content: bytes) -> bytes:
    """Encode a field of bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.mark.parametrize(
    ("accept", "path", "code"),
    [
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", f"{CONFIGMAPS}/a", 406),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", CONFIGMAPS, 406),
        ("application/json;as=Table;g=meta.k8s.io;v=v1", CONFIGMAPS, 406),
        ("application/json;as=Table;g=meta.k8s.io;v=v1,application/json", CONFIGMAPS, 200),
        ("application/xml", CONFIGMAPS, 406),
        ("*/*", CONFIGMAPS, 200),
    ],
)
def test_the_form_is_negotiated(
    cluster: server.ApiServer, client: asking.Client, accept: str, path: str, code: int
) -> None:
    cluster.create("configmaps", named("a"))

    assert client.get(path, accept=accept)[0] == code


def test_a_json_patch_changes_the_named_fields(cluster: server.ApiServer, client: asking.Client) -> None:
    cluster.create("configmaps", named("a", annotations={"x/y": "1"}))
    patch = [
        {"op": "test", "path": "/metadata/annotations/x~1y", "value": "1"},
        {"op": "replace", "path": "/metadata/annotations/x~1y", "value": "2"},
        {"op": "add", "path": "/data", "value": {"k": "v"}},
    ]

    code, changed = client.ask("PATCH", f"{CONFIGMAPS}/a", patch, content_type="application/json-patch+json")
    failed, _ = client.ask("PATCH", f"{CONFIGMAPS}/a", patch, content_type="application/json-patch+json")

    assert (code, changed["metadata"]["annotations"], changed["data"]) == (200, {"x/y": "2"}, {"k": "v"})
    assert failed == 422


def test_a_strategic_patch_merges_lists_by_their_key(client: asking.Client) -> None:
    containers = [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]
    client.ask(
        "POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": containers}}}}
    )
    wanted = [{"name": "b", "image": "2"}, {"name": "a", "$patch": "delete"}]
    patch = {"spec": {"template": {"spec": {"containers": wanted}}}}

    _, changed = client.ask("PATCH", f"{DEPLOYMENTS}/d", patch, content_type="application/strategic-merge-patch+json")

    assert changed["spec"]["template"]["spec"]["containers"] == [{"name": "b", "image": "2"}]


def test_a_dry_run_changes_nothing(cluster: server.ApiServer, client: asking.Client) -> None:
    before = cluster.version

    code, _ = client.ask("POST", f"{CONFIGMAPS}?dryRun=All", named("a"))

    assert (code, cluster.version, cluster.get("configmaps", "a")) == (201, before, None)


def test_a_namespace_goes_with_its_content_and_waits_for_finalizers(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    cluster.namespace("going")
    cluster.create("configmaps", named("a"), namespace="going")
    cluster.create("configmaps", named("held", finalizers=["example.com/x"]), namespace="going")
    watch = client.watch(f"/api/v1/namespaces/going/configmaps?resourceVersion={cluster.version}")

    _, answer = client.ask("DELETE", "/api/v1/namespaces/going")
    refused, _ = client.ask("POST", "/api/v1/namespaces/going/configmaps", named("late"))
    lines = [watch.next_summary(), watch.next_summary()]
    cluster.patch("configmaps", "held", {"metadata": {"finalizers": None}}, namespace="going")

    assert answer["status"]["phase"] == "Terminating"
    assert refused == 403
    assert lines == ["DELETED a", "MODIFIED held"]
    assert watch.next_summary() == "DELETED held"
    assert cluster.get("namespaces", "going") is None


def test_a_collection_is_deleted_by_its_selector(cluster: server.ApiServer, client: asking.Client) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        cluster.create("configmaps", named(name, labels={"colour": colour}))

    code, gone = client.ask("DELETE", f"{CONFIGMAPS}?labelSelector=colour%3Dred")

    assert (code, [item["metadata"]["name"] for item in gone["items"]]) == (200, ["a", "c"])
    assert [obj["metadata"]["name"] for obj in cluster.list("configmaps")] == ["b"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("colour=red", "ac"), ("colour!=red", "bd"), ("colour in (red, blue)", "abc"), ("colour notin (red)", "bd"),
        ("colour", "abc"), ("!colour", "d"), ("size>3", "c"), ("colour=red,size<3", "a"), ("colour==blue", "b"),
    ],
)  # fmt: skip
def test_a_label_selector_returns_the_matching_objects(
    cluster: server.ApiServer, client: asking.Client, selector: str, names: str
) -> None:
    labels = {
        "a": {"colour": "red", "size": "1"},
        "b": {"colour": "blue"},
        "c": {"colour": "red", "size": "5"},
        "d": {},
    }
    for name, found in labels.items():
        cluster.create("configmaps", named(name, labels=found))

    _, listed = client.ask("GET", CONFIGMAPS + "?labelSelector=" + selector.replace(" ", "%20").replace("=", "%3D"))

    assert "".join(item["metadata"]["name"] for item in listed["items"]) == names


def test_all_pages_of_a_list_show_one_moment_whatever_happens_between(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    for number in range(10):
        cluster.create("configmaps", named(f"c{number}"))
    then = cluster.version

    names, token, versions = [], "", set()
    while True:
        _, page = client.get(f"{CONFIGMAPS}?limit=3&continue={token}", accept=asking.METADATA_LIST)
        names += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        if not (token := page["metadata"].get("continue", "")):
            break
        cluster.delete("configmaps", f"c{10 - len(names) // 3}")
        cluster.create("configmaps", named(f"x{len(names)}"))

    assert names == [f"c{number}" for number in range(10)]
    assert versions == {str(then)}


def test_a_page_after_a_compaction_is_refused_with_a_token_that_goes_on_from_now(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    for name in "abcd":
        cluster.create("configmaps", named(name))
    _, page = client.get(f"{CONFIGMAPS}?limit=2")
    cluster.create("configmaps", named("e"))
    cluster.faults.compact()

    code, refusal = client.get(f"{CONFIGMAPS}?limit=2&continue={page['metadata']['continue']}")
    fresh = refusal["metadata"]["continue"]
    _, rest = client.get(f"{CONFIGMAPS}?continue={fresh}")

    assert (code, refusal["reason"]) == (410, "Expired")
    assert json.loads(base64.urlsafe_b64decode(fresh + "==")) == {"v": "meta.k8s.io/v1", "rv": -1, "start": "/b\0"}
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d", "e"]


def test_lists_of_all_namespaces_are_in_the_order_of_etcd(cluster: server.ApiServer, client: asking.Client) -> None:
    for namespace in ("a", "a-b"):
        cluster.namespace(namespace)
        cluster.create("configmaps", named("x"), namespace=namespace)

    _, first = client.get("/api/v1/configmaps?limit=1")
    _, second = client.get(f"/api/v1/configmaps?continue={first['metadata']['continue']}")

    assert first["items"][0]["metadata"]["namespace"] == "a-b"  # "-" comes before "/"
    assert [item["metadata"]["namespace"] for item in second["items"]] == ["a"]


def test_a_watch_of_one_namespace_gets_no_events_of_others(cluster: server.ApiServer, client: asking.Client) -> None:
    cluster.namespace("other")
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}")

    cluster.create("configmaps", named("there"), namespace="other")
    cluster.create("configmaps", named("here"))

    assert watch.next_summary() == "ADDED here"
    cluster.delete("configmaps", "there", namespace="other")


def test_a_watch_continues_after_many_changes_that_its_selector_excludes(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    cluster.create("configmaps", named("noise"))
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}&labelSelector=shown%3Dyes")
    with cluster.cluster.state.lock:  # so that all of it comes at once
        for number in range(1000):
            cluster.annotate("configmaps", "noise", {"n": str(number)})
        cluster.create("configmaps", named("a", labels={"shown": "yes"}))

    assert watch.next_summary() == "ADDED a"


def test_a_watch_that_falls_out_of_the_history_expires(tmp_path: Path) -> None:
    with server.running(history=10) as small:
        client = asking.Client(small, tmp_path)
        small.create("configmaps", named("a"))
        position = small.version
        for number in range(50):
            small.annotate("configmaps", "a", {"n": str(number)})

        watch = client.watch(f"{CONFIGMAPS}?resourceVersion={position}")

        assert watch.status == 200
        assert watch.next()["object"]["code"] == 410
        assert watch.all() == []


def test_versions_of_a_custom_resource_are_one_object(cluster: server.ApiServer, client: asking.Client) -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    versions = [{"name": name, "served": True, "storage": name == "v1", "schema": schema} for name in ("v1", "v1beta1")]
    names = {"plural": "things", "kind": "Thing"}
    spec = {"group": "ex.com", "scope": "Namespaced", "names": names, "versions": versions}
    cluster.create("customresourcedefinitions.apiextensions.k8s.io", {**named("things.ex.com"), "spec": spec})
    body = {"apiVersion": "ex.com/v1", "kind": "Thing", **named("t")}
    client.ask("POST", "/apis/ex.com/v1/namespaces/default/things", body)

    _, read = client.get("/apis/ex.com/v1beta1/namespaces/default/things/t")
    cluster.delete("customresourcedefinitions.apiextensions.k8s.io", "things.ex.com")

    assert (read["apiVersion"], read["metadata"]["name"]) == ("ex.com/v1beta1", "t")
    assert client.get("/apis/ex.com/v1/things") == (404, "404 page not found\n")


def test_rights_come_from_stored_roles_and_bindings(cluster: server.ApiServer, tmp_path: Path) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    cluster.create("clusterroles.rbac.authorization.k8s.io", {**named("reader"), "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "default"}
    binding = {"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [subject]}
    cluster.create("rolebindings.rbac.authorization.k8s.io", {**named("bot"), **binding}, namespace="default")
    token = cluster.faults.issue("system:serviceaccount:default:bot")
    client = asking.Client(cluster, tmp_path, token=token)

    assert client.get(CONFIGMAPS)[0] == 200
    code, refusal = client.get("/api/v1/configmaps")
    message = (
        'configmaps is forbidden: User "system:serviceaccount:default:bot" cannot list resource "configmaps" '
        'in API group "" at the cluster scope'
    )
    assert (code, refusal["message"]) == (403, message)
    assert client.watch(CONFIGMAPS).status == 403


def test_a_right_can_be_revoked_and_granted_again(cluster: server.ApiServer, tmp_path: Path) -> None:
    client = asking.Client(cluster, tmp_path)

    cluster.faults.deny(user="admin", verbs=["list"], resources=["configmaps"])
    taken = client.get(CONFIGMAPS)[0]
    cluster.faults.clear()

    assert (taken, client.get(CONFIGMAPS)[0]) == (403, 200)


def test_a_revoked_token_is_unknown_until_it_is_issued_again(cluster: server.ApiServer, tmp_path: Path) -> None:
    token = cluster.faults.issue("bot", ["system:masters"])
    client = asking.Client(cluster, tmp_path, token=token)

    codes = [client.get(CONFIGMAPS)[0]]
    cluster.faults.revoke(token)
    codes.append(client.get(CONFIGMAPS)[0])
    cluster.faults.reissue(token, "bot", ["system:masters"])

    assert [*codes, client.get(CONFIGMAPS)[0]] == [200, 401, 200]


def test_python_calls_raise_the_errors_that_http_returns(cluster: server.ApiServer) -> None:
    cluster.create("configmaps", named("a"))

    with pytest.raises(status.ApiError, match="already exists"):
        cluster.create("configmaps", named("a"))


def test_a_stored_object_does_not_change_with_a_copy_that_was_read_or_patched(cluster: server.ApiServer) -> None:
    before = cluster.create("configmaps", named("a", annotations={"x": "1"}))

    cluster.annotate("configmaps", "a", {"x": "2"})

    assert before["metadata"]["annotations"] == {"x": "1"}
