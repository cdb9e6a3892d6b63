"""The embedded cluster's storage remembers every moment that its history reaches back to, and no other."""

import random
import threading
from typing import Any

import pytest

from beacon.dev.api_server import server, service

HISTORY = 40


@pytest.mark.parametrize("seed", range(5))
def test_a_list_at_an_older_version_returns_the_objects_of_that_version(seed: int) -> None:
    chance = random.Random(seed)
    cluster = server.ApiServer(service.ApiSettings(history=HISTORY, tls=False))
    moments: dict[int, list[tuple[str, str]]] = {}
    storage = ("", "configmaps")

    for _ in range(300):
        change_something(cluster, chance)
        moments[cluster.version] = seen(cluster.cluster.state.objects_at(storage, cluster.version))

    table = cluster.cluster.state.table(storage)
    remembered = {version: found for version, found in moments.items() if version >= table.floor}
    assert HISTORY <= len(remembered) < 2 * HISTORY
    for version, found in chance.sample(sorted(remembered.items()), len(remembered)):
        assert seen(cluster.cluster.state.objects_at(storage, version)) == found


def test_a_version_that_left_the_history_cannot_be_listed() -> None:
    cluster = server.ApiServer(service.ApiSettings(history=HISTORY, tls=False))
    for number in range(200):
        cluster.create("configmaps", {"metadata": {"name": f"c{number}"}})
    table = cluster.cluster.state.table(("", "configmaps"))

    assert cluster.cluster.state.objects_at(("", "configmaps"), table.floor - 1) is None


def test_writers_in_many_threads_get_one_version_each() -> None:
    cluster = server.ApiServer(service.ApiSettings(tls=False))
    before = cluster.version

    def write(prefix: str) -> None:
        for number in range(100):
            cluster.create("configmaps", {"metadata": {"name": f"{prefix}{number}"}})

    threads = [threading.Thread(target=write, args=[prefix]) for prefix in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    versions = {int(obj["metadata"]["resourceVersion"]) for obj in cluster.list("configmaps")}
    assert versions == set(range(before + 1, before + 401))


def change_something(cluster: server.ApiServer, chance: random.Random) -> None:
    name = f"c{chance.randrange(12)}"
    if cluster.get("configmaps", name) is None:
        cluster.create("configmaps", {"metadata": {"name": name}})
    elif chance.random() < 0.4:
        cluster.delete("configmaps", name)
    else:
        cluster.annotate("configmaps", name, {"n": str(cluster.version)})


def seen(found: list[Any] | None) -> list[tuple[str, str]]:
    assert found is not None
    return [(stored.obj["metadata"]["name"], stored.obj["metadata"]["resourceVersion"]) for stored in found]
