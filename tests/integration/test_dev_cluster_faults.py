"""Everything that a test can make go wrong in the embedded API server does go wrong, and can be taken back."""

import http.client
import queue
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from beacon.dev import testkit
from beacon.dev.api_server import remote, server
from tests.contract.recordings import asking

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SILENCE_S = 0.2


@pytest.fixture
def cluster() -> Iterator[server.ApiServer]:
    with server.running(bookmark_interval_s=30.0) as running:
        yield running


@pytest.fixture
def client(cluster: server.ApiServer, tmp_path: Path) -> asking.Client:
    return asking.Client(cluster, tmp_path)


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


@pytest.mark.parametrize("code", [401, 403, 404, 410, 429, 500, 503])
def test_matching_requests_fail_as_often_as_configured(
    cluster: server.ApiServer, client: asking.Client, code: int
) -> None:
    cluster.faults.fail(code, times=2, verb="list", resource="configmaps")

    codes = [client.get(CONFIGMAPS)[0] for _ in range(3)]

    assert codes == [code, code, 200]


def test_other_requests_do_not_fail(cluster: server.ApiServer, client: asking.Client) -> None:
    cluster.faults.fail(500, verb="watch")
    cluster.faults.fail(500, resource="pods")
    cluster.faults.fail(500, user="someone")
    cluster.faults.fail(500, namespace="kube-system")
    cluster.faults.fail(500, path="/apis/")

    assert client.get(CONFIGMAPS)[0] == 200


def test_a_429_carries_retry_after(cluster: server.ApiServer, client: asking.Client) -> None:
    cluster.faults.fail(429, retry_after_s=7)

    code, body = client.get(CONFIGMAPS)

    assert (code, body["reason"], body["details"]["retryAfterSeconds"]) == (429, "TooManyRequests", 7)


def test_a_403_names_the_missing_right(cluster: server.ApiServer, client: asking.Client) -> None:
    cluster.faults.fail(403, verb="list")

    assert 'User "admin" cannot list resource "configmaps"' in client.get(CONFIGMAPS)[1]["message"]


def test_a_refused_connection_breaks_without_an_answer(cluster: server.ApiServer, client: asking.Client) -> None:
    cluster.faults.refuse(times=1)

    with pytest.raises(urllib3.exceptions.ProtocolError):
        client.get(CONFIGMAPS)
    assert client.get(CONFIGMAPS)[0] == 200


def test_a_dropped_watch_breaks_in_the_middle_of_its_answer(cluster: server.ApiServer, client: asking.Client) -> None:
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}")
    kept = client.watch(f"/api/v1/pods?resourceVersion={cluster.version}")

    assert cluster.faults.drop(resource="configmaps") == 1

    assert watch.all() == []
    assert watch.error is not None
    cluster.create("pods", named("p"))
    assert kept.next_summary() == "ADDED p"


def test_a_watch_can_be_ended_cleanly(cluster: server.ApiServer, client: asking.Client) -> None:
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}")

    assert cluster.faults.end_watches() == 1

    assert (watch.all(), watch.error) == ([], None)


def test_half_a_line_is_sent_and_no_more(cluster: server.ApiServer, client: asking.Client) -> None:
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}")
    cluster.faults.half_line()

    cluster.create("configmaps", named("a"))

    assert watch.all() == []
    assert watch.rest.startswith(b'{"type":"ADDED"')
    assert watch.error is not None


def test_an_open_watch_gets_an_error_when_its_position_expires(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}")

    cluster.faults.error_line(410)

    line = watch.next()
    assert (line["type"], line["object"]["code"], line["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert (watch.all(), watch.error) == ([], None)


def test_a_frozen_watch_stays_open_and_sends_everything_once_thawed(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}&timeoutSeconds=1")
    cluster.faults.freeze()

    cluster.create("configmaps", named("a"))

    with pytest.raises(queue.Empty):
        watch.next(timeout_s=1.0 + SILENCE_S)  # not even its own timeout ends it
    cluster.faults.thaw()
    assert watch.all() == ["ADDED a"]


def test_a_frozen_server_accepts_connections_and_sends_nothing(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    cluster.faults.freeze(verb="list")

    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        client.ask("GET", CONFIGMAPS, timeout_s=SILENCE_S)
    cluster.faults.thaw()
    assert client.get(CONFIGMAPS)[0] == 200


def test_a_slow_server_keeps_every_answer_and_every_line_waiting(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    position = cluster.version
    cluster.create("configmaps", named("a"))
    cluster.create("configmaps", named("b"))
    cluster.faults.slow(response_s=SILENCE_S, line_s=SILENCE_S)
    began = time.monotonic()

    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={position}")
    lines = [watch.next_summary(), watch.next_summary()]
    ended = time.monotonic()

    assert lines == ["ADDED a", "ADDED b"]
    assert ended - began >= 3 * SILENCE_S


def test_after_a_compaction_an_older_position_has_expired(cluster: server.ApiServer, client: asking.Client) -> None:
    position = cluster.version
    cluster.create("configmaps", named("a"))
    now = cluster.faults.compact()

    expired = client.watch(f"{CONFIGMAPS}?resourceVersion={position}")
    present = client.watch(f"{CONFIGMAPS}?resourceVersion={now}")

    assert expired.next()["object"]["message"] == f"too old resource version: {position} ({now})"
    cluster.create("configmaps", named("b"))
    assert present.next_summary() == "ADDED b"


def test_the_history_reaches_back_for_a_while(cluster: server.ApiServer, client: asking.Client) -> None:
    position = cluster.version
    cluster.create("configmaps", named("a"))
    cluster.faults.age(4, history_s=5)
    cluster.create("configmaps", named("b"))

    known = client.watch(f"{CONFIGMAPS}?resourceVersion={position}")
    assert [known.next_summary(), known.next_summary()] == ["ADDED a", "ADDED b"]
    cluster.faults.age(2, history_s=5)

    expired = client.watch(f"{CONFIGMAPS}?resourceVersion={position}")
    assert expired.next()["object"]["code"] == 410
    assert client.watch(f"{CONFIGMAPS}?resourceVersion={position + 1}").next_summary() == "ADDED b"


def test_a_restarted_server_has_the_same_port_and_content_but_no_history(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    position = cluster.version
    cluster.create("configmaps", named("a"))
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={cluster.version}")
    url = cluster.url

    cluster.restart()

    assert watch.all() == []
    assert watch.error is not None
    assert cluster.url == url
    assert [item["metadata"]["name"] for item in client.get(CONFIGMAPS)[1]["items"]] == ["a"]
    assert client.watch(f"{CONFIGMAPS}?resourceVersion={position}").next()["object"]["code"] == 410
    assert client.watch(f"/api/v1/pods?resourceVersion={position}").next()["object"]["code"] == 410


def test_no_other_server_gets_the_port_while_it_restarts(cluster: server.ApiServer) -> None:
    port = int(cluster.url.rpartition(":")[2])
    away, reserved = [False], list[int]()

    def found() -> bool:
        away.append(port not in listening())
        # Not at the first look, when the server itself may be about to bind it.
        if away[-2] and away[-1] and in_use(port) and port not in listening():
            reserved.append(port)
        return bool(reserved) or not restart.is_alive()

    for downtime_s in (0.3, 3.0, 30.0):  # a busy machine needs a longer one
        restart = threading.Thread(target=cluster.restart, args=(downtime_s,))
        restart.start()
        testkit.until(found, "the reserved port", timeout=60)
        restart.join()
        if reserved:
            break

    assert reserved


def in_use(port: int) -> bool:
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def listening() -> set[int]:
    """Return the ports at which this process listens."""
    return {one.laddr.port for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN}


def test_a_restored_backup_takes_the_resource_version_back_and_the_future_is_silent(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    cluster.create("configmaps", named("before"))
    backup, then = cluster.faults.snapshot(), cluster.version
    cluster.create("configmaps", named("after"))
    cluster.define("things", "example.com", "Thing")
    future = cluster.version
    watch = client.watch(f"{CONFIGMAPS}?resourceVersion={future}")

    assert cluster.faults.rewind(backup) == then

    assert watch.all() == []
    _, listed = client.get(CONFIGMAPS)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["before"]
    assert listed["metadata"]["resourceVersion"] == str(then)
    assert client.get("/apis/example.com/v1/things")[0] == 404
    late = client.watch(f"{CONFIGMAPS}?resourceVersion={future}&allowWatchBookmarks=true")
    cluster.create("configmaps", named("again"))
    assert late.status == 200
    with pytest.raises(queue.Empty):
        late.next(timeout_s=SILENCE_S)
    assert client.get(f"{CONFIGMAPS}?resourceVersion={future}")[0] == 504


def test_a_server_stops_at_once_with_watches_open_and_frozen(cluster: server.ApiServer, client: asking.Client) -> None:
    watches = [client.watch(CONFIGMAPS) for _ in range(5)]
    cluster.faults.freeze()

    cluster.stop()

    assert all(watch.all() == [] for watch in watches)


def test_open_watches_and_answered_requests_are_known(cluster: server.ApiServer, client: asking.Client) -> None:
    client.get(CONFIGMAPS)
    client.watch(CONFIGMAPS)

    assert [(info.plural, info.namespace) for info in cluster.watches()] == [("configmaps", "default")]
    assert [entry.verb for entry in cluster.requests(resource="configmaps")] == ["list", "watch"]


def test_a_server_in_another_process_is_steered_over_http(tmp_path: Path) -> None:
    with remote.running(tmp_path) as elsewhere:
        elsewhere.request("POST", CONFIGMAPS, named("a"))
        elsewhere.call("fail", code=500, times=1, verb="get")
        with pytest.raises(urllib.error.HTTPError, match="500"):
            elsewhere.request("GET", f"{CONFIGMAPS}/a")
        elsewhere.call("fill", count=50)
        elsewhere.call("churn", count=50, rate=100, seconds=0.05)
        made = elsewhere.call("load", count=100, first=50, annotations={"x": "1"})

        assert len(elsewhere.request("GET", CONFIGMAPS)["items"]) == 151
        assert elsewhere.status()["resourceVersion"] == made["resourceVersion"]
        elsewhere.call("restart")
        assert answer_of(elsewhere, f"{CONFIGMAPS}/a")["metadata"]["name"] == "a"


def test_filled_objects_differ_and_churn_changes_them_at_its_rate(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    cluster.faults.fill(50, annotations={"x": "1"})
    before = client.get(CONFIGMAPS)[1]["items"]
    watch = client.watch(CONFIGMAPS)

    done = cluster.faults.churn(50, rate=1000, seconds=0.3)

    after = client.get(CONFIGMAPS)[1]["items"]
    uids = [one["metadata"]["uid"] for one in before]
    assert len(set(uids)) == 50
    assert {one["metadata"]["annotations"]["x"] for one in before} == {"1"}
    assert 0 < done["made"] <= 1000 * done["seconds"]
    assert [one["metadata"]["uid"] for one in after] == uids
    assert max(int(one["metadata"]["resourceVersion"]) for one in after) == cluster.version
    assert (
        next(line for line in iter(watch.next, None) if line["type"] == "MODIFIED")["object"]["metadata"]["uid"] in uids
    )


def test_only_an_administrator_steers(cluster: server.ApiServer, tmp_path: Path) -> None:
    client = asking.Client(cluster, tmp_path, token=cluster.faults.issue("someone"))

    assert client.ask("POST", "/beacon-dev/clear", {})[0] == 403
    assert client.ask("GET", "/beacon-dev/status")[0] == 403


def test_a_command_that_does_not_exist_or_has_wrong_arguments_is_refused(
    cluster: server.ApiServer, client: asking.Client
) -> None:
    assert client.ask("POST", "/beacon-dev/__init__", {})[0] == 404
    assert client.ask("POST", "/beacon-dev/fail", {"colour": "red"})[0] == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_ends_quickly_and_cleanly_with_a_watch_open(tmp_path: Path, number: signal.Signals) -> None:
    with remote.running(tmp_path) as elsewhere:
        host, port = elsewhere.url.removeprefix("https://").split(":")
        trust = ssl.create_default_context(cadata=elsewhere.ca)
        connection = http.client.HTTPSConnection(host, int(port), context=trust, timeout=100)
        headers = {"Authorization": f"Bearer {elsewhere.token}"}
        connection.request("GET", f"{CONFIGMAPS}?watch=true", headers=headers)
        assert connection.getresponse().status == 200

        elsewhere.process.send_signal(number)

        assert elsewhere.process.wait(timeout=100) == 0
        connection.close()


def test_a_port_in_use_is_reported_in_one_sentence(cluster: server.ApiServer) -> None:
    port = cluster.url.rpartition(":")[2]

    program = subprocess.run(
        [*remote.COMMAND, "--port", port], capture_output=True, text=True, timeout=100, check=False
    )

    assert program.returncode == 75
    assert program.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in program.stderr


def answer_of(elsewhere: remote.Remote, path: str) -> dict[str, Any]:
    """Return the answer to a request, which is repeated while a restart refuses or cuts connections."""
    deadline = time.monotonic() + 100
    while True:
        try:
            return elsewhere.request("GET", path)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
