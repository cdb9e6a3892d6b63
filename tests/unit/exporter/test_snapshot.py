"""The data that the exporter reads from supervisord in addition to its programs."""

from concurrent.futures import Future
from pathlib import Path

from beacon import errors
from beacon.exporter import snapshot, store_poller
from beacon.runtime import metrics


def test_the_lines_that_supervisord_dropped_are_counted_once_and_a_new_supervisord_begins_at_0(tmp_path: Path) -> None:
    answers: list[int | None] = [5, 5, None, 9, 2]

    def count(_: Path) -> int:
        answer = answers.pop(0)
        if answer is None:
            raise errors.TransientError("supervisord does not answer")
        return answer

    def ask() -> "Future[store_poller.StoreAnswer]":
        future: Future[store_poller.StoreAnswer] = Future()
        future.set_result(store_poller.StoreAnswer(state="silent"))
        return future

    counter = metrics.LOG_LINES_DROPPED.labels(process="supervisord")
    before = counter._value.get()
    viewer = snapshot.SnapshotReader(tmp_path, ask, supervised=True, list_programs=lambda _: (), count_dropped=count)
    counted = []
    for _ in range(5):
        viewer.read()
        counted.append(counter._value.get() - before)

    assert counted == [5, 5, 5, 9, 11]
