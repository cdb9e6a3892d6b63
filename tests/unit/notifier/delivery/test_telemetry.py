import time
from collections.abc import Mapping
from typing import Any

import pytest

from beacon import codec
from beacon.domain import model
from beacon.notifier.delivery import telemetry
from beacon.runtime import log, metrics
from tests.unit.notifier import stores


class Reports:
    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.written = 0

    def report(self, component: str, state: Mapping[str, Any]) -> None:
        self.states[component] = state["state"]
        self.written += 1


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def recorder(name: str, reports: Reports) -> telemetry.Telemetry:
    return telemetry.Telemetry(name, report=reports.report, logger=log.get())


def value(sample: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(f"beacon_{sample}", labels)


def outcome(result: model.DeliveryResult, *, status: int = 204, code: str = "", **values: Any) -> model.Outcome:
    return model.Outcome(
        delivery=1, generation=0, attempt=1, result=result, status=status, code=code or str(status), **values
    )


def test_the_endpoint_state_is_unknown_before_the_first_attempt(
    recorder: telemetry.Telemetry, reports: Reports
) -> None:
    assert recorder
    assert reports.states == {"claim": "waiting for the store", "endpoint": "unknown"}


def test_the_first_answer_of_the_store_sets_claiming_and_silence_resets_it(
    recorder: telemetry.Telemetry, reports: Reports
) -> None:
    recorder.claimed(0)
    assert reports.states["claim"] == "claiming"

    recorder.silent()
    assert reports.states["claim"] == "waiting for the store"

    recorder.claimed(3)
    assert reports.states["claim"] == "claiming"


def test_a_delivery_updates_its_metrics(recorder: telemetry.Telemetry, name: str) -> None:
    committed_us = int((time.time() - 2) * 1_000_000)
    delivery = stores.delivery(1, committed_us=committed_us)

    recorder.sent(delivery, outcome(model.DeliveryResult.DELIVERED, duration_s=0.2), failures=0)

    assert value("deliveries_total", endpoint=name, type="created", outcome="delivered") == 1
    assert value("delivery_attempts_total", endpoint=name, code="204") == 1
    assert value("delivery_duration_seconds_sum", endpoint=name) == 0.2
    latency_s = value("delivery_latency_seconds_sum", endpoint=name)
    assert latency_s is not None
    assert 2.0 <= latency_s < 60
    assert value("endpoint_up", endpoint=name) == 1
    assert (value("endpoint_last_success_timestamp_seconds", endpoint=name) or 0) > committed_us / 1_000_000


def test_a_refused_event_leaves_the_endpoint_up(recorder: telemetry.Telemetry, name: str, reports: Reports) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.FAILED, status=404), failures=0)

    assert value("deliveries_total", endpoint=name, type="created", outcome="failed") == 1
    assert value("endpoint_up", endpoint=name) == 1
    assert reports.states["endpoint"] == "up"


def test_a_retry_updates_its_metrics(recorder: telemetry.Telemetry, name: str) -> None:
    before = value("delivery_backoff_seconds_sum") or 0.0

    recorder.sent(
        stores.delivery(1),
        outcome(model.DeliveryResult.RETRY, status=0, code="timeout", delay_s=4.0),
        failures=3,
    )

    assert value("delivery_retries_total", endpoint=name, reason="timeout") == 1
    assert value("delivery_attempts_total", endpoint=name, code="timeout") == 1
    assert value("delivery_backoff_seconds_sum") == before + 4.0
    assert value("endpoint_up", endpoint=name) == 0
    assert value("endpoint_consecutive_failures", endpoint=name) == 3


def test_the_breaker_shows_in_metrics_and_state(recorder: telemetry.Telemetry, name: str, reports: Reports) -> None:
    recorder.opened(5, "timeout")
    assert value("breaker_open", endpoint=name) == 1
    assert value("breaker_openings_total", endpoint=name) == 1
    assert reports.states["endpoint"] == "down"

    recorder.closed()
    assert value("breaker_open", endpoint=name) == 0
    assert reports.states["endpoint"] == "up"


def test_one_failing_event_among_others_does_not_make_the_state_flap(
    recorder: telemetry.Telemetry, reports: Reports
) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0)
    before = reports.written

    for _ in range(50):
        recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.RETRY, status=503), failures=1)
        recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0)

    assert reports.written == before


def test_exhausted_attempts_are_counted_once_as_failed(recorder: telemetry.Telemetry, name: str) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.FAILED, status=500), failures=0)
    recorder.gave_up(model.EventType.CREATED, late=False)
    recorder.gave_up(model.EventType.DELETED, late=True)

    assert value("retries_exhausted_total", endpoint=name) == 2
    assert value("deliveries_total", endpoint=name, type="created", outcome="failed") == 1
    assert value("deliveries_total", endpoint=name, type="deleted", outcome="failed") == 1


def test_busy_threads_and_batches_are_shown(recorder: telemetry.Telemetry) -> None:
    before = value("worker_batch_size_count") or 0.0

    recorder.working(4)
    recorder.claimed(17)
    recorder.claimed(0)

    assert value("worker_busy") == 4
    assert value("worker_batch_size_count") == before + 1


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [codec.decode(line) for line in capfd.readouterr().out.splitlines()]


def test_failed_events_are_logged_once_and_then_counted(
    name: str, reports: Reports, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log.configure("notifier")
    recorder = telemetry.Telemetry(name, report=reports.report, logger=log.get())
    instant = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: instant)

    for number in range(40):
        recorder.sent(stores.delivery(number), outcome(model.DeliveryResult.FAILED, status=401), failures=0)

    (said,) = lines(capfd)
    assert (said["level"], said["event"], said["events"], said["code"]) == ("warning", "events given up", 1, "401")
    assert (said["event_id"], said["name"]) == (stores.delivery(0).event_id, stores.delivery(0).name)
    instant += 61
    recorder.sent(stores.delivery(40), outcome(model.DeliveryResult.FAILED, status=401), failures=0)
    assert [line["events"] for line in lines(capfd)] == [40]


def test_each_event_is_logged_at_debug_with_its_id_and_object(
    name: str, reports: Reports, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("notifier", level="debug")
    recorder = telemetry.Telemetry(name, report=reports.report, logger=log.get())
    delivery = stores.delivery(1)

    recorder.sent(delivery, outcome(model.DeliveryResult.DELIVERED), failures=0)

    (said,) = [line for line in lines(capfd) if line["event"] == "event sent"]
    assert said["level"] == "debug"
    assert (said["event_id"], said["kind"]) == (delivery.event_id, delivery.kind)
    assert (said["namespace"], said["name"]) == (delivery.namespace, delivery.name)


def test_the_breaker_is_reported_even_if_the_endpoint_was_down_before(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[tuple[str, str]] = []

    def report(component: str, state: Mapping[str, Any]) -> None:
        if component == "endpoint":
            said.append((state["state"], state["breaker"]))

    recorder = telemetry.Telemetry(name, report=report, logger=log.get())
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.RETRY, status=0, code="network"), failures=5)
    recorder.opened(5, "network")
    recorder.closed()

    assert said == [("unknown", "closed"), ("down", "closed"), ("down", "open"), ("up", "closed")]
