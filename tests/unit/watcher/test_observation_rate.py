"""Many observations are read together, few at once."""

from beacon.watcher import observation_rate


def rests(rate: float, *, seconds: float = 2.0) -> list[float]:
    """Send one observation after the other at a rate per second; return how long the loop may rest after each."""
    paced = observation_rate.ObservationRate()
    found = []
    for number in range(int(rate * seconds)):
        paced.read(1, number / rate)
        found.append(paced.rest_s(number / rate))
    return found


def test_at_a_low_rate_nothing_waits() -> None:
    assert set(rests(17)) == {0.0}
    assert set(rests(100)) == {0.0}


def test_under_load_the_observations_of_8_to_10_ms_are_read_together() -> None:
    assert {round(rest, 6) for rest in rests(340)[8:]} == {0.01}
    assert {round(rest, 6) for rest in rests(500)[8:]} == {0.00875}
    assert {round(rest, 6) for rest in rests(1000)[8:]} == {0.008}
    assert {round(rest, 6) for rest in rests(2000)[8:]} == {0.008}


def test_a_rest_ends() -> None:
    paced = observation_rate.ObservationRate()
    paced.read(100, 1.0)
    assert 0 < paced.rest_s(1.001) < paced.rest_s(1.0)
    assert paced.rest_s(1.011) == 0


def test_after_a_burst_a_single_observation_does_not_wait() -> None:
    paced = observation_rate.ObservationRate()
    paced.read(100, 1.0)
    paced.read(1, 1.1)
    assert paced.rest_s(1.1) == 0


def test_requests_without_observations_are_no_load() -> None:
    paced = observation_rate.ObservationRate()
    paced.read(0, 1.0)
    assert paced.rest_s(1.0) == 0
