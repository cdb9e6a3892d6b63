"""A node fails, and Beacon starts on another one: a second stands for a minute, the API server remembers five."""

from beacon.dev import testkit
from tests.system import load, running

HISTORY_S = 5  # etcd is compacted every five minutes


def test_an_absence_within_the_history_loses_nothing_and_a_longer_one_is_reported_as_a_gap() -> None:
    with running.everything() as whole:
        annotate(whole, "before")
        whole.sink.wait_for(lambda stats: stats.accepted == 1)

        lose_the_node(whole, seconds=4, prefix="short")
        whole.sink.wait_for(lambda stats: stats.distinct == 1 + 2 * 4)
        assert not gaps(whole)
        assert whole.sink.stats().chain_gaps == 0

        lose_the_node(whole, seconds=12, prefix="long")
        testkit.until(lambda: gaps(whole), "the gap", timeout=20)
        annotate(whole, "after")
        testkit.until(lambda: "after" in load.received(whole.sink), "the last event", timeout=20)

        received = load.received(whole.sink)
        assert all(received[f"short{second}"][-1] == "deleted" for second in range(4))
        assert not any(name.startswith("long") for name in received)  # created and deleted within the gap
        (gap,) = gaps(whole)
        assert (gap["reason"], gap["scope"], gap["differences"]) == ("expired", "configmaps", 0)


def lose_the_node(whole: running.Everything, *, seconds: int, prefix: str) -> None:
    """Kill all processes at once, let time pass, in each second of which an object lives, and start again."""
    whole.beacon.halt()
    for second in range(seconds):
        annotate(whole, f"{prefix}{second}")
        whole.cluster.delete("configmaps", f"{prefix}{second}")
        whole.cluster.faults.age(1, history_s=HISTORY_S)
    whole.beacon.start()
    whole.beacon.wait_ready()


def annotate(whole: running.Everything, name: str) -> None:
    whole.cluster.create(
        "configmaps", {"metadata": {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: "gold"}}}
    )


def gaps(whole: running.Everything) -> list[dict[str, object]]:
    return [gap for gap in whole.beacon.logged("gap closed") if gap["reason"] != "first-list"]
