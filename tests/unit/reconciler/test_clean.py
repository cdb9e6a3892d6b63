"""The cleaner's loop on a real ledger: its requests, its schedule, and its report."""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.reconciler import clean
from beacon.runtime import metrics
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


def test_it_removes_what_may_go_and_counts_it(store: world.World) -> None:
    before = {table: figure("beacon_clean_rows_total", table=table) for table in ("objects", "events", "gaps")}
    said = Said()

    cleaner(store, said).clean(store.ask)

    after = {table: figure("beacon_clean_rows_total", table=table) for table in before}
    assert {table: after[table] - before[table] for table in before} == {"objects": 1, "events": 2, "gaps": 1}
    assert names(store) == []
    assert said.state["cleaner"]["state"] == "done"


def test_what_a_look_found_is_shown_until_the_next_look(store: world.World) -> None:
    one = cleaner(store)

    one.clean(store.ask)
    assert figure("beacon_clean_eligible") == 4
    assert figure("beacon_clean_oldest_eligible_age_seconds") == pytest.approx(2 * HOUR_S)

    one.clean(store.ask)
    assert (figure("beacon_clean_eligible"), figure("beacon_clean_oldest_eligible_age_seconds")) == (0, 0)


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


def test_a_run_that_fails_is_recorded_and_the_next_one_goes_on(store: world.World) -> None:
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
