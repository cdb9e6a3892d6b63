import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
import requests
from cloudevents.core.bindings import http as cloudevents_http

from beacon import errors
from beacon.dev import endpoint, testkit
from tests.unit import endpoint_events as sent

HEADERS = {"content-type": "application/cloudevents+json; charset=UTF-8"}
Post = Callable[..., requests.Response]
# A busy machine needs a longer one until all requests are under way.
LATENCIES_S = (0.3, 3.0, 20.0)


@pytest.fixture
def sink() -> Iterator[endpoint.SinkServer]:
    with endpoint.running() as running:
        yield running


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture
def post(sink: endpoint.SinkServer, session: requests.Session) -> Post:
    def send(name: str = "web", sequence: int = 1, **options: Any) -> requests.Response:
        body = sent.body(name, sequence, previous=options.pop("previous", 0), **options.pop("changed", {}))
        return session.post(sink.url, data=body, headers=HEADERS, timeout=options.pop("timeout", 60), **options)

    return send


def raw_request(body: bytes) -> bytes:
    head = (
        f"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: {HEADERS['content-type']}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def connected(sink: endpoint.SinkServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sink.port), timeout=60)


def test_a_good_event_is_accepted_and_its_body_is_a_cloudevent_to_the_official_sdk(
    sink: endpoint.SinkServer, post: Post
) -> None:
    assert post().status_code == 200

    (accepted,) = sink.events()
    message = cloudevents_http.HTTPMessage(headers=HEADERS, body=accepted.request.body)
    event = cloudevents_http.from_http_event(message)
    assert (event.get_id(), event.get_type()) == ("id-1", "net.bakerapps.beacon.resource.created")
    assert event.get_extension("partitionkey") == "/ConfigMap/shop/web"
    assert accepted.event is not None
    assert (accepted.event.name, accepted.answer, accepted.number) == ("web", 200, 1)
    assert accepted.request.header("Content-Type") == HEADERS["content-type"]


def test_wrong_requests_get_distinct_errors_and_are_never_accepted(
    sink: endpoint.SinkServer, session: requests.Session
) -> None:
    sink.set(token="secret")
    bearer = {"authorization": "Bearer secret"}
    wrong = session.get(sink.url, timeout=60)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert session.post(sink.url, data=sent.body("web", 1), headers=HEADERS, timeout=60).status_code == 401
    plain = bearer | {"content-type": "application/json"}
    assert session.post(sink.url, data=sent.body("web", 1), headers=plain, timeout=60).status_code == 415
    broken = session.post(sink.url, data=b"{}", headers=HEADERS | bearer, timeout=60)
    assert broken.status_code == 400
    assert "specversion must be 1.0" in broken.json()["error"]

    good = session.post(sink.url + "/any/path", data=sent.body("web", 1), headers=HEADERS | bearer, timeout=60)

    assert good.status_code == 200
    assert (sink.stats().refused, sink.stats().accepted) == (4, 1)


def test_methods_that_are_configured_are_accepted(sink: endpoint.SinkServer, session: requests.Session) -> None:
    sink.set(methods=["PUT", "PATCH"])

    for method, status in (("PUT", 200), ("PATCH", 200), ("POST", 405)):
        answer = session.request(method, sink.url, data=sent.body("web", 1), headers=HEADERS, timeout=60)
        assert answer.status_code == status


def test_a_failure_has_the_requested_status_headers_and_body(sink: endpoint.SinkServer, post: Post) -> None:
    sink.set(mode="failure", status=503, retry_after=7, body="out of order", headers={"X-Reason": "test"})

    answer = post()

    assert (answer.status_code, answer.text) == (503, "out of order")
    assert (answer.headers["retry-after"], answer.headers["x-reason"]) == ("7", "test")
    assert not sink.seen("id-1")


def test_a_redirect_names_a_location_and_following_it_would_be_seen(sink: endpoint.SinkServer, post: Post) -> None:
    sink.set(mode="failure", status=302)

    assert post(allow_redirects=False).headers["location"] == "/elsewhere"
    assert post().status_code == 405

    assert [(item.request.method, item.request.path) for item in sink.attempts()][-1] == ("GET", "/elsewhere")


@pytest.mark.parametrize("status", [204, 207, 299])
def test_every_2xx_accepts(sink: endpoint.SinkServer, post: Post, status: int) -> None:
    sink.set(success_status=status)

    assert post().status_code == status
    assert post("other", 2).status_code == status
    assert sink.stats().distinct == 2


def test_poison_fails_for_ever_flaky_twice_and_the_rest_never(sink: endpoint.SinkServer, post: Post) -> None:
    sink.set(rules=[{"name_prefix": "poison-"}, {"name_prefix": "flaky-", "first_attempts": 2, "status": 503}])

    found = {name: [post(name, n).status_code for _ in range(3)] for n, name in enumerate(("poison-1", "flaky-1"), 1)}

    assert found == {"poison-1": [500] * 3, "flaky-1": [503, 503, 200]}
    assert post("good-1", 3).status_code == 200


def test_late_answers_run_side_by_side(sink: endpoint.SinkServer) -> None:
    for latency_s in LATENCIES_S:
        sink.reset()
        sink.set(latency_s=latency_s)
        with futures.ThreadPoolExecutor(8) as pool:
            answers = pool.map(
                lambda n: requests.post(sink.url, data=sent.body(f"web-{n}", n), headers=HEADERS, timeout=60),
                range(1, 9),
            )
            assert {answer.status_code for answer in answers} == {200}
        if sink.stats().in_flight_peak == 8:
            break

    assert (sink.stats().in_flight_peak, sink.stats().overlaps) == (8, 0)


def test_an_event_whose_client_left_before_the_answer_is_not_accepted(sink: endpoint.SinkServer, post: Post) -> None:
    sink.set(mode="delay", delay_s=30)
    with pytest.raises(requests.Timeout):
        post(timeout=0.1)

    stats = sink.wait_for(lambda stats: stats.by_status.get("abandoned") == 1)
    assert (stats.accepted, stats.in_flight) == (0, 0)
    sink.set(mode="success")
    assert post().status_code == 200
    assert sink.stats().overlaps == 0


def test_a_hanging_request_is_never_answered(sink: endpoint.SinkServer, post: Post) -> None:
    sink.set(mode="hang")
    with pytest.raises(requests.Timeout):
        post(timeout=0.1)

    assert sink.wait_for(lambda stats: stats.by_status.get("hung") == 1).accepted == 0


@pytest.mark.parametrize(("mode", "outcome"), [("reset", "reset"), ("close", "closed")])
def test_a_connection_is_cut_without_an_answer(sink: endpoint.SinkServer, post: Post, mode: str, outcome: str) -> None:
    sink.set(mode=mode)
    with connected(sink) as client:
        client.sendall(raw_request(sent.body("web", 1)))
        if mode == "reset":
            with pytest.raises(ConnectionResetError):
                client.recv(100)
        else:
            assert client.recv(100) == b""

    sink.wait_for(lambda stats: stats.by_status == {outcome: 1})
    sink.set(mode="success")
    assert post().status_code == 200


@pytest.mark.parametrize("part", ["headers", "body"])
def test_dripping_goes_on_until_the_client_leaves(sink: endpoint.SinkServer, part: str) -> None:
    sink.set(mode="drip", drip=part, drip_interval_s=0.001)
    with connected(sink) as client:
        client.sendall(raw_request(sent.body("web", 1)))
        got = b""
        while len(got) < 400:
            got += client.recv(100)

    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (b"\r\n\r\n" in got) is (part == "body")
    assert sink.wait_for(lambda stats: stats.by_status == {"dripped": 1}).accepted == 0


def test_an_answer_that_drips_to_its_end_accepts(sink: endpoint.SinkServer, post: Post) -> None:
    sink.set(mode="drip", drip="answer", drip_interval_s=0.001)

    assert post().status_code == 200
    assert sink.wait_for(lambda stats: stats.by_status == {"200": 1}).accepted == 1


def test_an_outage_refuses_connections_and_ends_on_the_same_port(sink: endpoint.SinkServer, post: Post) -> None:
    assert post().status_code == 200
    with connected(sink) as open_before:
        sink.stop()
        with pytest.raises(ConnectionResetError):
            open_before.recv(1)
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                connected(sink)

        sink.start()

    assert post("other", 2).status_code == 200
    assert sink.stats().accepted == 2


def test_no_other_process_gets_the_port_during_an_outage(sink: endpoint.SinkServer) -> None:
    sink.stop()

    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", sink.port))


def test_an_outage_ends_requests_that_were_hanging(sink: endpoint.SinkServer, post: Post) -> None:
    sink.set(mode="hang")
    with futures.ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(post)
        sink.wait_for(lambda stats: stats.in_flight == 1)
        sink.stop()
        with pytest.raises(requests.ConnectionError):
            hanging.result(100)

    sink.wait_for(lambda stats: stats.in_flight == 0)


def test_cutting_connections_does_not_end_listening(sink: endpoint.SinkServer, post: Post) -> None:
    with connected(sink) as client:
        client.sendall(raw_request(sent.body("web", 1)))
        assert client.recv(12) == b"HTTP/1.1 200"
        assert sink.cut() == 1
        client.recv(1000)  # the rest of the answer
        with pytest.raises(ConnectionResetError):
            client.recv(1000)

    assert post("other", 2).status_code == 200


def test_two_requests_of_one_object_at_the_same_time_are_counted(sink: endpoint.SinkServer) -> None:
    for latency_s in LATENCIES_S:
        sink.reset()
        sink.set(latency_s=latency_s)
        with connected(sink) as first, connected(sink) as second:
            first.sendall(raw_request(sent.body("web", 1)))
            second.sendall(raw_request(sent.body("web", 2, previous=1)))
            sink.wait_for(lambda stats: stats.accepted == 2, timeout=20)
            stats = sink.wait_for(lambda stats: stats.in_flight == 0)
        if stats.in_flight_peak == 2:
            break

    assert (stats.in_flight_peak, stats.overlaps) == (2, 1)


def test_a_body_that_never_comes_whole_is_counted(sink: endpoint.SinkServer) -> None:
    with connected(sink) as client:
        client.sendall(raw_request(sent.body("web", 1))[:-10])

    assert sink.wait_for(lambda stats: stats.by_status == {"incomplete": 1}).accepted == 0


def test_a_large_body_in_many_packets_is_read_whole(sink: endpoint.SinkServer, post: Post) -> None:
    data = sent.document("web", 1)["data"]
    data["metadata"]["annotations"] = {"a": "x" * 500_000}

    assert post(changed={"data": data}).status_code == 200
    assert len(sink.events()[0].request.body) > 500_000


def test_everything_is_within_reach_over_http(sink: endpoint.SinkServer, post: Post, session: requests.Session) -> None:
    assert session.get(f"{sink.url}/health", timeout=60).json() == {"status": "ok"}
    changed = session.post(f"{sink.url}/control", json={"mode": "failure", "status": 404}, timeout=60)
    assert (changed.status_code, changed.json()["status"]) == (200, 404)
    assert post().status_code == 404
    wrong = session.post(f"{sink.url}/control", json={"mode": "x", "no": 1}, timeout=60)
    assert (wrong.status_code, len(wrong.json()["problems"])) == (400, 2)
    assert session.post(f"{sink.url}/control", data=b"{", timeout=60).status_code == 400
    session.post(f"{sink.url}/control", json={"mode": "success"}, timeout=60)
    assert post().status_code == 200

    stats = session.get(f"{sink.url}/stats", timeout=60).json()
    attempts = session.get(f"{sink.url}/attempts", timeout=60).json()["attempts"]

    assert (stats["accepted"], stats["by_status"]) == (1, {"404": 1, "200": 1})
    assert [(item["attempt"], item["answer"]) for item in attempts] == [(1, 404), (2, 200)]
    assert session.post(f"{sink.url}/reset", timeout=60).json() == {"status": "ok"}
    assert sink.stats().requests == 0


def test_events_are_paged_by_index(sink: endpoint.SinkServer, post: Post, session: requests.Session) -> None:
    for sequence in range(1, 6):
        post("web", sequence, previous=sequence - 1)

    page = session.get(f"{sink.url}/events?after=1&limit=2", timeout=60).json()

    assert [item["index"] for item in page["events"]] == [2, 3]
    assert page["events"][0]["body"] == sent.document("web", 2, previous=1)
    assert page["next"] == 3
    assert session.get(f"{sink.url}/events?after=x", timeout=60).status_code == 400
    assert session.get(f"{sink.url}/events?after=5", timeout=60).json() == {"events": [], "next": 5}


def test_a_long_poll_returns_with_the_next_event(sink: endpoint.SinkServer, post: Post) -> None:
    with futures.ThreadPoolExecutor(1) as pool:
        polled = pool.submit(requests.get, f"{sink.url}/events?after=0&wait=20", timeout=100)
        assert not polled.done()
        post()

        assert [item["index"] for item in polled.result(100).json()["events"]] == [1]


def test_wait_for_reports_the_last_statistics_on_timeout(sink: endpoint.SinkServer) -> None:
    with pytest.raises(TimeoutError, match="accepted=0"):
        sink.wait_for(lambda stats: stats.accepted > 0, timeout=0.05)


def test_wrong_settings_are_refused_and_nothing_changes(sink: endpoint.SinkServer, post: Post) -> None:
    with pytest.raises(errors.ConfigError):
        sink.set(mode="failure", status=7)

    assert post().status_code == 200
    with pytest.raises(errors.ConfigError), endpoint.running(prot=1):
        pass


def test_tls_is_trusted_by_its_own_authority_alone(tmp_path: Path) -> None:
    with endpoint.running(tls=True) as sink:
        files = sink.write_client_files(tmp_path)
        answer = requests.post(sink.url, data=sent.body("web", 1), headers=HEADERS, verify=str(files.ca), timeout=60)
        assert answer.status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.post(sink.url, data=sent.body("web", 1), headers=HEADERS, timeout=60)

    assert files.ca.read_bytes() == sink.ca_pem


def test_a_client_that_never_begins_tls_does_not_hold_up_an_outage() -> None:
    with endpoint.running(tls=True) as sink, connected(sink):
        sink.stop()

        with pytest.raises(ConnectionRefusedError):
            connected(sink)


def test_it_can_be_closed_and_started_again() -> None:
    sink = endpoint.SinkServer().start()
    sink.close()
    sink.close()
    assert sink.cut() == 0

    with sink.start():
        assert requests.get(f"{sink.url}/health", timeout=60).status_code == 200


def test_mutual_tls_requires_a_certificate(tmp_path: Path) -> None:
    with endpoint.running(mutual=True) as sink:
        files = sink.write_client_files(tmp_path)
        known = (str(files.cert), str(files.key))
        assert requests.get(f"{sink.url}/health", timeout=60, verify=str(files.ca), cert=known).status_code == 200
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{sink.url}/health", timeout=60, verify=str(files.ca))


def test_tls_takes_certificates_from_files(tmp_path: Path) -> None:
    with endpoint.running(tls=True) as other:
        files = other.write_client_files(tmp_path)

    with endpoint.running(cert=str(files.cert), key=str(files.key), client_ca=str(files.ca)) as sink:
        context = ssl.create_default_context(cafile=str(files.ca))
        context.check_hostname = False
        context.load_cert_chain(files.cert, files.key)
        with connected(sink) as plain, context.wrap_socket(plain) as client:
            client.sendall(raw_request(sent.body("web", 1)))
            assert client.recv(12) == b"HTTP/1.1 200"


def test_a_port_in_use_is_an_error_at_start(sink: endpoint.SinkServer) -> None:
    with pytest.raises(OSError, match="in use"), endpoint.running(port=sink.port):
        pass


def test_ending_leaves_no_thread_and_no_port() -> None:
    with endpoint.running(mode="hang", port=testkit.free_port()) as sink:
        client = connected(sink)
        client.sendall(raw_request(sent.body("web", 1)))
        sink.wait_for(lambda stats: stats.in_flight == 1)

    client.close()
    assert "beacon-dev-endpoint" not in {thread.name for thread in threading.enumerate()}
    with endpoint.running(port=sink.port) as again:
        assert again.port == sink.port


@contextlib.contextmanager
def program(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "beacon.dev.endpoint", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_the_program_takes_file_and_flags_and_ends_on_sigterm(tmp_path: Path) -> None:
    config = tmp_path / "endpoint.yaml"
    config.write_text("mode: failure\nstatus: 418\nretry_after: 9\nlog: json\n")

    with program("--config", str(config), "--port", "0", "--status", "429") as (process, ready):
        answer = requests.post(ready["url"], data=sent.body("web", 1), headers=HEADERS, timeout=60)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert (line["answer"], line["event"]["name"]) == (429, "web")
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == 0


def test_fast_mode_still_counts_ids_and_order() -> None:
    with program("--fast", "--log", "none") as (_, ready), requests.Session() as session:
        for sequence in (2, 1, 1):
            body = sent.body("web", sequence, data=None, source=None)
            assert session.post(ready["url"], data=body, timeout=60).status_code == 200

        stats = session.get(f"{ready['url']}/stats", timeout=60).json()

    assert (stats["distinct"], stats["duplicates"], stats["order_violations"]) == (2, 1, 1)


def test_the_program_names_every_wrong_setting_and_ends_with_78() -> None:
    command = [sys.executable, "-m", "beacon.dev.endpoint", "--mode", "sucess", "--status", "1"]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert ended.returncode == errors.EXIT_CONFIG
    assert len(ended.stderr.splitlines()) == 2
    assert "Traceback" not in ended.stderr


def test_the_program_reports_that_it_cannot_listen(sink: endpoint.SinkServer) -> None:
    command = [sys.executable, "-m", "beacon.dev.endpoint", "--port", str(sink.port)]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert ended.returncode == errors.EXIT_TEMPORARY
    assert ended.stderr.startswith("The test endpoint can't listen on 127.0.0.1:")
