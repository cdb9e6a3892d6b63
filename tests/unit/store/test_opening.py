"""The store before it serves: `ping` has the activity with its progress, and the log a line every few seconds."""

import itertools

from beacon.store.server import daemon


def test_the_progress_of_a_long_activity_is_shown_and_logged_every_few_seconds() -> None:
    seconds = itertools.count(0.0, 0.5)
    logged: list[tuple[str, float]] = []
    opening = daemon.Opening(
        "opening the ledger",
        settings={},
        digest="",
        listener=lambda *done: logged.append(done),
        clock=lambda: next(seconds),
    )
    since = []

    for done in range(101):
        opening.report("checking the ledger", done / 100)
        since.append(opening._pong.since_us)

    assert opening._pong.state == "checking the ledger, 100% done"
    assert len(set(since)) == 1  # the activity is one, whatever its progress
    assert 3 < len(logged) < 20
    assert logged == sorted(logged)
    assert {doing for doing, _ in logged} == {"checking the ledger"}


def test_a_short_activity_is_not_logged() -> None:
    logged: list[tuple[str, float]] = []
    opening = daemon.Opening("opening the ledger", settings={}, digest="", listener=lambda *done: logged.append(done))

    opening.report("checking the ledger", 0.0)

    assert logged == []
    assert opening._pong.state == "checking the ledger"
