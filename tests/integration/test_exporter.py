"""The exporter as a real process: its ports, its readiness while the store restarts, its exit."""

import http.client
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import errors
from beacon.configuration import settings
from beacon.dev import testkit
from beacon.runtime import heartbeat, metrics, run_directory
from tests import run_directories
from tests.integration import processes
from tests.unit.exporter import stores


def tree(**changes: Any) -> dict[str, Any]:
    port = testkit.free_port()
    made = {
        "resources": [{"api_version": "v1", "kind": "Pod"}],
        "endpoints": [{"url": "http://127.0.0.1:1/"}],
        "metrics": {"port": port},
        "health": {"port": port},
    }
    return settings.to_plain(settings.from_plain({**made, **changes}))


class Beacon:
    """An exporter with its environment: a stand-in for the store, and the files of the other processes."""

    def __init__(self, base: Path, store: stores.Store) -> None:
        self.base = base
        self.run_dir = run_directories.made(base)
        self.store = store
        self.store.tree = tree()

    @property
    def port(self) -> int:
        return int(self.store.tree["health"]["port"])  # type: ignore[index]

    def live(self, process: str, component: str, state: str, **fields: Any) -> None:
        """Create the heartbeat and reports of a process with this name."""
        heartbeat.Heartbeat(run_directory.heartbeats_directory(self.run_dir), process, "main")
        run_directory.Reporter(self.run_dir, process).report(component, {"state": state, **fields})

    def all_live(self) -> None:
        self.live("store", "ledger", "serving")
        self.live("watcher", "scope.Pod", "watching", scope="pods", listed=True)
        self.live("notifier", "claim", "claiming")

    @contextmanager
    def exporting(self) -> Iterator[processes.Program]:
        with subprocess.Popen(
            [sys.executable, "-m", "beacon.exporter"],
            env={**os.environ, "BEACON_RUN_DIR": str(self.base)},
            stdout=subprocess.PIPE,
        ) as made:
            program = processes.Program(made)
            try:
                yield program
            finally:
                made.terminate()
                program.end()

    def get(self, path: str, *, port: int = 0, accept: str = "") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=100)
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    def readiness(self) -> tuple[int, dict[str, Any]]:
        status, body = self.get("/ready")
        return status, json.loads(body)["checks"]


@pytest.fixture
def beacon() -> Iterator[Beacon]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Beacon(Path(name), stores.Store())


def test_it_is_ready_when_healthy_and_not_when_the_store_is_gone(beacon: Beacon) -> None:
    beacon.all_live()
    with beacon.exporting() as program:
        with stores.serving(beacon.run_dir, beacon.store):
            program.until("listening")
            assert beacon.readiness()[0] == 200

        status, checks = beacon.readiness()
        assert (status, checks["store"]["ok"], checks["store"]["state"]) == (503, False, "silent")

        with stores.serving(beacon.run_dir, beacon.store):
            processes.wait_for(lambda: beacon.readiness()[0] == 200, "readiness")


def test_readiness_follows_the_reports_of_the_watcher(beacon: Beacon) -> None:
    beacon.all_live()
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")

        beacon.live("watcher", "scope.Pod", "forbidden", reason="no right to list pods", listed=True)
        status, checks = beacon.readiness()

        assert status == 503
        assert checks["watcher"]["scopes"]["Pod"]["why"] == "no right to list pods"

        beacon.live("watcher", "scope.Pod", "watching", scope="pods", listed=True)
        assert beacon.readiness()[0] == 200


def test_without_a_store_a_scrape_is_quick_and_lacks_only_its_statistics(beacon: Beacon) -> None:
    beacon.all_live()
    with beacon.exporting() as program:
        with stores.serving(beacon.run_dir, beacon.store):
            program.until("listening")
            assert "beacon_db_size_bytes 4096.0" in beacon.get("/metrics")[1]

        status, body = beacon.get("/metrics")

        assert status == 200
        assert "beacon_db_size_bytes" not in body
        assert 'beacon_process_up{process="exporter"} 1.0' in body
        assert 'beacon_component_up{component="store"} 0.0' in body


def test_a_damaged_metric_file_does_not_spoil_a_scrape_and_is_counted(beacon: Beacon) -> None:
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")
        (run_directory.metrics_directory(beacon.run_dir) / "counter_watcher.db").touch()

        beacon.get("/metrics")
        status, body = beacon.get("/metrics")

        assert status == 200
        assert "beacon_metric_files_damaged_total 1.0" in body


def test_both_formats_are_served_on_request(beacon: Beacon) -> None:
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")

        assert beacon.get("/metrics", accept="application/openmetrics-text;version=1.0.0")[1].endswith("# EOF\n")
        assert not beacon.get("/metrics")[1].endswith("# EOF\n")


def test_paths_and_ports_are_those_of_the_configuration(beacon: Beacon) -> None:
    other = testkit.free_port()
    beacon.store.tree = tree(
        metrics={"port": other, "path": "/figures"},
        health={"port": testkit.free_port(), "liveness_path": "/alive", "readiness_path": "/set"},
    )
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        processes.wait_for(lambda: program.events().count("listening") == 2, "two ports")

        assert beacon.get("/figures", port=other)[0] == 200
        assert beacon.get("/alive")[0] == 200
        assert beacon.get("/set")[0] == 503
        assert beacon.get("/figures")[0] == 404
        assert beacon.get("/metrics", port=other)[0] == 404
        assert beacon.get("/alive", port=other)[0] == 404


def test_metrics_that_are_switched_off_are_not_served(beacon: Beacon) -> None:
    port = testkit.free_port()
    beacon.store.tree = tree(metrics={"enabled": False, "port": port}, health={"port": port})
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")

        assert beacon.get("/metrics")[0] == 404
        assert beacon.get("/healthz")[0] == 200


def test_a_port_in_use_ends_it_with_one_line_that_names_port_and_key(beacon: Beacon) -> None:
    with (
        stores.serving(beacon.run_dir, beacon.store),
        socket.create_server(("127.0.0.1", beacon.port)),
        beacon.exporting() as program,
    ):
        assert program.end() == errors.EXIT_TEMPORARY

    (failed,) = [line for line in program.lines if line["level"] == "error"]
    assert failed["reason"] == f"port {beacon.port} (metrics.port and health.port) is in use"


def test_the_configured_app_fields_are_in_the_log(beacon: Beacon) -> None:
    beacon.store.tree = tree(app={"name": "beacon-east", "version": "7.1", "log_level": "warn"})
    with (
        stores.serving(beacon.run_dir, beacon.store),
        socket.create_server(("127.0.0.1", beacon.port)),
        beacon.exporting() as program,
    ):
        program.end()

    assert "configured" not in program.events()  # below the configured level
    assert {line["app"] for line in program.lines if line["event"] == "failed"} == {"beacon-east"}


def test_another_configuration_of_the_store_ends_it_for_a_restart(beacon: Beacon) -> None:
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")
        beacon.get("/ready")

        beacon.store.settings = "another"

        assert program.end() == errors.EXIT_TEMPORARY


def test_it_waits_for_a_late_store_and_logs_it(beacon: Beacon) -> None:
    with beacon.exporting() as program:
        program.until("waiting for the store")

        with stores.serving(beacon.run_dir, beacon.store):
            program.until("listening")


def test_it_ends_within_its_time_even_while_the_store_is_silent(beacon: Beacon) -> None:
    with beacon.exporting() as program:
        with stores.serving(beacon.run_dir, beacon.store):
            program.until("listening")

        program.process.terminate()

        assert program.end() == 0


def test_a_killed_exporter_counts_its_restart_and_serves_again(beacon: Beacon) -> None:
    with stores.serving(beacon.run_dir, beacon.store):
        with beacon.exporting() as program:
            program.until("listening")
            program.process.kill()
        with beacon.exporting() as program:
            program.until("listening")

            assert 'beacon_process_restarts_total{process="exporter"} 1.0' in beacon.get("/metrics")[1]


def test_state_gauges_of_a_process_that_is_gone_vanish_and_its_counters_stay(beacon: Beacon) -> None:
    code = """
    metrics.EVENTS.labels(kind="Pod", type="created", source="watch").inc()
    metrics.WATCH_CONNECTED.labels(scope="pods").set(1)
    heart = context.heartbeat("main")
    log.get().info("counted")
    context.stop.wait()
    """
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")
        with processes.started(code, beacon.base) as watcher:
            watcher.until("counted")
            assert 'beacon_watch_connected{scope="pods"} 1.0' in beacon.get("/metrics")[1]
            watcher.process.kill()
            watcher.end()

        body = beacon.get("/metrics")[1]

        assert "beacon_watch_connected" not in body
        assert 'beacon_events_total{kind="Pod",source="watch",type="created"} 1.0' in body


def test_a_scrape_shows_the_state_of_each_endpoint_until_its_row_is_deleted(beacon: Beacon) -> None:
    one = beacon.store.statistics.endpoints[0]
    paused, gone = replace(one, endpoint="b", paused_us=2_000_000), replace(one, endpoint="c", removed_us=3_000_000)
    parked = replace(one, endpoint="d", parked_us=4_000_000, parked_cause="unauthorized")
    beacon.store.statistics = replace(beacon.store.statistics, endpoints=(one, paused, gone, parked))
    beacon.live("notifier", "endpoint", "faulty", endpoint="default")
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")

        body = beacon.get("/metrics")[1]

        states = [line for line in body.splitlines() if line.startswith("beacon_endpoint_state{") and "1.0" in line]
        assert sorted(states) == [
            'beacon_endpoint_state{endpoint="b",state="paused"} 1.0',
            'beacon_endpoint_state{endpoint="c",state="removed"} 1.0',
            'beacon_endpoint_state{endpoint="d",state="parked"} 1.0',
            'beacon_endpoint_state{endpoint="default",state="faulty"} 1.0',
        ]
        assert 'beacon_endpoint_state_timestamp_seconds{endpoint="c"} 3.0' in body
        assert 'beacon_endpoint_state_timestamp_seconds{endpoint="d"} 4.0' in body
        assert 'beacon_deliveries_failed{endpoint="c"} 5.0' in body

        beacon.store.statistics = replace(beacon.store.statistics, endpoints=(one, paused))
        processes.wait_for(lambda: 'endpoint="c"' not in beacon.get("/metrics")[1], "the end of its series")


def test_declared_metrics_and_gauges_have_no_name_in_common(beacon: Beacon) -> None:
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")
        body = beacon.get("/metrics")[1]

    names = [line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert all(declared.documentation for declared in metrics.REGISTRY.collect())


HOSTILE = [
    b"GET /metrics HTTP/1.1\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nContent-Type: text/plain; charset=\0\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"Expect: 100-continue\r\n" * 160 + b"\r\n",
    b"GET /ready HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n" * 50,
    b"GET /metrics?name[]=a&name[]=%00 HTTP/1.1\r\nAccept: application/openmetrics-text;version=\xb2.0.0\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1" + b"0" * 2000 + b"\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nAccept: " + b"application/openmetrics-text;version=x," * 300 + b"\r\n\r\n",
    b"GET a://" + b"1" * 8000 + b" x\r\n\r\n",
    b"GET / HTTP/1.1\r\na:" + b" " * 16_000 + b"\0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
]


def mutated(chance: random.Random) -> bytes:
    """Mutate a hostile request: bytes changed, removed, doubled."""
    data = bytearray(chance.choice(HOSTILE))
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(data))
        piece = data[at : at + chance.randint(0, 40)]
        data[at : at + chance.randint(0, 40)] = chance.choice([bytes([chance.randrange(256)]), b"\r\n", piece * 2, b""])
    return bytes(data) or b"G"


def attack(port: int, data: bytes, chance: random.Random) -> None:
    """Send a request, and disconnect at once, with a reset, after the answer, or not at all."""
    with socket.create_connection(("127.0.0.1", port), timeout=100) as connection, suppress(OSError):
        connection.sendall(data)
        leaving = chance.randrange(3)
        if leaving == 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif leaving == 2:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                continue


def resources(pid: int) -> tuple[int, int]:
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208  names suffice


def test_no_request_leaves_a_connection_or_thread_behind(beacon: Beacon) -> None:
    beacon.all_live()
    chance = random.Random(12)
    with stores.serving(beacon.run_dir, beacon.store), beacon.exporting() as program:
        program.until("listening")
        assert beacon.get("/metrics")[0] == 200
        before = resources(program.process.pid)

        for number in range(400):
            attack(beacon.port, mutated(chance) if number >= len(HOSTILE) else HOSTILE[number], chance)

        for path in ("/healthz", "/ready", "/metrics"):
            assert beacon.get(path)[0] == 200
        processes.wait_for(lambda: resources(program.process.pid) <= before, "files and threads to be given back")
        assert program.process.poll() is None
        program.process.terminate()
        assert program.end() == 0
    assert {line["event"] for line in program.lines} == {"started", "configured", "listening", "ended"}


def test_probes_and_scrapes_are_answered_beside_half_open_and_many_quick_connections(beacon: Beacon) -> None:
    beacon.all_live()
    with (
        stores.serving(beacon.run_dir, beacon.store),
        beacon.exporting() as program,
        ExitStack() as connections,
        ThreadPoolExecutor(8) as pool,
    ):
        program.until("listening")
        for _ in range(500):
            half_open = connections.enter_context(socket.create_connection(("127.0.0.1", beacon.port), timeout=100))
            half_open.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        beacon.all_live()

        quick = [pool.submit(beacon.get, path) for path in ("/healthz", "/ready", "/metrics", "/") * 100]
        answered = [beacon.get(path)[0] for path in ("/healthz", "/ready", "/metrics") * 5]

        assert answered == [200] * 15
        assert {one.result()[0] for one in quick} == {200, 404}


def test_a_store_that_is_silent_keeps_many_requests_no_longer_than_a_few(beacon: Beacon) -> None:
    beacon.all_live()
    with beacon.exporting() as program, ThreadPoolExecutor(30) as pool:
        with stores.serving(beacon.run_dir, beacon.store):
            program.until("listening")

        asked = [pool.submit(beacon.get, path) for path in ("/healthz", "/ready", "/metrics") * 10]

        assert {one.result()[0] for one in asked} == {200, 503}
