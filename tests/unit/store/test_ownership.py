"""Two stores whose locks are both granted, as on a network file system without locks: the owner file decides."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from beacon import errors
from beacon.store.server import ownership


class Node:
    """A store on a node of its own; `during` runs while it waits, once a poll."""

    def __init__(self, data: Path, name: str, *, boot: str = "") -> None:
        self.now = 0.0
        self.slept = 0.0
        self.waited_for: list[str] = []
        self.doing: list[str] = []
        self.during: Callable[[], object] = lambda: None
        self.stopped = False
        run_dir = data.parent / name
        run_dir.mkdir(exist_ok=True)
        self.owner = ownership.Ownership(
            data,
            run_dir,
            host=name,
            boot=boot or f"boot-of-{name}",
            waits=self.waited_for.append,
            sleep=self.sleep,
            clock=lambda: self.now,
        )

    def acquire(self) -> None:
        self.owner.acquire(lambda doing, _: self.doing.append(doing))

    def sleep(self, seconds: float) -> bool:
        self.slept += seconds
        self.during()
        return self.stopped

    def live(self) -> None:
        """Run for longer than a renewal takes."""
        self.now += 3
        self.owner.confirm()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def first(data: Path) -> Node:
    node = Node(data, "pod-1")
    node.acquire()
    return node


def test_an_empty_directory_is_acquired_at_once(first: Node, data: Path) -> None:
    assert (first.slept, first.waited_for) == (0, [])
    assert b" pod-1 " in (data / ownership.FILE).read_bytes()


def test_a_second_store_is_refused_in_one_sentence_while_the_first_one_lives(first: Node, data: Path) -> None:
    second = Node(data, "pod-2")
    second.during = first.live

    with pytest.raises(errors.StartError, match=r"^another Beacon \(pod-1\) uses .*data: run one replica$") as refused:
        second.acquire()

    assert refused.value.exit_code == errors.EXIT_TEMPORARY
    first.live()
    assert second.waited_for == ["pod-1"]


def test_where_the_lock_is_shared_a_dead_owner_costs_no_wait(data: Path) -> None:
    Node(data, "pod-1", boot="a").acquire()
    same, other = Node(data, "pod-2", boot="a"), Node(data, "pod-3", boot="b")

    same.acquire()
    other.acquire()

    assert (same.slept, same.waited_for) == (0, [])
    assert (other.slept, other.waited_for) == (ownership.LONGEST_WAIT_S, ["pod-2"])


def test_two_stores_whose_kernels_are_unknown_do_not_share_a_lock(data: Path) -> None:
    Node(data, "pod-1", boot="?").acquire()
    second = Node(data, "pod-2", boot="?")

    second.acquire()

    assert second.slept == ownership.LONGEST_WAIT_S


def test_another_mount_of_the_volume_has_locks_of_its_own(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Node(data, "pod-1", boot="a").acquire()
    second = Node(data, "pod-2", boot="a")
    monkeypatch.setattr(second.owner, "_mount", "a.1")

    second.acquire()

    assert second.slept == ownership.LONGEST_WAIT_S


def test_the_wait_for_a_dead_owner_is_bounded_and_reported_once(first: Node, data: Path) -> None:
    second = Node(data, "pod-2")

    second.acquire()

    assert second.slept == ownership.LONGEST_WAIT_S <= 30
    assert second.waited_for == ["pod-1"]
    assert second.doing == ["waiting for the previous owner of the ledger, pod-1", "opening the ledger"]
    second.live()


def test_an_owner_that_stood_still_writes_nothing_after_another_took_over(first: Node, data: Path) -> None:
    second = Node(data, "pod-2")
    second.acquire()

    with pytest.raises(ownership.LostError, match=r"^another Beacon \(pod-2\) has taken over the database directory"):
        first.live()

    first.owner.release()
    assert b" pod-2 " in (data / ownership.FILE).read_bytes()
    second.live()


def test_a_store_that_is_restarted_in_its_pod_continues_at_once(first: Node, data: Path) -> None:
    again = Node(data, "pod-1")

    again.acquire()

    assert again.slept == 0
    again.live()


def test_a_store_restarted_in_its_pod_notices_before_its_first_transaction_that_another_took_over(
    first: Node, data: Path
) -> None:
    again, second = Node(data, "pod-1"), Node(data, "pod-2")
    again.acquire()
    second.owner._write()  # between its last poll and this write, the other store was restarted

    with pytest.raises(ownership.LostError):
        again.owner.confirm()


def test_a_clean_shutdown_releases_it(first: Node, data: Path) -> None:
    first.owner.release()
    second = Node(data, "pod-2")

    second.acquire()

    assert second.slept == 0


def test_a_store_waits_no_longer_when_the_other_one_stops_cleanly(first: Node, data: Path) -> None:
    second = Node(data, "pod-2")
    second.during = first.owner.release

    second.acquire()

    assert second.slept < 1


def test_of_two_stores_that_take_over_at_the_same_time_one_is_refused(first: Node, data: Path) -> None:
    second, third = Node(data, "pod-2"), Node(data, "pod-3")

    def race() -> None:
        if second.slept == ownership.LONGEST_WAIT_S:  # it has written, and waits for others
            third.owner._write()

    second.during = race

    with pytest.raises(errors.StartError, match=r"another Beacon \(pod-3\) uses"):
        second.acquire()


def test_of_two_stores_that_find_no_file_one_creates_it(data: Path) -> None:
    one, other = Node(data, "pod-1"), Node(data, "pod-2")

    assert (one.owner._create(), other.owner._create()) == (True, False)


def test_the_wait_ends_when_the_process_is_asked_to_stop(first: Node, data: Path) -> None:
    second = Node(data, "pod-2")
    second.stopped = True

    with pytest.raises(errors.Stopping):
        second.acquire()


def test_a_file_that_was_removed_by_hand_is_created_again(first: Node, data: Path) -> None:
    (data / ownership.FILE).unlink()

    first.live()

    assert (data / ownership.FILE).exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"one-word", b"\x1b[2J " * 3])
def test_a_file_with_any_content_delays_the_start_and_no_more(data: Path, content: bytes) -> None:
    (data / ownership.FILE).write_bytes(content)
    store = Node(data, "pod-1")

    store.acquire()

    assert store.waited_for[0] in {"unknown", "x"}
    store.live()


def test_a_file_that_cannot_be_read_is_named(data: Path) -> None:
    (data / ownership.FILE).mkdir()

    with pytest.raises(errors.StartError, match=r"beacon\.owner is not usable: Is a directory") as refused:
        Node(data, "pod-1").acquire()

    assert refused.value.exit_code == errors.EXIT_CANNOT_CREATE


def test_a_full_volume_does_not_stop_the_owner(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Node(data, "pod-1")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)

    store.acquire()
    store.live()

    assert not (data / ownership.FILE).exists()
