"""An event that kills the notifier, with a real store, a real notifier, and an endpoint that triggers the kill."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beacon import bus, wire
from beacon.cli.commands.status import collection
from beacon.domain import model
from tests import run_directories
from tests.unit.notifier import endpoints, running
from tests.unit.store import world

CONFIG = """
resources: [{{apiVersion: v1, kind: ConfigMap}}]
endpoint: {{url: "{url}"}}
worker: {{concurrency: 4}}
"""


class Beacon:
    """A store with objects in it and a notifier that is restarted when it dies, as supervisord does."""

    def __init__(self, directory: Path, url: str) -> None:
        self.run_dir = run_directories.made(directory)
        config = directory / "config.yaml"
        config.write_text(CONFIG.format(url=url))
        (directory / "data").mkdir()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISOR")}
        places = {"CONFIG_PATH": str(config), "DB_PATH": str(directory / "data/events.db")}
        self.environ = {**inherited, **places, "BEACON_RUN_DIR": str(directory)}
        self.store = self.start("store")
        self.notifier: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        self.stop = threading.Event()
        self.keeper = threading.Thread(target=self._keep)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", f"beacon.{name}"], env=self.environ, stdout=subprocess.DEVNULL)

    def _keep(self) -> None:
        while not self.stop.is_set():
            self.notifier = self.start("notifier")
            self.deaths += self.notifier.wait() == -signal.SIGKILL

    def kill_notifier(self) -> None:
        assert self.notifier is not None
        self.notifier.kill()
        self.notifier.wait()

    def record(self, *names: str) -> None:
        """Record one `created` event for each name in the ledger."""
        scope = world.scope_of()
        with bus.Client(bus.address(self.run_dir), stop=self.stop) as client:
            ask: Callable[[wire.AnyRequest], Any] = client.call
            opened = ask(
                wire.OpenStream(
                    scope=scope.id, label="configmap", fingerprint=scope.fingerprint, nonce="1", cluster="c"
                )
            )
            begin = wire.ListBegin(
                scope=scope.id,
                session=opened.session,
                epoch=opened.epoch,
                prev=opened.cursor,
                at=1000,
                fingerprint=scope.fingerprint,
                api_version=scope.api_version,
                reason=model.GapReason.FIRST_LIST,
            )
            seen = tuple(
                world.seen(name, number, model.ChangeKind.LISTED) for number, name in enumerate(names, start=1)
            )
            page = wire.ListPage(
                scope=scope.id,
                session=opened.session,
                at=1000,
                number=0,
                uids=tuple(one.uid for one in seen),
                versions=tuple(one.resource_version for one in seen),
                observations=seen,
            )
            ask(begin)
            ask(page)
            ask(wire.ListEnd(scope=scope.id, session=opened.session, at=1000, pages=1, count=len(seen)))

    def endpoint_figures(self) -> wire.EndpointStatistics:
        with bus.Client(bus.address(self.run_dir), stop=self.stop) as client:
            figures = client.call(wire.Inspect())
        assert isinstance(figures, wire.Statistics)
        return figures.endpoints[0]

    def close(self) -> None:
        self.stop.set()
        for process in (self.notifier, self.store):
            if process is not None:
                process.kill()
                process.wait()
        if self.keeper.is_alive():
            self.keeper.join()


def test_an_event_that_kills_the_notifier_delays_no_other_and_is_delivered_once_it_stops_killing() -> None:
    armed = threading.Event()
    armed.set()
    in_flight_beside: list[int] = []

    def behave(request: endpoints.Received, _: socket.socket) -> endpoints.Reply | None:
        if request.subject != "killer":
            return endpoints.Reply(delay_s=0.01)
        if armed.is_set():
            beacon.kill_notifier()
            return None
        in_flight_beside.append(sink.in_flight - 1)
        return endpoints.Reply()

    sink = endpoints.Endpoint(behave)
    others = [f"o{number}" for number in range(20)]
    with tempfile.TemporaryDirectory(prefix="bn") as directory:
        beacon = Beacon(Path(directory), sink.url)
        try:
            beacon.record("killer", *others)
            beacon.keeper.start()
            running.wait_for(lambda: beacon.endpoint_figures().delivered == 20, within_s=300)
            named = beacon.endpoint_figures().suspects
            shown = [line for line in collection.collect(beacon.run_dir)["wrong"] if "killer" in line]
            deaths = beacon.deaths
            armed.clear()
            running.wait_for(lambda: beacon.endpoint_figures().delivered == 21, within_s=300)
            cleared = beacon.endpoint_figures()
        finally:
            beacon.close()
            sink.down()

    assert {request.subject for request in sink.received} == {"killer", *others}
    assert 3 <= deaths <= 4  # the others may have been suspects beside it, and it had one more turn then
    assert [(one.name, one.kind, one.namespace) for one in named] == [("killer", "ConfigMap", "ns")]
    assert named[0].deaths == deaths
    assert len(shown) == 1
    assert shown[0].startswith(f"delivery {named[0].delivery} of ConfigMap/ns/killer (event {named[0].event})")
    assert in_flight_beside == [0]
    assert (cleared.suspected, cleared.suspects) == (0, ())
