import threading
import time
from collections.abc import Callable, Iterator

import pytest

from beacon.notifier import claim_session, worker_pool
from tests.unit.notifier import running, stores


def jobs(count: int) -> list[claim_session.LeasedDelivery]:
    return [claim_session.LeasedDelivery(delivery=stores.delivery(key), ledger="l") for key in range(1, count + 1)]


class Gate:
    """A job that blocks until the gate is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[int] = []
        self.done: list[int] = []
        self.low = 0

    def pass_through(self, job: claim_session.LeasedDelivery) -> None:
        self.begun.append(job.delivery.id)
        self.open.wait(300)
        self.done.append(job.delivery.id)

    def on_low_water(self) -> None:
        self.low += 1


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


def pool_of(
    width: int, perform: Callable[[claim_session.LeasedDelivery], None], gate: Gate, *, low: int = 0
) -> worker_pool.WorkerPool:
    def start(_: str, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    return worker_pool.WorkerPool(width, perform, start=start, on_low_water=gate.on_low_water, low_water=low)


def test_all_threads_run_while_the_request_duration_is_unknown(gate: Gate) -> None:
    made = pool_of(8, gate.pass_through, gate)

    made.submit(jobs(20))

    running.wait_for(lambda: len(gate.begun) == 8)
    assert made.busy == 8
    assert made.queued == 12


def test_no_more_threads_than_jobs_are_started(gate: Gate) -> None:
    made = pool_of(8, gate.pass_through, gate)

    made.submit(jobs(2))

    running.wait_for(lambda: len(gate.begun) == 2)
    assert made.busy == 2


def test_jobs_are_started_in_order_and_all_are_run(gate: Gate) -> None:
    gate.open.set()
    made = pool_of(1, gate.pass_through, gate)

    made.submit(jobs(100))

    running.wait_for(lambda: len(gate.done) == 100)
    assert gate.begun == list(range(1, 101))
    running.wait_for(lambda: made.busy == 0)


def test_one_thread_suffices_for_jobs_that_only_compute(gate: Gate) -> None:
    most: list[int] = []

    def compute(job: claim_session.LeasedDelivery) -> None:
        until = time.thread_time() + 0.0005
        while time.thread_time() < until:
            pass
        most.append(made.busy)
        gate.done.append(job.delivery.id)

    made = pool_of(16, compute, gate)
    made.submit(jobs(300))
    running.wait_for(lambda: len(gate.done) == 300)

    assert max(most[-50:]) <= 4


def test_the_pool_grows_when_no_job_finishes(gate: Gate) -> None:
    made = pool_of(16, gate.pass_through, gate)
    gate.open.set()
    for _ in range(100):
        made.submit(jobs(1))
        running.wait_for(lambda: made.busy == 0)
    gate.open.clear()
    gate.begun.clear()

    made.submit(jobs(16))

    def all_begun() -> bool:
        made.scale_up()
        return len(gate.begun) == 16

    running.wait_for(all_begun)


def test_on_low_water_is_called_when_the_queue_reaches_it(gate: Gate) -> None:
    made = pool_of(1, gate.pass_through, gate, low=2)

    made.submit(jobs(4))
    running.wait_for(lambda: made.queued == 3)
    assert gate.low == 0

    gate.open.set()
    running.wait_for(lambda: len(gate.done) == 4)
    assert gate.low == 1


def test_queued_jobs_can_be_withdrawn(gate: Gate) -> None:
    made = pool_of(1, gate.pass_through, gate)
    made.submit(jobs(5))
    running.wait_for(lambda: len(gate.begun) == 1)

    withdrawn = made.withdraw()

    assert [job.delivery.id for job in withdrawn] == [2, 3, 4, 5]
    assert made.queued == 0


def test_no_job_starts_while_the_pool_is_paused_and_all_do_afterwards(gate: Gate) -> None:
    made = pool_of(2, gate.pass_through, gate)
    made.submit(jobs(6))
    running.wait_for(lambda: len(gate.begun) == 2)

    made.pause(paused=True)
    gate.open.set()
    running.wait_for(lambda: made.busy == 0)
    made.scale_up()
    assert gate.begun == [1, 2]
    assert not made.waiting

    made.pause(paused=False)
    running.wait_for(lambda: len(gate.done) == 6)
