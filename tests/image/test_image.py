"""The image, built and run like in a cluster."""

import json

import pytest

from beacon.dev import endpoint, testkit
from tests.image import containers
from tests.image import engine as engines
from tests.manifests import built

pytestmark = pytest.mark.timeout(1200)

_OWN_MB = 110

_LOOK = """
import importlib.util, json, os, shutil, sys
names = (
    "beacon", "beacon.dev", "tests", "pip", "starlette", "uvicorn", "trustme", "pytest", "hatchling", "rich",
    "aiohttp", "kubernetes.aio",
)
programs = ("gcc", "cc", "make", "pip", "git", "curl")
print(json.dumps({
    "modules": [name for name in names if importlib.util.find_spec(name)],
    "programs": [name for name in programs if shutil.which(name)],
    "tests": [path for path, _, _ in os.walk(sys.prefix) if path.endswith("/tests")],
    "compiled": importlib.util.find_spec("beacon.wire").cached,
    "uid": os.getuid(), "gid": os.getgid(),
}))
"""

# Each process imports these modules, and the library's packages run when an attribute of them is read.
_IMPORT_ALL = """
import importlib, json, os, pkgutil, sys
import beacon
failed, imported = {}, 0
for found in pkgutil.walk_packages(beacon.__path__, "beacon."):
    try:
        imported += bool(importlib.import_module(found.name))
    except Exception as error:
        failed[found.name] = repr(error)
import kubernetes.client, kubernetes.config, kubernetes.utils, requests_oauthlib
kubernetes.client.CoreV1Api, kubernetes.config.load_kube_config, kubernetes.utils.tcp_keepalive_socket_options
uncompiled = [
    name for name, module in sys.modules.items()
    if (file := getattr(module, "__file__", None)) and file.startswith(sys.prefix) and file.endswith(".py")
    and not name.startswith("kubernetes.client.") and not os.path.exists(importlib.util.cache_from_source(file))
]
print(json.dumps({"failed": failed, "imported": imported, "uncompiled": uncompiled}))
"""


def test_the_image_contains_beacon_and_no_build_or_test_tools(
    engine: engines.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(
        engine.podman("run", "--rm", "--network=none", "--entrypoint=python", containers.IMAGE, "-c", _LOOK)
    )
    (image,) = json.loads(engine.podman("image", "inspect", containers.IMAGE))

    assert found["modules"] == ["beacon"]
    assert (found["programs"], found["tests"]) == ([], [])
    assert (found["uid"], found["gid"]) == (10001, 0)
    assert image["Config"]["Labels"]["org.opencontainers.image.revision"] == "tested"
    assert image["Config"]["Labels"]["org.opencontainers.image.title"] == "beacon"
    assert "BEACON_REVISION=tested" in image["Config"]["Env"]
    base = int(engine.podman("image", "inspect", "--format", "{{.Size}}", "localhost/base"))
    size, own = image["Size"] / 1e6, (image["Size"] - base) / 1e6
    with capsys.disabled():
        print(f"\nthe image: {size:.0f} MB, of which {own:.0f} MB are Beacon's")
    assert own <= _OWN_MB


def test_every_module_of_beacon_can_be_imported_in_the_image(engine: engines.Engine) -> None:
    found = json.loads(
        engine.podman("run", "--rm", "--network=none", "--entrypoint=python", containers.IMAGE, "-c", _IMPORT_ALL)
    )

    assert found["failed"] == {}
    assert found["imported"] > 200
    assert found["uncompiled"] == []


def test_it_delivers_with_a_read_only_root_and_three_writable_directories(
    beacon: containers.Beacon, sink: endpoint.SinkServer
) -> None:
    container = beacon.start()

    beacon.annotate("a", "b", "c")
    sink.wait_for(lambda stats: stats.accepted == 3)

    status = dict(line.split(":\t") for line in container.exec("cat", "/proc/1/status").splitlines() if ":\t" in line)
    assert (status["CapPrm"], status["CapBnd"]) == ("0" * 16, "0" * 16)
    assert (status["NoNewPrivs"], status["Uid"].split()[0]) == ("1", str(containers.UID))
    written = [
        path
        for path in ("/", "/opt", "/etc", "/data", "/run/beacon", "/tmp", "/config")
        if containers.succeeds(container, "touch", f"{path}/x")
    ]
    assert written == ["/data", "/run/beacon", "/tmp"]
    testkit.until(lambda: containers.succeeds(container, "beacon", "status"), "every component's report", timeout=20)
    assert container.exec("beacon", "status").startswith("Healthy.")
    assert containers.running(container).keys() == containers.PROGRAMS


@pytest.mark.parametrize("victim", ["store", "notifier"])
def test_a_process_killed_in_the_container_is_restarted_and_continues(
    beacon: containers.Beacon, sink: endpoint.SinkServer, victim: str
) -> None:
    container = beacon.start()
    testkit.until(lambda: containers.running(container).keys() == containers.PROGRAMS, "all to run", timeout=20)
    before = containers.running(container)

    container.exec("python", "-c", f"import os; os.kill({before[victim]}, 9)")
    beacon.annotate("after")

    sink.wait_for(lambda stats: stats.accepted == 1, timeout=20)
    testkit.until(lambda: containers.running(container).keys() == containers.PROGRAMS, "all to run again", timeout=20)
    after = containers.running(container)
    assert {name for name in before if before[name] != after[name]} == {victim}


def test_sigterm_stops_it_in_time_and_the_next_container_sends_nothing_again(
    beacon: containers.Beacon, sink: endpoint.SinkServer
) -> None:
    container = beacon.start()
    beacon.annotate(*(f"o{number}" for number in range(200)))
    sink.wait_for(lambda stats: stats.accepted >= 100)

    code, took_s = container.stop()

    delivered = sink.stats().accepted
    ended = [line["process"] for line in container.lines() if line["event"] == "ended"]
    assert (code, sorted(ended)) == (0, sorted(containers.PROGRAMS))
    assert took_s < testkit.GRACE_S

    beacon.start()
    beacon.annotate("last")
    stats = sink.wait_for(lambda stats: stats.distinct == 201)
    assert (stats.duplicates, stats.order_violations) == (0, 0)
    assert 100 <= delivered <= 200


def test_memory_stays_within_the_request_of_the_manifest(
    beacon: containers.Beacon, sink: endpoint.SinkServer, capsys: pytest.CaptureFixture[str]
) -> None:
    container = beacon.start()
    beacon.annotate(*(f"o{number}" for number in range(1000)))
    sink.wait_for(lambda stats: stats.accepted == 1000, timeout=60)

    used = containers.pss_mib(container.pids())

    with capsys.disabled():
        print(f"\nall processes in the container after 1000 events: {used:.0f} MiB")
    assert used < built.mebibytes(built.container(built.BASE)["resources"]["requests"]["memory"])
    assert container.inspect(".State.OOMKilled") == "false"
    assert containers.running(container).keys() == containers.PROGRAMS
