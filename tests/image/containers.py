"""A Beacon in a container, with the restrictions of the manifests."""

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

IMAGE = f"localhost/{built.container(built.BASE)['image']}"  # with the version
TEST_ENDPOINT = IMAGE.replace("beacon", "beacon-test-endpoint")
ANNOTATION = "bakerapps.net.maas"
UID = 1_234_567  # unknown in the image, like the UIDs that OpenShift assigns
LIMIT = built.container(built.BASE)["resources"]["limits"]["memory"]
PROGRAMS = {"store", "exporter", "notifier", "reconciler", "watcher", "sentinel"}
LOCKED = (
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",  # a default of podman that Kubernetes does not have
    f"--user={UID}:0",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    f"--memory={LIMIT.removesuffix('i').lower()}",
)


class Container:
    """A container, by its id."""

    def __init__(self, engine: engines.Engine, found: str) -> None:
        self.engine = engine
        self.id = found

    def exec(self, *command: str) -> str:
        """Run a command inside and return its output."""
        return self.engine.podman("exec", self.id, *command)

    def pids(self) -> set[int]:
        """Return the host pids of its processes."""
        return {int(word) for word in self.engine.podman("top", self.id, "hpid").split()[1:]}

    def lines(self) -> list[Json]:
        """Return its log; every line must be JSON."""
        return [json.loads(line) for line in self.engine.logs(self.id).splitlines()]

    def inspect(self, what: str) -> str:
        return self.engine.podman("inspect", "--format", f"{{{{{what}}}}}", self.id).strip()

    def stop(self) -> tuple[int, float]:
        """Stop it as a pod is stopped; return its exit code and the seconds that it took."""
        began = time.monotonic()
        self.engine.podman("stop", "--time", str(int(testkit.GRACE_S)), self.id)
        return int(self.inspect(".State.ExitCode")), time.monotonic() - began


class Beacon:
    """Beacon's configuration and volume, and the consecutive containers that use them."""

    def __init__(self, engine: engines.Engine, place: Path, cluster: remote.Remote, url: str) -> None:
        self._engine = engine
        self._place = place
        self.port = testkit.free_port()
        self._cluster = cluster
        (place / "data").mkdir()
        (place / "data").chmod(0o770)  # only for group 0, the group of the container's user
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
        """Run a container and wait until it is ready."""
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
        """Create annotated ConfigMaps."""
        for name in names:
            made = {"metadata": {"name": name, "namespace": "default", "annotations": {ANNOTATION: "v"}}}
            self._cluster.request("POST", "/api/v1/namespaces/default/configmaps", made)


MakeBeacon = Callable[[str], Beacon]


def running(container: Container) -> Mapping[str, int]:
    """Return the running programs and their pids in the container, from supervisorctl without flags."""
    words = [line.split() for line in container.exec("supervisorctl", "status").splitlines()]
    return {line[0]: int(line[3].rstrip(",")) for line in words if line[1] == "RUNNING"}


def pss_mib(pids: set[int]) -> float:
    """Return the total proportional set size of processes."""
    return sum(_pss_kib(pid) for pid in pids) / 1024


def _pss_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def succeeds(container: Container, *command: str) -> bool:
    """Return True if a command in the container succeeds."""
    try:
        container.exec(*command)
    except (AssertionError, subprocess.TimeoutExpired):
        return False
    return True
