"""What the exporter learns from supervisord beside its programs."""

from concurrent.futures import Future
from pathlib import Path

from beacon import errors
from beacon.exporter import asker, view
from beacon.runtime import metrics


def test_the_lines_that_supervisord_dropped_are_counted_once_and_a_new_supervisord_begins_at_0(tmp_path: Path) -> None:
    answers: list[int | None] = [5, 5, None, 9, 2]

    def count(_: Path) -> int:
        answer = answers.pop(0)
        if answer is None:
            raise errors.TransientError("supervisord does not answer")
        return answer

    def ask() -> "Future[asker.Answer]":
        future: Future[asker.Answer] = Future()
        future.set_result(asker.Answer(state="silent"))
        return future

    counter = metrics.LOG_LINES_DROPPED.labels(process="supervisord")
    before = counter._value.get()
    viewer = view.Viewer(tmp_path, ask, supervised=True, list_programs=lambda _: (), count_dropped=count)
    counted = []
    for _ in range(5):
        viewer.look()
        counted.append(counter._value.get() - before)

    assert counted == [5, 5, 5, 9, 11]
