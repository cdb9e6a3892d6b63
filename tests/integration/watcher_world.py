"""The embedded API server, the store as a process, the watcher's streams in threads, and a receiver of deliveries.

Everything between them is real: TLS, HTTP, the bus, the ledger's file.
"""

import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beacon import bus, codec, errors, wire
from beacon.cluster import connection, credentials
from beacon.dev.api_server import server as api_server
from beacon.domain import model
from beacon.runtime import process, run_directory, stop_flag
from beacon.watcher import policy, runner
from tests import run_directories
from tests.integration import watcher_store

KEY = watcher_store.ANNOTATION
ON = {KEY: "true"}
PATIENCE_S = 120.0
TIMING = policy.Timing(
    flush_s=0.2,
    slow_s=0.3,
    denied_s=0.3,
    doubt_s=0.3,
    doubt_pause_s=0.1,
    absent_s=0.2,
    first_pause_s=0.05,
    longest_quick_s=0.3,
    longest_pause_s=0.5,
)


def entry(kind: str = "ConfigMap", api_version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "api_version": api_version, **more}


class Context(process.Context):
    """A process' context whose failures are remembered instead of ending pytest."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__("watcher", run_dir=run_dir, stop=stop_flag.StopFlag())
        self.errors: list[BaseException] = []
        self.states: list[tuple[str, str]] = []
        self.fields: list[dict[str, Any]] = []  # of each of the states

    def fail(self, error: BaseException) -> None:
        if not isinstance(error, errors.Stopping):
            self.errors.append(error)
        self.stop.set()

    def report(self, component: str, state: Mapping[str, Any], *, part: str = "") -> None:
        self.fields.append(dict(state))
        self.states.append((component.removeprefix("scope."), str(state["state"])))
        super().report(component, state, part=part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event as a receiver gets it."""

    type: str
    name: str
    cause: str
    source: str
    value: str
    delivery: model.Delivery = field(compare=False, repr=False)


class Receiver:
    """Takes every delivery at once, as an endpoint that always says yes."""

    def __init__(self, where: str) -> None:
        self.received: list[Received] = []
        self.stop = threading.Event()
        self._where = where
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.stop.set()
        self._thread.join()

    def in_order(self) -> list[Received]:
        """Return the received events in the order of their detection."""
        return sorted(self.received, key=lambda received: received.delivery.sequence)

    def _run(self) -> None:
        number, session = 0, uuid.uuid4().hex
        settlements: tuple[model.Outcome, ...] = ()
        with bus.Client(self._where, stop=self.stop) as client:
            while not self.stop.is_set():
                number += 1
                claim = wire.Claim(
                    endpoint="default", session=session, number=number, want=500, wait_s=0.3, settlements=settlements
                )
                try:
                    reply = client.call(claim)
                except errors.Stopping:
                    return
                except (bus.LedgerChanged, bus.SettingsChanged):
                    # What was held is of the ledger before, or was in a reply that is lost now: begin anew.
                    number, settlements, session = 0, (), uuid.uuid4().hex
                    continue
                assert isinstance(reply, wire.Claimed)
                self.received.extend(map(_received, reply.deliveries))
                settlements = tuple(map(_delivered, reply.deliveries))


class World:
    """One Beacon without its notifier, beside one API server."""

    def __init__(self, api: api_server.ApiServer, entries: list[dict[str, Any]], **configured: Any) -> None:
        self.api = api
        self.directory = Path(tempfile.mkdtemp(prefix="bw-"))
        self.configured = {"entries": entries, **configured}
        self.run_dir = run_directories.made(self.directory)
        self.timing = TIMING
        self.read_s = 10.0
        self.token = ""
        self.edit: Callable[[Path], None] = lambda _: None  # changes the kubeconfig before the watcher reads it
        self.service_account: Path | None = None  # used in place of a kubeconfig, as in a pod
        self.start_store()
        self.receiver = Receiver(bus.address(self.run_dir))
        self.context: Context | None = None

    def start_store(self) -> None:
        command = [sys.executable, "-m", "tests.integration.watcher_store", str(self.run_dir)]
        self.store = subprocess.Popen(
            [*command, codec.encode(self.configured).decode()], stdout=subprocess.PIPE, text=True
        )
        assert self.store.stdout is not None
        assert self.store.stdout.readline() == "ready\n"

    def stop_store(self) -> None:
        self.store.send_signal(signal.SIGCONT)
        self.store.kill()
        self.store.wait()
        if self.store.stdout:
            self.store.stdout.close()

    def configure(self, **configured: Any) -> None:
        """Restart the store with another configuration; the watcher must be down."""
        self.stop_store()
        self.configured = {**self.configured, **configured}
        self.start_store()

    def start(self) -> "World":
        """Start the watcher."""
        self.connection = connection.Connection(self._credentials(), connect_s=2.0, read_s=self.read_s)
        self.context = Context(self.run_dir)
        self._awaited: dict[str, int] = {}
        scopes = watcher_store.scopes_of(self.configured)
        follow = functools.partial(runner.follow, self.context, scopes, self.connection, self.timing)
        self._thread = self.context.spawn("main", follow)
        return self

    def _credentials(self) -> credentials.Load:
        if self.service_account:
            host, _, port = self.api.url.removeprefix("https://").rpartition(":")
            environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
            return credentials.source(environ, connections=20, service_account=self.service_account)
        kubeconfig = self.api.kubeconfig(self.directory / "kubeconfig", token=self.token)
        self.edit(kubeconfig)
        return credentials.source({"KUBECONFIG": str(kubeconfig)}, connections=20)

    def stop(self) -> None:
        """Stop the watcher."""
        assert self.context is not None
        self.context.stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), self.explain()

    def close(self) -> None:
        if self.context is not None:
            self.stop()
        self.receiver.close()
        self.stop_store()
        shutil.rmtree(self.directory)

    def freeze_store(self) -> None:
        self.store.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.store.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw_store(self) -> None:
        self.store.send_signal(signal.SIGCONT)

    def report(self, scope: str = "ConfigMap") -> run_directory.Report | None:
        """Return the latest report of a scope's stream."""
        reports = (
            report for report in run_directory.read_reports(self.run_dir) if report.component == f"scope.{scope}"
        )
        return next(reports, None)

    def await_state(self, state: str, scope: str = "ConfigMap") -> dict[str, Any]:
        """Wait until a scope is in a state, or was since the last call for this scope. Return the state's fields."""
        assert self.context is not None
        context = self.context
        found: list[int] = []

        def reached() -> bool:
            states = list(context.states)
            here = [index for index, (name, _) in enumerate(states) if name == scope]
            new = [index for index in here if index >= self._awaited.get(scope, 0)]
            found[:] = [index for index in (*here[-1:], *new) if states[index][1] == state][:1]
            return bool(found)

        await_(reached, self.explain)
        self._awaited[scope] = found[0] + 1
        return context.fields[found[0]]

    def states_since_watching(self) -> list[tuple[str, str]]:
        """Return the states that streams entered after one of them watched for the first time."""
        assert self.context is not None
        states = self.context.states
        first = next(index for index, (_, state) in enumerate(states) if state == "watching")
        return states[first:]

    def received(self) -> list[tuple[str, str]]:
        return [(received.type, received.name) for received in self.receiver.in_order()]

    def await_received(self, *expected: tuple[str, str]) -> list[Received]:
        """Wait for exactly these events, in this order."""
        await_(lambda: len(self.received()) >= len(expected), self.explain)
        assert self.received() == list(expected)
        return self.receiver.in_order()

    def await_position(self, label: str = "configmaps") -> wire.ScopeStatistics:
        """Wait until the store's cursor has reached the present resourceVersion of the API server."""
        now = self.api.version
        found: list[wire.ScopeStatistics] = []

        def reached() -> bool:
            found[:] = [scope for scope in self.figures().scopes if scope.label == label]
            return bool(found) and found[0].position >= now

        self.api.cluster.state.tick()
        await_(reached, self.explain)
        return found[0]

    def figures(self) -> wire.Statistics:
        with bus.Client(bus.address(self.run_dir), stop=threading.Event()) as client:
            reply = client.try_call(wire.Inspect(), timeout_s=PATIENCE_S)
        assert isinstance(reply, wire.Statistics)
        return reply

    def explain(self) -> str:
        failures = self.context.errors if self.context else []
        return (
            f"received {self.received()[-20:]}, reports {run_directory.read_reports(self.run_dir)}, errors {failures}"
        )


@contextmanager
def world(*entries: dict[str, Any], history: int = 10_000, progress: bool = True, **configured: Any) -> Iterator[World]:
    with api_server.running(bookmark_interval_s=0.2, history=history, progress=progress) as api:
        made = World(api, list(entries) or [entry()], **configured)
        try:
            yield made
            assert not made.context or not made.context.errors, made.context.errors
        finally:
            made.close()


def await_(condition: Callable[[], bool], explain: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)


def await_quiet(value: Callable[[], float], quiet_s: float = 0.5) -> None:
    """Wait until a value has not changed for a while."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < quiet_s:
        time.sleep(0.02)
        if value() != last:
            last, since = value(), time.monotonic()


def replace(timing: policy.Timing, **changes: Any) -> policy.Timing:
    return dataclasses.replace(timing, **changes)


def object_(name: str, annotations: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": annotations or {}, **metadata}}


def _received(delivery: model.Delivery) -> Received:
    data = codec.decode(delivery.data)
    return Received(
        type=delivery.type,
        name=delivery.name,
        cause=data["detection"]["cause"],
        source=data["detection"]["source"],
        value=data["resource"]["annotationValue"],
        delivery=delivery,
    )


def _delivered(delivery: model.Delivery) -> model.Outcome:
    return model.Outcome(
        delivery=delivery.id,
        generation=delivery.generation,
        attempt=delivery.requests + 1,
        result=model.DeliveryResult.DELIVERED,
        status=204,
    )
