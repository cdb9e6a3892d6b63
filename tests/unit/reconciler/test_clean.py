"""The cleaner's loop on a real ledger: its requests, its schedule, and its report."""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from beacon import bus, codec, errors, wire
from beacon.configuration import settings
from beacon.reconciler import clean
from beacon.runtime import log, metrics
from tests.unit.store import test_redelivery as redelivered
from tests.unit.store import world
from tests.unit.store.test_pruning import come_and_go, names

HOUR_S = 3600.0


class Said:
    """What a component reported last."""

    def __init__(self) -> None:
        self.state: dict[str, Mapping[str, object]] = {}

    def __call__(self, component: str, state: Mapping[str, object]) -> None:
        self.state[component] = state


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", updates=True)
    opened.open()
    opened.relist(10)
    come_and_go(opened)
    opened.deliver_all()
    opened.ledger.run(
        "INSERT INTO attempts SELECT id, 0, 0, ?, 0, '503', 503, '', 1, '' FROM deliveries", (opened.clock.us,)
    )
    opened.clock.advance(2 * HOUR_S)
    yield opened
    opened.ledger.close()


def cleaner(store: world.World, said: Any = None, **terms: Any) -> clean.Cleaner:
    retention = settings.Retention(
        **{"retention_period_s": HOUR_S, "attempts_period_s": HOUR_S, "gaps_period_s": HOUR_S} | terms
    )
    return clean.Cleaner(
        retention,
        stop=threading.Event(),
        beat=lambda: None,
        report=said or Said(),
        wall=lambda: store.clock.us / 1_000_000,
    )


def figure(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_it_removes_the_eligible_rows_and_counts_them(store: world.World) -> None:
    before = {table: figure("beacon_clean_rows_total", table=table) for table in ("objects", "events", "gaps")}
    said = Said()

    cleaner(store, said).clean(store.ask)

    after = {table: figure("beacon_clean_rows_total", table=table) for table in before}
    assert {table: after[table] - before[table] for table in before} == {"objects": 1, "events": 2, "gaps": 1}
    assert names(store) == []
    assert said.state["cleaner"]["state"] == "done"


def test_the_result_of_a_check_is_shown_until_the_next_check(store: world.World) -> None:
    one = cleaner(store)

    one.clean(store.ask)
    assert figure("beacon_clean_eligible") == 4
    assert figure("beacon_clean_oldest_eligible_age_seconds") == pytest.approx(2 * HOUR_S)

    one.clean(store.ask)
    assert (figure("beacon_clean_eligible"), figure("beacon_clean_oldest_eligible_age_seconds")) == (0, 0)


def test_old_failed_deliveries_are_discarded_and_logged_once_a_run(
    store: world.World, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("reconciler")
    redelivered.fail(store, "one")
    redelivered.fail(store, "two")
    store.clock.advance(2 * HOUR_S)
    redelivered.fail(store, "three")

    cleaner(store).clean(store.ask)
    cleaner(store, failed_period_s=HOUR_S, enabled=False).clean(store.ask)
    assert redelivered.states(store)[-3:] == ["failed", "failed", "failed"]
    capfd.readouterr()
    cleaner(store, failed_period_s=HOUR_S).clean(store.ask)
    cleaner(store, failed_period_s=HOUR_S).clean(store.ask)

    assert redelivered.states(store)[-3:] == ["discarded", "discarded", "failed"]
    lines = [codec.decode(line) for line in capfd.readouterr().out.splitlines()]
    (logged,) = [line for line in lines if line["event"] == "old failed deliveries discarded"]
    assert (logged["level"], logged["number"], logged["failed_period_s"]) == ("warning", 2, HOUR_S)


def test_a_run_that_fails_midway_logs_the_deliveries_that_it_discarded(
    store: world.World, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("reconciler")
    for number in range(260):
        redelivered.fail(store, str(number))
    store.clock.advance(2 * HOUR_S)
    requests: list[wire.AnyRequest] = []

    def break_off(request: wire.Request[wire.R]) -> wire.R:
        requests.append(request)
        if sum(isinstance(one, wire.DiscardOld) for one in requests) == 2:
            raise errors.TransientError("the store did not answer")
        reply: wire.R = store.ask(request)
        return reply

    cleaner(store, failed_period_s=HOUR_S).clean(break_off)

    lines = [codec.decode(line) for line in capfd.readouterr().out.splitlines()]
    (number,) = [line["number"] for line in lines if line["event"] == "old failed deliveries discarded"]
    assert store.ledger.rows("SELECT count(*) FROM deliveries WHERE state = 'discarded'") == [(number,)]
    assert 0 < number < 260


def test_without_retention_it_only_counts_removable_rows(store: world.World) -> None:
    said = Said()

    cleaner(store, said, enabled=False).clean(store.ask)

    assert names(store) == ["a"]
    assert said.state["cleaner"]["state"] == "off"
    assert figure("beacon_clean_eligible") == 4
    assert figure("beacon_clean_oldest_eligible_age_seconds") == pytest.approx(2 * HOUR_S)


@pytest.mark.parametrize(("period", "table"), [("retention", "objects"), ("attempts", "attempts"), ("gaps", "gaps")])
def test_each_period_holds_for_its_own_rows(store: world.World, period: str, table: str) -> None:
    periods = {
        f"{name}_period_s": HOUR_S if name == period else 9 * HOUR_S for name in ("retention", "attempts", "gaps")
    }

    cleaner(store, **periods).clean(store.ask)

    gone = [name for name in ("objects", "attempts", "gaps") if not store.ledger.rows(f"SELECT * FROM {name}")]
    assert gone == (["objects", "attempts"] if period == "retention" else [table])


def test_a_run_that_fails_is_recorded_and_the_next_one_continues(store: world.World) -> None:
    said = Said()
    one = cleaner(store, said)
    before = figure("beacon_clean_runs_total", result="failed")

    def refuse(_request: wire.Request[wire.R]) -> wire.R:
        raise errors.TransientError("the store did not answer")

    one.clean(refuse)
    failed = said.state["cleaner"]
    one.clean(store.ask)

    assert (failed["state"], failed["done_us"]) == ("failed", 0)
    assert (said.state["cleaner"]["state"], said.state["cleaner"]["done_us"]) == ("done", store.clock.us)
    assert figure("beacon_clean_runs_total", result="failed") - before == 1


def test_another_configuration_ends_it(store: world.World) -> None:
    def change(_request: wire.Request[wire.R]) -> wire.R:
        raise bus.SettingsChanged("the store has started with another configuration")

    with pytest.raises(bus.SettingsChanged):
        cleaner(store).clean(change)


def test_it_rests_as_long_as_an_answer_took(store: world.World) -> None:
    asked: list[float] = []
    answered: list[float] = []

    def slow(request: wire.Request[wire.R]) -> wire.R:
        asked.append(time.monotonic())
        threading.Event().wait(0.02)
        reply: wire.R = store.ask(request)
        answered.append(time.monotonic())
        return reply

    cleaner(store).clean(slow)

    rests = [later - earlier for earlier, later in zip(answered, asked[1:], strict=False)]
    assert len(rests) > 4
    assert min(rests) >= 0.02
