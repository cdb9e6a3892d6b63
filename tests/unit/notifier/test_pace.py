from beacon.notifier import pace


def test_what_is_rare_never_waits() -> None:
    state = pace.Pace(burst=1, every_s=0.5)

    for now in (10.0, 10.5, 11.0, 20.0):
        assert state.wait_s(now) == 0
        state.take(now)


def test_a_burst_passes_and_what_follows_waits_its_turn() -> None:
    state = pace.Pace(burst=3, every_s=0.5)

    for _ in range(3):
        assert state.wait_s(10.0) == 0
        state.take(10.0)

    assert state.wait_s(10.0) == 0.5
    assert state.wait_s(10.5) == 0


def test_a_pause_allows_no_more_than_one_burst() -> None:
    state = pace.Pace(burst=2, every_s=0.5)
    state.take(10.0)

    state.take(1000.0)
    state.take(1000.0)

    assert state.wait_s(1000.0) == 0.5
