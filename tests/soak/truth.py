"""A cluster that changes at random, and the events that a correct receiver must get for each object.

The expected events are recorded in order: one for each change, and, after a restore to an earlier state, one for each
difference that the restore made.
"""

import random
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from beacon.dev.api_server import server

ANNOTATION = "bakerapps.net.maas"
NAMESPACE = "soak"

Expected = tuple[str, str]  # type, annotation value


@dataclass(frozen=True, slots=True)
class Annotated:
    """An object with the annotation."""

    uid: str
    value: str


class Truth:
    """Changes ConfigMaps in a separate thread, one every `pause_s`, until stopped."""

    def __init__(self, cluster: server.ApiServer, *, seed: int, objects: int = 40, pause_s: float = 0.01) -> None:
        """Create the empty namespace."""
        self.expected: dict[str, list[Expected]] = defaultdict(list)
        self.changes = 0
        self._annotated: dict[str, Annotated] = {}
        self._cluster = cluster
        self._random = random.Random(seed)
        self._objects = objects
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="truth", daemon=True)
        cluster.namespace(NAMESPACE)

    @property
    def total(self) -> int:
        """Return the number of expected events."""
        return sum(map(len, self.expected.values()))

    @property
    def held(self) -> threading.Lock:
        """Return the lock that pauses all changes while it is held."""
        return self._lock

    def start(self) -> None:
        """Start the changes."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the changes permanently."""
        self._stop.set()
        self._thread.join()

    def change(self, count: int) -> None:
        """Make this number of changes; the caller holds the lock."""
        for _ in range(count):
            self._change(f"o{self._random.randrange(self._objects)}")

    def annotated(self) -> Mapping[str, Annotated]:
        """Return the objects with the annotation; the caller holds the lock."""
        return dict(self._annotated)

    def restored(self, annotated: Mapping[str, Annotated]) -> None:
        """Record that the cluster was restored to the state with these objects; the caller holds the lock."""
        for name in {*annotated, *self._annotated}:
            before, after = self._annotated.get(name), annotated.get(name)
            same = before is not None and after is not None and before.uid == after.uid
            if before is not None and not same:
                self.expected[name].append(("deleted", before.value))
            if after is not None and before != after:
                self.expected[name].append(("updated" if same else "created", after.value))
        self._annotated = dict(annotated)

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            with self._lock:
                self.change(1)

    def _change(self, name: str) -> None:
        self.changes += 1
        before, after = self._annotated.get(name), f"v{self.changes}"
        dice = self._random.random()
        if before is None:
            wanted = {"metadata": {"name": name, "namespace": NAMESPACE, "annotations": {ANNOTATION: after}}}
            made = self._cluster.put("configmaps", wanted)
            self._annotated[name] = Annotated(made["metadata"]["uid"], after)
            self.expected[name].append(("created", after))
        elif dice < 0.4:
            self._cluster.annotate("configmaps", name, {ANNOTATION: after}, namespace=NAMESPACE)
            self._annotated[name] = Annotated(before.uid, after)
            self.expected[name].append(("updated", after))
        else:
            if dice < 0.7:
                self._cluster.annotate("configmaps", name, {ANNOTATION: None}, namespace=NAMESPACE)
            else:
                self._cluster.delete("configmaps", name, namespace=NAMESPACE)
            del self._annotated[name]
            self.expected[name].append(("deleted", before.value))
