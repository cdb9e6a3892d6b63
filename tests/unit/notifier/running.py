"""A running dispatcher between a store and an endpoint, all on real sockets."""

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType

from beacon import bus
from beacon.domain import model
from beacon.notifier.delivery import breaker, dispatch, guarded_endpoint, render, retry
from beacon.notifier.delivery import endpoint as delivery
from beacon.notifier.transport import event_loop, http_sender, route
from tests.unit.notifier import endpoints, stores

POLICY = retry.Policy(max_attempts=10, initial_s=0.05, max_s=0.4, multiplier=2.0, jitter=0.1)
RULES = breaker.BreakerRules(threshold=5, probe_interval_s=0.2, timeout_s=5.0)


class Recorder:
    """Records the dispatcher's telemetry."""

    def __init__(self) -> None:
        self.outcomes: list[model.Outcome] = []
        self.failures: list[int] = []
        self.alive = False
        self.given = 0
        self.gave_up_on: list[tuple[model.EventType, bool]] = []
        self.reported: list[str] = []
        self.most_busy = 0

    def claimed(self, count: int) -> None:
        self.given += count
        if not self.reported:
            self.reported.append("claimed")

    def held_back(self, why: str) -> None:
        self.reported.append(f"held back: {why}")

    def silent(self) -> None:
        if self.reported[-1:] != ["silent"]:
            self.reported.append("silent")

    def sent(self, delivery: model.Delivery, outcome: model.Outcome, *, failures: int, alive: bool) -> None:
        self.alive = alive
        assert outcome.delivery == delivery.id
        self.outcomes.append(outcome)
        self.failures.append(failures)

    def gave_up(self, kind: model.EventType, *, late: bool) -> None:
        self.gave_up_on.append((kind, late))

    def working(self, busy: int) -> None:
        self.most_busy = max(self.most_busy, busy)

    def opened(self, failures: int, code: str) -> None:
        assert failures
        assert code
        self.reported.append("opened")

    def closed(self) -> None:
        self.reported.append("closed")

    def parked(self, cause: str, statuses: Collection[int]) -> None:
        assert statuses or not cause
        self.reported.append(f"parked: {cause}")

    def faulted(self, error: Exception) -> None:
        self.reported.append(f"faulted: {error!r}")

    def broken(self, error: Exception, *, pause_s: float) -> None:
        assert pause_s > 0
        self.reported.append(f"broken: {error!r}")


class Notifier:
    """Starts on entering and stops, as on SIGTERM, on leaving."""

    def __init__(
        self,
        store: stores.Store,
        endpoint: endpoints.Endpoint,
        *,
        policy: retry.Policy = POLICY,
        rules: breaker.BreakerRules = RULES,
        width: int = 5,
        batch: int = 100,
        poll_s: float = 0.5,
        finish_s: float = 10.0,
        url: str = "",
    ) -> None:
        """Create a notifier; `url` is the address of a proxy before the endpoint, if there is one."""
        self.record = Recorder()
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self._loop = event_loop.EventLoop()
        target = route.Target(url=url or endpoint.url, method="POST", agent="beacon/test", width=width)
        self._sender = http_sender.HttpSender(target, token=lambda: "", loop=self._loop, start=start)
        config = delivery.EndpointConfig(
            endpoint=stores.ENDPOINT,
            names=render.Names(source="/beacon", cluster="", type_prefix="test"),
            policy=policy,
            rules=rules,
            width=width,
            batch=batch,
            poll_s=poll_s,
            reply_s=0.5,
        )
        served = delivery.EndpointDelivery(config, self._sender, stop=self.stop, telemetry=self.record)
        self.dispatcher = dispatch.Dispatcher(
            [guarded_endpoint.GuardedEndpoint(served, telemetry=self.record)],
            loop=self._loop,
            connect=lambda: bus.Client(store.where, stop=self.stop, timeout_s=0.5),
            stop=self.stop,
            finish_s=finish_s,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Notifier":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        if self.thread.is_alive():
            self.dispatcher.wake()
        self.thread.join()
        self._sender.close()
        self._loop.close()

    def _run(self) -> None:
        try:
            self.dispatcher.run()
        except BaseException as error:  # noqa: BLE001  shown to the test
            self.failures.append(error)


def start(_name: str, work: Callable[[], None]) -> None:
    """Start a thread of the transport."""
    threading.Thread(target=work, daemon=True).start()


def wait_for(condition: Callable[[], bool], *, within_s: float = 120.0) -> float:
    """Wait until a condition holds. Return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + within_s, "it did not happen in time"
        time.sleep(0.002)
    return time.monotonic() - began


def serve(directory: Path) -> stores.Store:
    """Start a store in a directory."""
    return stores.Store(f"ipc://{directory}/s").start()
