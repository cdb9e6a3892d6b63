"""The heartbeat goes on while one of several endpoints has a stuck thread: a restart would hold up the others."""

from typing import Any

import pytest

from beacon.notifier import __main__ as notifier


class Sender:
    def __init__(self, stuck: bool) -> None:
        self._stuck = stuck

    def is_stuck(self, _now: float) -> bool:
        return self._stuck


@pytest.mark.parametrize(
    ("stuck", "beats"),
    [((False,), True), ((True,), False), ((True, False, True), True), ((True, True), False)],
)
def test_the_process_is_hung_if_every_endpoint_is(stuck: tuple[bool, ...], *, beats: bool) -> None:
    senders: list[Any] = [Sender(one) for one in stuck]
    heard: list[bool] = []

    notifier.beat_unless(lambda: notifier.all_are_stuck(senders), lambda: heard.append(True))

    assert bool(heard) is beats
