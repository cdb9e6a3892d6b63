"""The stop flag wakes loops that wait for something else."""

from beacon.runtime import stop_flag


def test_setting_the_flag_wakes_every_loop_after_it_is_set() -> None:
    flag = stop_flag.StopFlag()
    seen: list[bool] = []
    flag.wakes(lambda: seen.append(flag.is_set()))
    flag.wakes(lambda: seen.append(flag.is_set()))

    flag.set()

    assert seen == [True, True]


def test_a_loop_that_comes_after_the_stop_is_woken_at_once() -> None:
    flag = stop_flag.StopFlag()
    flag.set()
    woken: list[str] = []

    flag.wakes(lambda: woken.append("late"))

    assert woken == ["late"]
