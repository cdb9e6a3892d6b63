"""Random faults, by seed: in the end a receiver knows exactly the objects with the annotation.

And no event contradicts the ones before: only unknown objects are created, only known ones deleted, and none twice.
"""

import random
import threading
from collections.abc import Callable, Iterator

import pytest

from beacon import codec
from beacon.dev.api_server import status
from tests.integration import watcher_world
from tests.integration.watcher_world import KEY, ON, World, entry, object_, world

ENTRIES = (entry(), entry("Secret"), entry("Widget", "example.com/v1", namespaces=("default",)))
RESOURCES = {"configmaps": "ConfigMap", "secrets": "Secret", "widgets.example.com": "Widget"}
Living = set[tuple[str, str, str]]


class Disorder:
    """Changes objects at random and breaks one thing after the other."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.timers: list[threading.Timer] = []
        self.faults: list[Callable[[], object]] = [
            world.api.faults.drop,
            world.api.faults.half_line,
            world.api.faults.end_watches,
            world.api.faults.compact,
            self.expire_open_watches,
            self.refuse,
            self.restart_api,
            self.restart_store,
            self.restart_watcher,
            self.freeze_api,
            self.freeze_store,
            self.restore,
        ]

    def change(self) -> None:
        resource, name = self.chance.choice(list(RESOURCES)), f"n{self.chance.randrange(25)}"
        api = self.world.api
        what = self.chance.random()
        try:
            if what < 0.4:
                api.create(resource, object_(name, ON if self.chance.random() < 0.7 else None))
            elif what < 0.6:
                api.delete(resource, name)
            elif what < 0.8:
                api.annotate(resource, name, {KEY: self.chance.choice([None, "a", "b"])})
            else:
                api.annotate(resource, name, {"other": str(what)})
        except status.ApiError:
            return  # it is there already, or it is not there

    def changes(self, most: int) -> None:
        for _ in range(self.chance.randrange(most)):
            self.change()

    def expire_open_watches(self) -> None:
        self.world.api.faults.error_line(410)

    def refuse(self) -> None:
        code = self.chance.choice([401, 403, 429, 500, 503])
        self.world.api.faults.fail(code, times=self.chance.randrange(1, 5), retry_after_s=0)

    def restart_api(self) -> None:
        self.world.api.restart(downtime_s=self.chance.random() * 0.2)

    def restart_store(self) -> None:
        self.world.stop_store()
        self.changes(20)
        self.world.start_store()

    def restart_watcher(self) -> None:
        self.world.stop()
        self.changes(40)
        self.world.start()

    def freeze_api(self) -> None:
        self.world.api.faults.freeze()
        self.later(self.world.api.faults.thaw)

    def freeze_store(self) -> None:
        self.world.freeze_store()
        self.later(self.world.thaw_store)

    def restore(self) -> None:
        backup = self.world.api.faults.snapshot()
        self.changes(60)
        self.world.api.faults.rewind(backup)

    def later(self, mend: Callable[[], object]) -> None:
        timer = threading.Timer(self.chance.random() * 0.8, mend)
        self.timers.append(timer)
        timer.start()

    def end(self) -> None:
        for timer in self.timers:
            timer.join()
        self.world.api.faults.clear()


def living(w: World) -> Living:
    """Return the annotated objects of the cluster."""
    return {
        (kind, found["metadata"]["name"], found["metadata"]["uid"])
        for resource, kind in RESOURCES.items()
        for found in w.api.list(resource)
        if KEY in found["metadata"].get("annotations", {})
    }


def steps(w: World) -> Iterator[tuple[str, str, str, str]]:
    """Yield the type, kind, name and UID of each received event, in order."""
    for received in w.receiver.in_order():
        uid = codec.decode(received.delivery.data)["resource"]["uid"]
        yield received.type, received.delivery.kind, received.name, uid


def believed(w: World) -> Living:
    """Return the objects that have the annotation according to the received events."""
    known: dict[tuple[str, str], str] = {}
    for what, kind, name, uid in steps(w):
        if what == "created":
            known[kind, name] = uid
        else:
            known.pop((kind, name), None)
    return {(*key, uid) for key, uid in known.items()}


@pytest.mark.parametrize("seed", range(4))
def test_after_any_failures_the_receiver_has_the_state_of_the_cluster_and_got_no_wrong_event(seed: int) -> None:
    with world(*ENTRIES, history=500) as w:
        w.timing = watcher_world.replace(w.timing, inactive_s=0.5)
        w.api.define("widgets", "example.com", "Widget")
        w.start()
        disorder = Disorder(w, seed)
        for fault in disorder.chance.sample(disorder.faults * 2, k=2 * len(disorder.faults)):
            disorder.changes(120)
            fault()
        disorder.changes(120)
        disorder.end()

        watcher_world.await_(lambda: believed(w) == living(w), w.explain)

        there: dict[tuple[str, str], str] = {}
        for what, kind, name, uid in steps(w):
            before = there.pop((kind, name), "")
            assert before == ("" if what == "created" else uid), (what, kind, name)
            if what == "created":
                there[kind, name] = uid
        ids = [received.delivery.event_id for received in w.receiver.received]
        assert len(ids) == len(set(ids))
