"""The events that one endpoint accepted, each id once: by object, in the order of arrival, and the set they make."""

import threading
from collections import defaultdict
from collections.abc import Mapping

from beacon import codec
from beacon.dev import endpoint

_LOOK_S = 0.2


class Receipts:
    """Reads the endpoint's record in a separate thread, because the record is bounded and a soak is not."""

    def __init__(self, sink: endpoint.SinkServer) -> None:
        """Start reading."""
        self.received: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.holds: dict[str, tuple[str, str]] = {}  # object -> UID and value, as a receiver would know them
        self.distinct = 0
        self.repeats = 0
        self._seen: set[str] = set()
        self._at = 0
        self._sink = sink
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="receipts", daemon=True)
        self._thread.start()

    def look(self) -> int:
        """Read the new events, and return the number of different events so far."""
        with self._lock:
            attempts = self._sink.events(self._at)
            self._at += len(attempts)
            for attempt in attempts:
                data = codec.decode(attempt.request.body)
                if data["id"] in self._seen:
                    self.repeats += 1
                    continue
                self._seen.add(data["id"])
                self.distinct += 1
                self._apply(data["subject"], data["type"].rpartition(".")[2], data["data"]["resource"])
            return self.distinct

    def _apply(self, name: str, kind: str, resource: Mapping[str, str]) -> None:
        self.received[name].append((kind, resource["annotationValue"]))
        if kind != "deleted":
            self.holds[name] = resource["uid"], resource["annotationValue"]
        elif self.holds.get(name, ("",))[0] == resource["uid"]:
            del self.holds[name]

    def stop(self) -> None:
        """Read the remaining events and stop."""
        self._stop.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self.look()
