"""The differences between two configurations are named by their keys, and no secret is shown."""

import pytest

from beacon.configuration import changed, loading

BEFORE = """
resources: [{apiVersion: v1, kind: ConfigMap}]
endpoint: {url: "https://a.example/x?token=one", headers: {X-Key: secret-one}, timeout: 30s}
"""


def differences(before: str, after: str) -> list[str]:
    return changed.between(loading.parse(before, {}).settings, loading.parse(after, {}).settings)


@pytest.mark.parametrize(
    ("old", "new", "phrases"),
    [
        ("timeout: 30s", "timeout: 10s", ["endpoint.timeout 30s -> 10s"]),
        ("secret-one", "secret-two", ["endpoint.headers.X-Key changed"]),
        ("token=one", "token=two", ["endpoint.url changed"]),
        (
            "X-Key: secret-one",
            "X-Other: secret-one",
            ["endpoint.headers.X-Key removed", "endpoint.headers.X-Other added"],
        ),
        ("kind: ConfigMap}", "kind: ConfigMap}, {apiVersion: v1, kind: Pod}", ["resources[1] added"]),
        ("kind: ConfigMap", "kind: ConfigMap, namespaces: [a, b]", ['resources[0].namespaces [] -> ["a","b"]']),
        (", timeout", ", proxy: none, timeout", ["endpoint.proxy.url env -> none"]),
        (
            "timeout: 30s}",
            "timeout: 30s}\nbackup: {interval: 1h, path: /b}",
            ["backup.interval 0s -> 1h", 'backup.path "" -> /b'],
        ),
        ("timeout: 30s", "timeout: 30.0s", []),
    ],
)
def test_each_difference_is_named(old: str, new: str, phrases: list[str]) -> None:
    assert old in BEFORE

    found = differences(BEFORE, BEFORE.replace(old, new))

    assert found == phrases
    assert "secret" not in " ".join(found)


def test_endpoints_are_known_by_their_names() -> None:
    several = """
resources: [{apiVersion: v1, kind: ConfigMap}]
endpoints: [{name: a, url: "https://a.example/"}, {name: b, url: "https://b.example/"}]
"""
    exchanged = several.replace("name: a", "name: c").replace("b.example/", "b.example/new")

    assert differences(several, exchanged) == [
        "endpoints[a] removed",
        "endpoints[b].url https://b.example/ -> https://b.example/new",
        "endpoints[c] added",
    ]
    assert differences(BEFORE, several)[-2:] == ["endpoints[a] added", "endpoints[b] added"]
