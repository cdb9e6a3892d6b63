"""All of Beacon under a real supervisord, as a Python object: start it, query it, kill its processes, stop it.

The demo, the system tests and the benchmark use it, so they all run what a user runs: the unmodified supervisord.conf,
configured only through documented environment variables. All files are in one directory, so several instances can run
side by side. It must wait for conditions, never for a fixed time, and must leave no process behind.
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
GRACE_S = 45.0  # a pod's termination grace period
LONGEST_DIRECTORY = 70  # bytes; a unix socket's path is limited to 107, and supervisord appends a temporary suffix

_KEPT_LINES = 100_000
_POLL_S = 0.02
_ANSWER_S = 10.0  # for a response of Beacon or of supervisord
_OURS = ("CONFIG_PATH", "DB_PATH", "ENDPOINT_URL", "ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE", "KUBECONFIG")


def until(
    condition: Callable[[], object], what: str, *, timeout: float, stopped: Callable[[], object] = lambda: False
) -> None:
    """Wait for a condition, at most `timeout` seconds multiplied by `patience.factor`.

    Raises:
        TimeoutError: the condition did not hold in time.
        errors.Stopping: `stopped` returned true.
    """
    timeout *= patience.factor
    deadline = time.monotonic() + timeout
    while not condition():
        if stopped():
            raise errors.Stopping(f"stopped while waiting for {what}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"timed out after {timeout:g} s waiting for {what}")
        time.sleep(_POLL_S)


def free_port() -> int:
    """Return a free port, from a range that the system does not use for outgoing connections.

    No other process gets it from this function while this process runs.
    """
    while True:
        port = random.randint(20_000, 30_000)  # noqa: S311 - no secret
        if _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Return True if a port is free and was not reserved before.

    The reservation is the name of a unix socket without a file: unlike a bound port it does not keep a server from
    binding the port, and it ends with this process.
    """
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0beacon-port-{port}")
        with socket.socket() as probe:
            probe.bind(("", port))
    except OSError:
        reservation.close()
        return False
    reservation.detach()  # stays open
    return True


def sample(text: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels in a /metrics response; 0 if there are none."""
    total = 0.0
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        found, _, rest = head.partition("{")
        if found == name and all(f'{key}="{wanted}"' in rest for key, wanted in labels.items()):
            total += float(value)
    return total


class Beacon:
    """An instance of Beacon; a context manager that starts and stops it. It can be restarted after it has stopped."""

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
        """Prepare an instance whose files are in `directory`, an existing directory with a short path.

        `config` is a YAML file, or its content as plain values; then a free port and a volume are added unless it has
        them. `environ` overrides environment variables of the processes, such as DB_PATH. `on_line` is called with each
        log line, in another thread. `build` is the checkout whose processes run.
        """
        if len(os.fsencode(directory)) > LONGEST_DIRECTORY:
            raise ValueError(f"{directory} is too long a path for unix sockets")
        self.directory = directory
        self.build = build
        self.run_dir = directory / "run"
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        self.config_path = config if isinstance(config, Path) else _write(directory / "config.yaml", config)
        self._read_ports(documents.load(self.config_path.read_text(encoding="utf-8")))
        overrides = {"KUBECONFIG": str(kubeconfig), "ENDPOINT_URL": endpoint_url}
        paths = {"CONFIG_PATH": str(self.config_path), "DB_PATH": str(directory / "events.db")}
        paths |= {key: value for key, value in overrides.items() if value}
        self.environ = _environ(build, directory, self.run_dir) | paths | dict(environ or {})
        self.lines: list[Json] = []
        self.plain_lines: list[str] = []  # output that is not JSON
        self._on_line = on_line
        self.process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()

    def start(self) -> "Beacon":
        """Start supervisord and return at once. It ends when the calling thread ends."""
        build = self.build
        self.process = child.start(build.supervisord, environ=self.environ, directory=build.directory)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        return self

    def stop(self, timeout: float = GRACE_S) -> int:
        """Stop it as a pod is stopped: SIGTERM, then SIGKILL after the grace period. Return the exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        return self.end(timeout)

    def halt(self) -> None:
        """Kill supervisord and wait until no process is left. This is faster than `stop` by several seconds."""
        if self.process is not None:
            self.process.kill()
            self.end()

    def end(self, timeout: float = GRACE_S) -> int:
        """Wait until supervisord and all its processes have ended, and return its exit code."""
        if self.process is None:
            return 0
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        # A process started just before the end needs a moment to detect that it is an orphan.
        until(lambda: not self.living(), "the end of all processes", timeout=60)
        self._reader.join()
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code

    def wait_ready(self, timeout: float = 30.0, *, stopped: Callable[[], object] = lambda: False) -> Json:
        """Wait until /ready reports ready, and return its document.

        Raises:
            TimeoutError: it was not ready in time; the message has the reasons.
            errors.ConfigError: the configuration was refused.
            errors.StartError: supervisord has ended.
        """
        try:
            until(lambda: self._check_ready()["ready"], "Beacon to be ready", timeout=timeout, stopped=stopped)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {'; '.join(self.reasons())}") from None
        return self.ready()

    def ready(self) -> Json:
        """Return the document of /ready: `{"ready": bool, "checks": {...}}`. No response means not ready, no checks."""
        try:
            return dict(json.loads(self.get(self.ready_url)[1]))
        except (OSError, http.client.HTTPException, ValueError):
            return {"ready": False, "checks": {}}

    def reasons(self) -> list[str]:
        """Return the reasons why it is not ready, one sentence each."""
        checks = self.ready()["checks"]
        return _failed_checks(checks) if checks else self._why_unreachable()

    def metrics(self) -> str:
        """Return the text of /metrics. Raises OSError when it does not respond."""
        return self.get(self.metrics_url)[1]

    def get(self, url: str) -> tuple[int, str]:
        """Send a GET request; return status and body. Raises OSError, http.client.HTTPException."""
        host, _, path = url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=_ANSWER_S * patience.factor)
        try:
            connection.request("GET", f"/{path}")
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def programs(self) -> dict[str, supervision.Program]:
        """Return supervisord's programs by name. Raises errors.TransientError when supervisord does not respond."""
        return {program.name: program for program in supervision.programs(self.run_dir / "supervisor.sock")}

    def pids(self) -> dict[str, int]:
        """Return the pids of all running programs by name, supervisord's own included."""
        own = {"supervisord": self.process.pid} if self.process else {}
        return own | {name: program.pid for name, program in self._programs_in_time().items() if program.alive}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a process by name, `supervisord` included; return its pid."""
        pid = self.process.pid if self.process and name == "supervisord" else self._programs_in_time()[name].pid
        if pid <= 0:
            raise ProcessLookupError(f"{name} is not running")
        os.kill(pid, number)
        return pid

    def living(self) -> set[int]:
        """Return the pids of all processes of this run directory, supervisord and orphans included."""
        mark = f"BEACON_RUN_DIR={self.run_dir}".encode()
        return {int(path.name) for path in Path("/proc").glob("[0-9]*") if mark in _variables(path)}

    def status(self) -> str:
        """Return the output of `supervisorctl status`."""
        return self.supervisorctl("status")

    def supervisorctl(self, *words: str) -> str:
        """Run supervisorctl and return its output."""
        command = [str(self.build.scripts / "supervisorctl"), "-c", str(self.build.conf), *words]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout + done.stderr

    def logged(self, event: str, **fields: Any) -> list[Json]:
        """Return the log lines with this event and these field values."""
        return [
            line
            for line in list(self.lines)
            if line.get("event") == event and all(line.get(key) == value for key, value in fields.items())
        ]

    def __enter__(self) -> "Beacon":
        """Start."""
        return self.start()

    def __exit__(self, *_raised: object) -> None:
        """Kill it; `stop` is the orderly way."""
        self.halt()

    def _check_ready(self) -> Json:
        refused = self.logged("configuration refused")
        if refused:
            raise errors.ConfigError([line["problem"] for line in refused])
        if self.process is None or self.process.poll() is not None:
            output = " ".join([*self.plain_lines[-5:], *(str(line.get("reason", "")) for line in self.lines[-5:])])
            raise errors.StartError(f"supervisord has ended: {output.strip()}", exit_code=errors.EXIT_UNAVAILABLE)
        return self.ready()

    def _programs_in_time(self) -> dict[str, supervision.Program]:
        """Return the programs as `programs` does, but give a busy supervisord more time to respond."""
        deadline = time.monotonic() + _ANSWER_S * patience.factor
        while True:
            try:
                return self.programs()
            except errors.TransientError:
                if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def _why_unreachable(self) -> list[str]:
        """Return possible reasons why /ready does not respond."""
        unreachable = [f"no response from {self.ready_url}", *self.plain_lines[-1:]]
        try:
            ended = [program for program in self.programs().values() if not program.alive]
        except errors.TransientError as error:
            return [*unreachable, str(error)]
        return [*(f"{program.name}: {program.state}: {program.why}" for program in ended), *unreachable]

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        for raw in process.stdout or ():
            text = raw.decode(errors="replace").rstrip("\n")
            try:
                line = json.loads(text)
            except ValueError:
                self.plain_lines.append(text)
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


def _failed_checks(checks: Json) -> list[str]:
    """Return a sentence for each failed check, or for each failed scope of a check that has scopes."""
    sentences = []
    for name, check in checks.items():
        parts = {f"{name}: {scope}": inner for scope, inner in check.get("scopes", {}).items() if not inner["ok"]}
        failed = parts or ({} if check["ok"] or not check.get("required", True) else {name: check})
        sentences += [f"{where}: {one['why'] or one['state']}" for where, one in failed.items()]
    return sentences


def _write(path: Path, config: Mapping[str, Any]) -> Path:
    """Write the configuration as JSON, which is YAML; add a free port and this directory as volume unless set."""
    metrics, health = dict(config.get("metrics", {})), dict(config.get("health", {}))
    port = metrics.get("port") or health.get("port") or free_port()
    storage = {"volumePath": str(path.parent), **config.get("storage", {})}
    whole = {**config, "metrics": {"port": port, **metrics}, "health": {"port": port, **health}, "storage": storage}
    path.write_text(json.dumps(whole, indent=2), encoding="utf-8")
    return path


def _environ(build: builds.Build, directory: Path, run_dir: Path) -> dict[str, str]:
    """Return the environment of the processes: ours without Beacon's variables, the build's programs first in PATH."""
    kept = {k: v for k, v in os.environ.items() if k not in _OURS and not k.startswith(("BEACON_", "SUPERVISOR_"))}
    path = f"{build.scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    # The Kubernetes client writes a kubeconfig's certificates to temporary files, which outlive a kill -9.
    return kept | {"BEACON_RUN_DIR": str(run_dir), "PATH": path, "TMPDIR": str(directory)}


def _variables(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # the process belongs to another user, or has just ended
