"""A cluster that changes at random, and the events that a correct receiver must get."""

import random
import threading
import time
from collections import defaultdict

from beacon.dev import endpoint
from beacon.dev.api_server import server

ANNOTATION = "bakerapps.net.maas"
NAMESPACE = "load"


class Load:
    """Creates, annotates, changes, de-annotates and deletes ConfigMaps, one every `pause_s`, in its own thread."""

    def __init__(self, cluster: server.ApiServer, *, seed: int, objects: int = 40, pause_s: float = 0.003) -> None:
        self.expected: dict[str, list[str]] = defaultdict(list)
        self.changes = 0
        self._cluster = cluster
        self._random = random.Random(seed)
        self._objects = objects
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._cluster.namespace(NAMESPACE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            self._change(f"o{self._random.randrange(self._objects)}")
            self.changes += 1

    def _change(self, name: str) -> None:
        expected = self.expected[name]
        value: dict[str, str | None] = {ANNOTATION: f"v{self.changes}"}
        if not expected or expected[-1] == "deleted":
            self._cluster.put("configmaps", {"metadata": {"name": name, "namespace": NAMESPACE, "annotations": value}})
            expected.append("created")
        elif self._random.random() < 0.3:
            self._cluster.annotate("configmaps", name, value, namespace=NAMESPACE)
            expected.append("updated")
        elif self._random.random() < 0.5:
            self._cluster.annotate("configmaps", name, {ANNOTATION: None}, namespace=NAMESPACE)
            expected.append("deleted")
        else:
            self._cluster.delete("configmaps", name, namespace=NAMESPACE)
            expected.append("deleted")


def received(sink: endpoint.SinkServer) -> dict[str, list[str]]:
    """Return the changes that the endpoint accepted, each id once, by object in the order of arrival."""
    seen: set[str] = set()
    by_object: dict[str, list[str]] = defaultdict(list)
    for attempt in sink.events():
        event = attempt.event
        if event is not None and event.id not in seen:
            seen.add(event.id)
            by_object[event.name].append(event.type.rpartition(".")[2])
    return by_object


def wait_until_delivered(load: Load, sink: endpoint.SinkServer, *, timeout: float = 30) -> None:
    """Wait until all expected events were accepted."""
    total = sum(map(len, load.expected.values()))
    sink.wait_for(lambda stats: stats.distinct >= total, timeout=timeout)


def pause(chance: random.Random, low_s: float, high_s: float) -> None:
    """Wait a random time before the next fault."""
    time.sleep(chance.uniform(low_s, high_s))
