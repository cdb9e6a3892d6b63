"""A full volume: the intake is refused and held, settling and pruning go on, and nothing is lost. On a real tmpfs."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beacon import model, wire
from beacon.store import room
from tests.unit.store import world
from tests.unit.store.test_pruning import HOUR_S, come_and_go, names, prune

MIB = 1024 * 1024
LIBC = ctypes.CDLL(None, use_errno=True)


class Volume:
    """A small file system of its own, which a test fills and empties."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.filler = path / "filler"

    def fill(self, *, leave: int = 0) -> None:
        """Fill it to the last byte, but for what is to be left."""
        with self.filler.open("ab", buffering=0) as file:
            size = max(self.free() - leave, 0)
            while size > 0 or leave == 0:
                try:
                    size -= file.write(bytes(min(MIB, size) if leave else 4096 if size <= 0 else min(MIB, size)))
                except OSError:
                    break

    def empty(self) -> None:
        self.filler.unlink()

    def free(self) -> int:
        volume = os.statvfs(self.path)
        return volume.f_bavail * volume.f_frsize


@contextmanager
def mounted(path: Path, size: int) -> Iterator[Volume]:
    path.mkdir()
    options = f"size={size}".encode()
    if LIBC.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options) != 0:
        pytest.skip(f"no file system may be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield Volume(path)
    finally:
        assert LIBC.umount2(os.fsencode(path), 2) == 0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with mounted(tmp_path / "volume", 24 * MIB) as made:
        yield made


class Instant:
    """A monotonic clock by which a second passes at every look."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        self.s += 1
        return self.s


def opened(volume: Volume, *, reserve: int = 4 * MIB) -> world.World:
    path = volume.path / "e.db"
    store = world.World(path, updates=True, disk=room.Room(path, reserve_bytes=reserve, monotonic=Instant()))
    store.open()
    store.relist(10)
    return store


def refusal(store: world.World, request: wire.AnyRequest) -> wire.Refusal:
    reply = store.ask(request)
    assert isinstance(reply, wire.Refused), reply
    return reply.code


def test_below_the_reserve_the_intake_is_refused_and_nothing_else(volume: Volume) -> None:
    store = opened(volume)
    come_and_go(store)
    volume.fill(leave=3 * MIB)
    new = store.observation(12, 13, world.seen("b", 13, model.Change.ADDED))

    refused = refusal(store, new)
    told = store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    pruned = prune(store)
    volume.empty()
    store.observe(12, 13, *new.observations)

    assert refused is wire.Refusal.FULL
    assert (len(told), pruned["events"]) == (2, 2)
    assert names(store) == ["b"]
    store.ledger.close()


@pytest.mark.parametrize("reserve", [0, 4 * MIB])
def test_on_a_volume_full_to_the_last_byte_what_was_told_is_settled_and_removed(volume: Volume, reserve: int) -> None:
    store = opened(volume, reserve=reserve)
    position = take_in_until_full(store, volume)
    held = store.ledger.row("SELECT resource_version FROM cursors")
    volume.fill()

    told = store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    prune(store)
    refused = refusal(store, store.observation(position, position + 1, world.seen("late", position + 1)))

    assert held == (position,)
    assert refused is wire.Refusal.FULL
    assert len(told) == position - 10
    assert store.ledger.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)]
    volume.empty()
    store.observe(position, position + 1, world.seen("late", position + 1))
    assert len(store.deliver_all()) == 1
    assert (volume.path / "e.db-ballast").stat().st_size == room.BALLAST_BYTES
    assert store.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    store.ledger.close()


def take_in_until_full(store: world.World, volume: Volume) -> int:
    """Write events while something else fills the volume; gives the last position that was taken."""
    position = 10
    while True:
        seen = [world.seen(f"o{at % 50}", at, value=f"v{at}" * 40) for at in range(position + 1, position + 21)]
        reply = store.ask(store.observation(position, position + 20, *seen))
        if isinstance(reply, wire.Refused):
            assert reply.code is wire.Refusal.FULL
            return position
        assert reply.place is wire.Place.APPLIED
        position += 20
        if position > 200:
            volume.fill(leave=max(volume.free() - 256 * 1024, 1))


def test_a_store_that_starts_on_a_full_volume_settles_what_there_is(volume: Volume) -> None:
    store = opened(volume)
    come_and_go(store)
    store.ledger.close()
    volume.fill()

    store.restart()
    store.claims = 0
    store.open()
    told = store.deliver_all()

    assert len(told) == 2
    assert store.ledger.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)]
    store.ledger.close()


def test_the_ballast_is_given_up_at_need_and_taken_again_when_there_is_room(volume: Volume) -> None:
    path = volume.path / "e.db"
    ballast = volume.path / "e.db-ballast"
    disk = room.Room(path, reserve_bytes=MIB, monotonic=Instant())
    short = [disk.is_short]
    sizes = [ballast.stat().st_blocks * 512]

    volume.fill()
    given = [disk.give_way(), disk.give_way()]
    short.append(disk.is_short)
    volume.empty()
    short.append(disk.is_short)
    sizes.append(ballast.stat().st_blocks * 512)

    assert short == [False, True, False]
    assert given == [True, False]
    assert sizes == [room.BALLAST_BYTES] * 2


def test_the_room_of_the_ballast_is_not_for_new_events(volume: Volume) -> None:
    disk = room.Room(volume.path / "e.db", reserve_bytes=0, monotonic=Instant())
    assert not disk.is_short
    volume.fill()

    disk.give_way()

    assert volume.free() >= room.BALLAST_BYTES
    assert disk.is_short


def test_the_volume_is_asked_ten_times_a_second_at_most_and_after_every_refusal(volume: Volume) -> None:
    now = 0.0
    disk = room.Room(volume.path / "e.db", reserve_bytes=4 * MIB, monotonic=lambda: now)
    seen = [disk.is_short]
    volume.fill(leave=MIB)
    now = 0.09
    seen.append(disk.is_short)
    now = 0.11
    seen.append(disk.is_short)

    assert seen == [False, False, True]
    volume.empty()
    disk.note_full()
    assert disk.is_short
    now = 0.22
    assert not disk.is_short
