import time
from collections.abc import Callable, Mapping
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
        self.latest: dict[str, Mapping[str, Any]] = {}
        self.written = 0

    def report(self, component: str, state: Mapping[str, Any]) -> None:
        self.states[component] = state["state"]
        self.latest[component] = state
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

    recorder.sent(delivery, outcome(model.DeliveryResult.DELIVERED, duration_s=0.2), failures=0, alive=False)
    recorder.working(0)
    recorder.working(0)

    assert value("deliveries_total", endpoint=name, type="created", outcome="delivered") == 1
    assert value("delivery_attempts_total", endpoint=name, code="204") == 1
    assert value("delivery_duration_seconds_sum", endpoint=name) == 0.2
    latency_s = value("delivery_latency_seconds_sum", endpoint=name)
    assert latency_s is not None
    assert 2.0 <= latency_s < 60
    assert value("endpoint_up", endpoint=name) == 1
    assert (value("endpoint_last_success_timestamp_seconds", endpoint=name) or 0) > committed_us / 1_000_000


def test_a_refused_event_leaves_the_endpoint_up(recorder: telemetry.Telemetry, name: str, reports: Reports) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.FAILED, status=404), failures=0, alive=False)
    recorder.working(0)

    assert value("deliveries_total", endpoint=name, type="created", outcome="failed") == 1
    assert value("endpoint_up", endpoint=name) == 1
    assert reports.states["endpoint"] == "up"


def test_a_retry_updates_its_metrics(recorder: telemetry.Telemetry, name: str) -> None:
    recorder.sent(
        stores.delivery(1),
        outcome(model.DeliveryResult.RETRY, status=0, code="timeout", delay_s=4.0),
        failures=3,
        alive=False,
    )
    recorder.working(0)

    assert value("delivery_retries_total", endpoint=name, reason="timeout") == 1
    assert value("delivery_attempts_total", endpoint=name, code="timeout") == 1
    assert value("delivery_backoff_seconds_sum", endpoint=name) == 4
    assert value("endpoint_up", endpoint=name) == 0
    assert value("endpoint_consecutive_failures", endpoint=name) == 3


@pytest.mark.parametrize(
    "end", [telemetry.Telemetry.finish, lambda recorder: recorder.broken(RuntimeError("of the test"), pause_s=1.0)]
)
def test_a_delivery_is_in_the_metrics_when_no_round_follows(
    recorder: telemetry.Telemetry, name: str, end: Callable[[telemetry.Telemetry], None]
) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0, alive=False)

    end(recorder)

    assert value("deliveries_total", endpoint=name, type="created", outcome="delivered") == 1
    assert value("delivery_duration_seconds_count", endpoint=name) == 1


def test_the_breaker_shows_in_metrics_and_state(recorder: telemetry.Telemetry, name: str, reports: Reports) -> None:
    recorder.opened(5, "timeout")
    assert value("breaker_open", endpoint=name) == 1
    assert value("breaker_openings_total", endpoint=name) == 1
    assert reports.states["endpoint"] == "down"

    recorder.closed()
    assert value("breaker_open", endpoint=name) == 0
    assert reports.states["endpoint"] == "up"


def test_an_error_after_which_the_endpoint_starts_over_shows_in_metrics_and_state(
    recorder: telemetry.Telemetry, name: str, reports: Reports
) -> None:
    recorder.opened(5, "timeout")

    recorder.broken(RuntimeError("of the test"), pause_s=1.0)
    recorder.silent()

    assert value("delivery_attempts_total", endpoint=name, code="internal") == 1
    assert value("breaker_open", endpoint=name) == 0
    assert reports.states["endpoint"] == "faulty"
    assert reports.states["claim"] == "paused after an unexpected error, see the log"
    recorder.claimed(0)
    assert reports.states == {"claim": "claiming", "endpoint": "unknown"}


def test_one_failing_event_among_others_does_not_make_the_state_flap(
    recorder: telemetry.Telemetry, reports: Reports
) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0, alive=False)
    before = reports.written

    for _ in range(50):
        recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.RETRY, status=503), failures=1, alive=False)
        recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0, alive=False)

    assert reports.written == before


def test_exhausted_attempts_are_counted_once_as_failed(recorder: telemetry.Telemetry, name: str) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.FAILED, status=500), failures=0, alive=False)
    recorder.gave_up(model.EventType.CREATED, late=False)
    recorder.gave_up(model.EventType.DELETED, late=True)
    recorder.working(0)

    assert value("retries_exhausted_total", endpoint=name) == 2
    assert value("deliveries_total", endpoint=name, type="created", outcome="failed") == 1
    assert value("deliveries_total", endpoint=name, type="deleted", outcome="failed") == 1


def test_batches_are_counted(recorder: telemetry.Telemetry, name: str) -> None:
    recorder.claimed(17)
    recorder.claimed(0)

    assert value("worker_batch_size_count", endpoint=name) == 1


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [codec.decode(line) for line in capfd.readouterr().out.splitlines()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    instant = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: instant[0])
    return instant


def test_while_requests_are_under_way_the_metrics_follow_every_50_ms(
    clock: list[float], recorder: telemetry.Telemetry, name: str
) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0, alive=False)
    recorder.working(4)
    assert value("worker_busy", endpoint=name) == 0
    assert not value("delivery_duration_seconds_count", endpoint=name)

    clock[0] += 0.051
    recorder.working(4)
    assert value("worker_busy", endpoint=name) == 4
    assert value("delivery_duration_seconds_count", endpoint=name) == 1


def test_when_the_last_request_has_ended_the_metrics_follow_at_once(
    clock: list[float], recorder: telemetry.Telemetry, name: str
) -> None:
    clock[0] += 0.051
    recorder.working(1)
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0, alive=False)
    recorder.working(0)

    assert value("worker_busy", endpoint=name) == 0
    assert value("delivery_duration_seconds_count", endpoint=name) == 1


@pytest.fixture
def logging(name: str, reports: Reports, clock: list[float]) -> telemetry.Telemetry:
    assert clock
    log.configure("notifier")
    return telemetry.Telemetry(name, report=reports.report, logger=log.get())


def refuse(recorder: telemetry.Telemetry, *numbers: int, status: int = 401) -> None:
    for number in numbers:
        recorder.sent(
            stores.delivery(number), outcome(model.DeliveryResult.FAILED, status=status), failures=0, alive=False
        )


def accept(recorder: telemetry.Telemetry) -> None:
    recorder.sent(stores.delivery(1), outcome(model.DeliveryResult.DELIVERED), failures=0, alive=False)


def test_a_loss_is_logged_once_at_its_begin_and_with_its_number_at_its_end(
    logging: telemetry.Telemetry, clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    accept(logging)
    refuse(logging, *range(40))
    logging.working(0)
    (first,) = lines(capfd)
    clock[0] += 7
    accept(logging)
    accept(logging)
    logging.finish()
    (last,) = lines(capfd)

    assert (first["level"], first["event"], first["events"], first["code"]) == (
        "warning",
        "endpoint refuses events",
        1,
        "401",
    )
    assert (first["event_id"], first["name"]) == (stores.delivery(0).event_id, stores.delivery(0).name)
    assert (last["level"], last["event"], last["events"], last["seconds"]) == (
        "info",
        "endpoint accepts events again",
        40,
        7.0,
    )


def test_a_lasting_loss_is_summed_up_once_a_minute_although_nothing_is_sent_any_more(
    logging: telemetry.Telemetry, clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    refuse(logging, *range(40))
    refuse(logging, 40, 41, status=403)
    clock[0] += 59
    logging.working(0)
    assert [line["events"] for line in lines(capfd)] == [1]
    clock[0] += 2
    logging.working(0)
    logging.working(0)

    (line,) = lines(capfd)
    assert (line["event"], line["events"], line["codes"]) == ("events given up", 41, {"401": 39, "403": 2})


def test_what_a_parked_endpoint_gets_later_is_not_given_up(
    logging: telemetry.Telemetry, clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    refuse(logging, *range(5))
    refuse(logging, 5, status=422)
    logging.parked("unauthorized", {401, 403})
    clock[0] += 61
    logging.working(0)

    _, aside, given_up = [(line["event"], line["events"]) for line in lines(capfd)]
    assert (aside, given_up) == (("events set aside", 4), ("events given up", 1))


def test_an_endpoint_that_refuses_some_events_and_accepts_others_does_not_fill_the_log(
    logging: telemetry.Telemetry, clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(100):
        refuse(logging, number, status=400)
        accept(logging)
        clock[0] += 1.2
        logging.working(0)
    logging.finish()

    written = lines(capfd)
    assert len(written) <= 8
    assert sum(line["events"] for line in written if line["event"] != "endpoint accepts events again") == 100


def test_events_without_an_attempt_left_are_counted_and_are_no_refusal(
    logging: telemetry.Telemetry, clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    refuse(logging, 1, 2, 3, status=503)
    clock[0] += 61
    logging.working(0)
    accept(logging)

    assert [(line["event"], line["events"], line["codes"]) for line in lines(capfd)] == [
        ("events given up", 1, {"503": 1}),
        ("events given up", 2, {"503": 2}),
    ]


def test_the_number_is_logged_when_the_notifier_ends(
    logging: telemetry.Telemetry, capfd: pytest.CaptureFixture[str]
) -> None:
    refuse(logging, *range(5))
    logging.finish()

    assert [line["events"] for line in lines(capfd)] == [1, 4]


def test_each_event_is_logged_at_debug_with_its_id_and_object(
    name: str, reports: Reports, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("notifier", level="debug")
    recorder = telemetry.Telemetry(name, report=reports.report, logger=log.get())
    delivery = stores.delivery(1)

    recorder.sent(delivery, outcome(model.DeliveryResult.DELIVERED), failures=0, alive=False)

    (said,) = [line for line in lines(capfd) if line["event"] == "event sent"]
    assert said["level"] == "debug"
    assert (said["event_id"], said["kind"]) == (delivery.event_id, delivery.kind)
    assert (said["namespace"], said["name"]) == (delivery.namespace, delivery.name)


def test_an_endpoint_that_answers_others_is_up(name: str) -> None:
    said: list[str] = []

    def report(component: str, state: Mapping[str, Any]) -> None:
        if component == "endpoint":
            said.append(state["state"])

    recorder = telemetry.Telemetry(name, report=report, logger=log.get())
    refused = outcome(model.DeliveryResult.RETRY, status=503, code="503")
    recorder.sent(stores.delivery(1), refused, failures=9, alive=True)
    assert (said[-1], value("endpoint_up", endpoint=name)) == ("up", 1)

    recorder.sent(stores.delivery(1), refused, failures=10, alive=False)
    assert (said[-1], value("endpoint_up", endpoint=name)) == ("down", 0)


def test_the_breaker_is_reported_even_if_the_endpoint_was_down_before(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[tuple[str, str]] = []

    def report(component: str, state: Mapping[str, Any]) -> None:
        if component == "endpoint":
            said.append((state["state"], state["breaker"]))

    recorder = telemetry.Telemetry(name, report=report, logger=log.get())
    recorder.sent(
        stores.delivery(1), outcome(model.DeliveryResult.RETRY, status=0, code="network"), failures=5, alive=False
    )
    recorder.opened(5, "network")
    recorder.closed()

    assert said == [("unknown", "closed"), ("down", "closed"), ("down", "open"), ("up", "closed")]


def test_the_end_of_a_token_is_reported_and_one_without_end_is_not(
    recorder: telemetry.Telemetry, reports: Reports
) -> None:
    recorder.token_fetched(3600.0)
    assert "token_expires" in reports.latest["endpoint"]
    assert reports.latest["endpoint"]["state"] == "unknown"

    for endless in (float("inf"), 1e300):
        recorder.token_fetched(endless)
        assert "token_expires" not in reports.latest["endpoint"]
