"""Which roles come of which rights."""

from typing import Any

from beacon.cli import rights

HOLDER = rights.Holder(name="n", namespace="ns", account="sa")


def made(*watched: tuple[str, str, str], identity: bool = True) -> dict[str, Any]:
    needed = [
        right
        for group, plural, namespace in watched
        for right in rights.of(rights.Watched(group=group, plural=plural, namespace=namespace))
    ]
    manifests = rights.manifests([*needed, *([rights.IDENTITY] if identity else [])], HOLDER)
    return {f"{one['kind']}@{one['metadata'].get('namespace', '')}": one for one in manifests}


def test_a_kind_that_is_watched_everywhere_needs_a_cluster_role_which_holds_the_identity_too() -> None:
    found = made(("", "pods", ""), ("", "configmaps", ""), ("apps", "deployments", ""))

    assert list(found) == ["ClusterRole@", "ClusterRoleBinding@"]
    assert found["ClusterRole@"]["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
    ]


def test_a_kind_that_is_watched_in_some_namespaces_needs_a_role_in_each_and_nothing_of_the_whole_cluster() -> None:
    found = made(("", "pods", "a"), ("", "pods", "b"))

    assert list(found) == [f"{kind}@{where}" for where in ("a", "b", "kube-system") for kind in ("Role", "RoleBinding")]
    assert found["Role@kube-system"]["rules"][0]["resourceNames"] == ["kube-system"]


def test_listing_all_namespaces_is_another_right_than_reading_one() -> None:
    rules = made(("", "namespaces", ""))["ClusterRole@"]["rules"]

    assert [(rule["verbs"], rule.get("resourceNames")) for rule in rules] == [
        (["list", "watch"], None),
        (["get"], ["kube-system"]),
    ]


def test_the_binding_names_the_role_and_the_account() -> None:
    binding = made(("", "pods", "a"), identity=False)["RoleBinding@a"]

    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "n"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "sa", "namespace": "ns"}]


def test_users_and_groups_take_the_place_of_the_service_account() -> None:
    holder = rights.Holder(name="n", namespace="ns", account="sa", users=("jane",), groups=("ops", "dev"))

    _, binding = rights.manifests([rights.IDENTITY], holder)

    api = "rbac.authorization.k8s.io"
    assert binding["subjects"] == [
        {"kind": "User", "apiGroup": api, "name": "jane"},
        {"kind": "Group", "apiGroup": api, "name": "ops"},
        {"kind": "Group", "apiGroup": api, "name": "dev"},
    ]
