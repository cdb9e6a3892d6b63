"""The environment of the demo: a temporary directory, an API server, a test endpoint, Beacon.

Each component is a separate process. Leaving the context must stop all of them, in reverse order, and remove the
directory.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from beacon import errors
from beacon.dev import child, testkit
from beacon.dev.api_server import remote

Json = dict[str, Any]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END_WITHIN_S = 60


class StopRequest:
    """Whether a signal has requested the end of the demo. The handler only sets flags; all waits check them."""

    def __init__(self) -> None:
        """Initialize without a signal."""
        self.number = 0
        self.terminate_now: Callable[[], None] = lambda: None

    def install(self) -> None:
        """Install the signal handlers."""
        for number in SIGNALS:
            signal.signal(number, self._take)

    def __call__(self) -> bool:
        """Return True if a signal has arrived."""
        return self.number != 0

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            self.terminate_now()  # at the second signal
        self.number = self.number or number


class Environment:
    """The running components; a context manager."""

    def __init__(self, asked: StopRequest) -> None:
        """Initialize without starting anything."""
        self.asked = asked
        # What the test endpoints recorded, with the name of the endpoint.
        self.requests: queue.SimpleQueue[tuple[str, Json]] = queue.SimpleQueue()
        self.log: queue.SimpleQueue[Json] = queue.SimpleQueue()  # Beacon's lines
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Environment":
        """Create the directory."""
        self.directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="beacon-demo-", dir=_short()))
        )
        return self

    def __exit__(self, *_raised: object) -> None:
        """Stop and remove everything."""
        self._stack.close()

    def start_cluster(self) -> remote.Remote:
        """Start the embedded API server and return its client."""
        kubeconfig = str(self.directory / "kubeconfig")
        options = ("--kubeconfig", kubeconfig, "--bookmark-interval", "5")
        process, ready = self._start("The embedded API server", "beacon.dev.api_server", *options)
        return remote.Remote(ready, process)

    def start_endpoint(self, name: str) -> str:
        """Start a test endpoint and return its URL."""
        _, ready = self._start(
            "The test endpoint",
            "beacon.dev.endpoint",
            *("--log", "json"),
            on_line=lambda line: self.requests.put((name, line)),
        )
        return str(ready["url"])

    def start_beacon(self, config: Mapping[str, Any] | Path, **options: Any) -> testkit.Beacon:
        """Start Beacon; `options` are further arguments of `testkit.Beacon`."""
        beacon = testkit.Beacon(self.directory, config=config, on_line=self.log.put, **options)
        self._stack.enter_context(beacon)
        process = beacon.process
        self.asked.terminate_now = process.kill if process else self.asked.terminate_now
        return beacon

    def _start(
        self, what: str, module: str, *options: str, on_line: Callable[[Json], None] = lambda _line: None
    ) -> tuple["subprocess.Popen[bytes]", Json]:
        process = child.start([sys.executable, "-m", module, *options])
        self._stack.callback(_end, process)
        first = process.stdout.readline() if process.stdout else b""
        try:
            ready = json.loads(first)
        except ValueError:
            if self.asked():
                raise errors.Stopping(f"stopped while starting {module}") from None
            output = (first + (process.stdout.read() if process.stdout else b"")).decode(errors="replace").strip()
            reason = output.splitlines()[-1] if output else "it printed nothing"
            raise errors.StartError(f"{what} did not start: {reason}", exit_code=errors.EXIT_UNAVAILABLE) from None
        threading.Thread(target=_read, args=(process, on_line), daemon=True).start()
        return process, ready


def set_endpoint(url: str, **changes: object) -> None:
    """Change how a test endpoint answers from now on; see `beacon.dev.endpoint.modes`.

    Raises:
        errors.TransientError: it did not take the change.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{url}/control", json.dumps(changes).encode(), timeout=_END_WITHIN_S).close()
    except OSError as error:
        raise errors.TransientError(f"The test endpoint refused the change: {error}.") from error


def without_proxy() -> dict[str, str]:
    """Return environment variables that exclude this machine from proxying."""
    inherited = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    value = ",".join(part for part in (inherited, "127.0.0.1") if part)
    return {"NO_PROXY": value, "no_proxy": value}


def _read(process: "subprocess.Popen[bytes]", on_line: Callable[[Json], None]) -> None:
    for line in process.stdout or ():
        with contextlib.suppress(ValueError):  # for example a warning of a library
            on_line(json.loads(line))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _short() -> str | None:
    """Return a parent for the temporary directory whose path is short enough for a unix socket; None: the default."""
    usual = os.fsencode(tempfile.gettempdir())
    return None if len(usual) + len("/beacon-demo-12345678") <= testkit.LONGEST_DIRECTORY else "/tmp"  # noqa: S108
