"""The whole of Beacon under a real supervisord, as a Python object: start it, look at it, hurt it, end it.

For the demo, the system tests and the benchmark, so that they all run what a user runs: supervisord.conf as it stands,
with nothing but the documented environment. Everything lies in one directory; several run side by side. It waits for
conditions, never for a time to pass, and it leaves no process behind.
"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from beacon import errors
from beacon.codec import documents
from beacon.dev import build as builds
from beacon.dev import child, patience
from beacon.runtime import supervision

Json = dict[str, Any]

CONF = builds.OWN.conf
SCRIPTS = builds.OWN.scripts
GRACE_S = 45.0  # what a pod is given to end
LONGEST_DIRECTORY = 70  # bytes; a unix socket's path may have 107, and supervisord adds to that of its own for a moment

_KEPT_LINES = 100_000
_LOOK_S = 0.02
_OURS = ("CONFIG_PATH", "DB_PATH", "ENDPOINT_URL", "ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE", "KUBECONFIG")


def until(
    condition: Callable[[], object], what: str, *, timeout: float, stopped: Callable[[], object] = lambda: False
) -> None:
    """Wait for a condition, `timeout` seconds at most, or as many times that as `patience` allows.

    Raises:
        TimeoutError: it did not hold in time.
        errors.Stopping: `stopped` said so.
    """
    timeout *= patience.factor
    deadline = time.monotonic() + timeout
    while not condition():
        if stopped():
            raise errors.Stopping(f"stopped while waiting for {what}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(_LOOK_S)


def free_port() -> int:
    """Find a port that nobody listens on, from a range that the system gives to no outgoing connection."""
    while True:
        port = random.randint(20_000, 30_000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port


def sample(text: str, name: str, **labels: str) -> float:
    """Sum the samples of a metric that carry the given labels, out of what /metrics answered; 0 without any."""
    total = 0.0
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        found, _, rest = head.partition("{")
        if found == name and all(f'{key}="{wanted}"' in rest for key, wanted in labels.items()):
            total += float(value)
    return total


class Beacon:
    """A Beacon; a context manager that starts it and ends it. It may be started again when it has ended."""

    def __init__(
        self,
        directory: Path,
        *,
        config: Mapping[str, Any] | Path,
        kubeconfig: Path | str = "",
        endpoint_url: str = "",
        environ: Mapping[str, str] | None = None,
        on_line: Callable[[Json], None] = lambda _line: None,
        build: builds.Build = builds.OWN,
    ) -> None:
        """Live in `directory`, a short path that exists.

        `config` is a YAML file, or its content as plain values, for which a free port and a volume are chosen unless it
        names them.
        `environ` overrides what the processes are given, DB_PATH for instance. `on_line` gets each line of the log, in
        another thread. `build` is the checkout whose processes run.
        """
        if len(os.fsencode(directory)) > LONGEST_DIRECTORY:
            raise ValueError(f"{directory} is too long a path for unix sockets")
        self.directory = directory
        self.build = build
        self.run_dir = directory / "run"
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        self.config_path = config if isinstance(config, Path) else _write(directory / "config.yaml", config)
        self._read_ports(documents.load(self.config_path.read_text(encoding="utf-8")))
        given = {"KUBECONFIG": str(kubeconfig), "ENDPOINT_URL": endpoint_url}
        paths = {"CONFIG_PATH": str(self.config_path), "DB_PATH": str(directory / "events.db")}
        paths |= {key: value for key, value in given.items() if value}
        self.environ = _environ(build, directory, self.run_dir) | paths | dict(environ or {})
        self.lines: list[Json] = []
        self.odd: list[str] = []  # what was said and is not JSON
        self._on_line = on_line
        self.process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()

    def start(self) -> "Beacon":
        """Start supervisord; return at once. It ends when the calling thread does."""
        build = self.build
        self.process = child.start(build.supervisord, environ=self.environ, directory=build.directory)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        return self

    def stop(self, timeout: float = GRACE_S) -> int:
        """End it as a pod is ended: SIGTERM, and SIGKILL when the grace period is over. Returns the exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        return self.end(timeout)

    def halt(self) -> None:
        """End it at once: supervisord is killed, and no process outlives it. A pod's end takes seconds more."""
        if self.process is not None:
            self.process.kill()
            self.end()

    def end(self, timeout: float = GRACE_S) -> int:
        """Wait for its end and return its exit code; nothing of it lives then."""
        if self.process is None:
            return 0
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        # A process that was started in the last moment has to find out first that it is an orphan.
        until(lambda: not self.living(), "the end of all processes", timeout=10)
        self._reader.join()
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code

    def wait_ready(self, timeout: float = 30.0, *, stopped: Callable[[], object] = lambda: False) -> Json:
        """Wait until /ready says yes, and return what it says.

        Raises:
            TimeoutError: with what it is not ready for.
            errors.ConfigError: the configuration was refused, which no waiting changes.
            errors.StartError: supervisord has ended.
        """
        try:
            until(lambda: self._look()["ready"], "Beacon to be ready", timeout=timeout, stopped=stopped)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {'; '.join(self.reasons())}") from None
        return self.ready()

    def ready(self) -> Json:
        """Ask /ready: `{"ready": bool, "checks": {...}}`; nobody answering is no, without checks."""
        try:
            return dict(json.loads(self.get(self.ready_url)[1]))
        except (OSError, http.client.HTTPException, ValueError):
            return {"ready": False, "checks": {}}

    def reasons(self) -> list[str]:
        """Say in words what keeps it from being ready."""
        checks = self.ready()["checks"]
        return _ills(checks) if checks else self._silence()

    def metrics(self) -> str:
        """Scrape /metrics. Raises OSError when nobody answers."""
        return self.get(self.metrics_url)[1]

    def get(self, url: str) -> tuple[int, str]:
        """Make a GET request; returns status and body. Raises OSError, http.client.HTTPException."""
        host, _, path = url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            connection.request("GET", f"/{path}")
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def programs(self) -> dict[str, supervision.Program]:
        """Ask supervisord for its programs. Raises errors.TransientError when it does not answer."""
        return {program.name: program for program in supervision.programs(self.run_dir / "supervisor.sock")}

    def pids(self) -> dict[str, int]:
        """Give the pids of all that runs, supervisord's own included."""
        own = {"supervisord": self.process.pid} if self.process else {}
        return own | {name: program.pid for name, program in self.programs().items() if program.alive}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a process by name, `supervisord` included; returns its pid."""
        pid = self.process.pid if self.process and name == "supervisord" else self.programs()[name].pid
        if pid <= 0:
            raise ProcessLookupError(f"{name} does not run")
        os.kill(pid, number)
        return pid

    def living(self) -> set[int]:
        """Find every living process of this run directory, supervisord's too, whoever its parent is by now."""
        mark = f"BEACON_RUN_DIR={self.run_dir}".encode()
        return {int(path.name) for path in Path("/proc").glob("[0-9]*") if mark in _variables(path)}

    def status(self) -> str:
        """Say what `supervisorctl status` says."""
        return self.supervisorctl("status")

    def supervisorctl(self, *words: str) -> str:
        """Run supervisorctl and return what it says."""
        command = [str(self.build.scripts / "supervisorctl"), "-c", str(self.build.conf), *words]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout + done.stderr

    def logged(self, event: str, **fields: Any) -> list[Json]:
        """Give the lines of the log that say this, with these fields."""
        return [
            line
            for line in list(self.lines)
            if line.get("event") == event and all(line.get(key) == value for key, value in fields.items())
        ]

    def __enter__(self) -> "Beacon":
        """Start."""
        return self.start()

    def __exit__(self, *_raised: object) -> None:
        """End it at once; `stop` is how a pod ends."""
        self.halt()

    def _look(self) -> Json:
        refused = self.logged("configuration refused")
        if refused:
            raise errors.ConfigError([line["problem"] for line in refused])
        if self.process is None or self.process.poll() is not None:
            said = " ".join([*self.odd[-5:], *(str(line.get("reason", "")) for line in self.lines[-5:])])
            raise errors.StartError(f"supervisord has ended: {said.strip()}", exit_code=errors.EXIT_UNAVAILABLE)
        return self.ready()

    def _silence(self) -> list[str]:
        """Say what may be why nobody answers at all."""
        said = [f"nobody answers at {self.ready_url}", *self.odd[-1:]]
        try:
            ended = [program for program in self.programs().values() if not program.alive]
        except errors.TransientError as error:
            return [*said, str(error)]
        return [*(f"{program.name}: {program.state}: {program.why}" for program in ended), *said]

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        for raw in process.stdout or ():
            text = raw.decode(errors="replace").rstrip("\n")
            try:
                line = json.loads(text)
            except ValueError:
                self.odd.append(text)
                continue
            if len(self.lines) >= _KEPT_LINES:
                del self.lines[: _KEPT_LINES // 2]
            self.lines.append(line)
            self._on_line(line)

    def _read_ports(self, plain: Json) -> None:
        metrics, health = plain.get("metrics") or {}, plain.get("health") or {}
        probes = f"http://127.0.0.1:{health.get('port', 8080)}"
        self.metrics_url = f"http://127.0.0.1:{metrics.get('port', 8080)}{metrics.get('path', '/metrics')}"
        self.ready_url = probes + health.get("readinessPath", "/ready")
        self.health_url = probes + health.get("livenessPath", "/healthz")


def _ills(checks: Json) -> list[str]:
    """Give a sentence for each check that failed, or for each scope when it has some."""
    said = []
    for name, check in checks.items():
        parts = {f"{name}: {scope}": inner for scope, inner in check.get("scopes", {}).items() if not inner["ok"]}
        failed = parts or ({} if check["ok"] or not check.get("required", True) else {name: check})
        said += [f"{where}: {one['why'] or one['state']}" for where, one in failed.items()]
    return said


def _write(path: Path, config: Mapping[str, Any]) -> Path:
    """Write the configuration (JSON is YAML), with a free port and this directory as volume where it names none."""
    metrics, health = dict(config.get("metrics", {})), dict(config.get("health", {}))
    port = metrics.get("port") or health.get("port") or free_port()
    storage = {"volumePath": str(path.parent), **config.get("storage", {})}
    whole = {**config, "metrics": {"port": port, **metrics}, "health": {"port": port, **health}, "storage": storage}
    path.write_text(json.dumps(whole, indent=2), encoding="utf-8")
    return path


def _environ(build: builds.Build, directory: Path, run_dir: Path) -> dict[str, str]:
    """Give what the processes inherit: ours but for what would be Beacon's, and the environment's programs first."""
    kept = {k: v for k, v in os.environ.items() if k not in _OURS and not k.startswith(("BEACON_", "SUPERVISOR_"))}
    path = f"{build.scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    # The Kubernetes client writes a kubeconfig's certificates to temporary files, which outlive a kill -9.
    return kept | {"BEACON_RUN_DIR": str(run_dir), "PATH": path, "TMPDIR": str(directory)}


def _variables(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # another user's, or it has just ended
