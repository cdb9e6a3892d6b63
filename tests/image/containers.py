"""A Beacon in a container, held as tightly as the manifests hold it."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from beacon.dev import testkit
from beacon.dev.api_server import remote
from tests.image import engine as engines
from tests.manifests import built

Json = dict[str, Any]

IMAGE = "localhost/beacon:latest"
TEST_ENDPOINT = "localhost/beacon-test-endpoint:latest"
ANNOTATION = "bakerapps.net.maas"
UID = 1_234_567  # nobody's, as OpenShift chooses them
LIMIT = built.container(built.BASE)["resources"]["limits"]["memory"]
PROGRAMS = {"store", "exporter", "notifier", "reconciler", "watcher", "sentinel"}
LOCKED = (
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",  # podman's own idea; Kubernetes has none of it
    f"--user={UID}:0",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    f"--memory={LIMIT.removesuffix('i').lower()}",
)


class Container:
    """A container of the engine's, by its id."""

    def __init__(self, engine: engines.Engine, found: str) -> None:
        self.engine = engine
        self.id = found

    def exec(self, *command: str) -> str:
        """Run a command inside."""
        return self.engine.podman("exec", self.id, *command)

    def pids(self) -> set[int]:
        """Give the pids of its processes, as this machine numbers them."""
        return {int(word) for word in self.engine.podman("top", self.id, "hpid").split()[1:]}

    def lines(self) -> list[Json]:
        """Give its log, every line of which is JSON."""
        return [json.loads(line) for line in self.engine.logs(self.id).splitlines()]

    def inspect(self, what: str) -> str:
        return self.engine.podman("inspect", "--format", f"{{{{{what}}}}}", self.id).strip()

    def stop(self) -> tuple[int, float]:
        """End it as a pod is ended; returns its exit code and how many seconds it took."""
        began = time.monotonic()
        self.engine.podman("stop", "--time", str(int(testkit.GRACE_S)), self.id)
        return int(self.inspect(".State.ExitCode")), time.monotonic() - began


class Beacon:
    """Beacon's configuration and volume, and the containers that run on them one after another."""

    def __init__(self, engine: engines.Engine, place: Path, cluster: remote.Remote, url: str) -> None:
        self._engine = engine
        self._place = place
        self.port = testkit.free_port()
        self._cluster = cluster
        (place / "data").mkdir()
        (place / "data").chmod(0o770)  # for the group 0 alone, in which the user of the container is
        (place / "config").mkdir()
        (place / "config" / "config.yaml").write_text(json.dumps(self.config(url)))
        (place / "config" / "kubeconfig").write_text(cluster.kubeconfig.read_text())

    def config(self, url: str) -> Json:
        return {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": ANNOTATION},
            "endpoint": {"url": url},
            "metrics": {"port": self.port},
            "health": {"port": self.port},
        }

    def start(self) -> Container:
        """Run a container; it is ready when this returns."""
        mounts = (
            *("--tmpfs", "/tmp", "--tmpfs", "/run/beacon"),
            *("--volume", f"{self._place}/data:/data", "--volume", f"{self._place}/config:/config:ro"),
        )
        command = ("run", "--detach", *LOCKED, *mounts, "--env", "KUBECONFIG=/config/kubeconfig", IMAGE)
        started = Container(self._engine, self._engine.podman(*command).strip())
        self.wait_ready(started)
        return started

    def wait_ready(self, started: Container) -> None:
        try:
            testkit.until(self.ready, "the container to be ready", timeout=30)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self._engine.logs(started.id)}") from error

    def ready(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=60).close()
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def annotate(self, *names: str) -> None:
        """Create ConfigMaps that are to be told of."""
        for name in names:
            made = {"metadata": {"name": name, "namespace": "default", "annotations": {ANNOTATION: "v"}}}
            self._cluster.request("POST", "/api/v1/namespaces/default/configmaps", made)


MakeBeacon = Callable[[str], Beacon]


def running(container: Container) -> Mapping[str, int]:
    """Ask supervisorctl, without a flag, for the programs that run and their pids inside."""
    words = [line.split() for line in container.exec("supervisorctl", "status").splitlines()]
    return {line[0]: int(line[3].rstrip(",")) for line in words if line[1] == "RUNNING"}


def pss_mib(pids: set[int]) -> float:
    """Sum what processes have in memory, what they share among them counted once."""
    return sum(_pss_kib(pid) for pid in pids) / 1024


def _pss_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def succeeds(container: Container, *command: str) -> bool:
    """Say whether a command inside ends well."""
    try:
        container.exec(*command)
    except (AssertionError, subprocess.TimeoutExpired):
        return False
    return True
