"""A full volume: the intake is refused and held, settling and pruning go on, and nothing is lost. On a real tmpfs."""

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.server import disk_guard
from tests.unit import volumes
from tests.unit.store import world
from tests.unit.store.test_pruning import HOUR_S, come_and_go, names, prune

MIB = volumes.MIB


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[volumes.Volume]:
    with volumes.mounted(tmp_path / "volume", 24 * MIB) as made:
        yield made


class Instant:
    """A monotonic clock by which a second passes at every look."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        self.s += 1
        return self.s


def opened(volume: volumes.Volume, *, reserve: int = 4 * MIB) -> world.World:
    path = volume.path / "e.db"
    store = world.World(path, updates=True, disk=disk_guard.DiskGuard(path, reserve_bytes=reserve, monotonic=Instant()))
    store.open()
    store.relist(10)
    return store


def refusal(store: world.World, request: wire.AnyRequest) -> wire.Refusal:
    reply = store.ask(request)
    assert isinstance(reply, wire.Refused), reply
    return reply.code


def test_below_the_reserve_the_intake_is_refused_and_nothing_else(volume: volumes.Volume) -> None:
    store = opened(volume)
    come_and_go(store)
    volume.fill(leave=3 * MIB)
    new = store.observation(12, 13, world.seen("b", 13, model.ChangeKind.ADDED))

    refused = refusal(store, new)
    emitted = store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    pruned = prune(store)
    volume.empty()
    store.observe(12, 13, *new.observations)

    assert refused is wire.Refusal.FULL
    assert (len(emitted), pruned["events"]) == (2, 2)
    assert names(store) == ["b"]
    store.ledger.close()


@pytest.mark.parametrize("reserve", [0, 4 * MIB])
def test_on_a_completely_full_volume_deliveries_are_still_settled_and_pruned(
    volume: volumes.Volume, reserve: int
) -> None:
    store = opened(volume, reserve=reserve)
    position = take_in_until_full(store, volume)
    held = store.ledger.row("SELECT resource_version FROM cursors")
    volume.fill()

    emitted = store.deliver_all()
    store.clock.advance(HOUR_S + 1)
    prune(store)
    refused = refusal(store, store.observation(position, position + 1, world.seen("late", position + 1)))

    assert held == (position,)
    assert refused is wire.Refusal.FULL
    assert len(emitted) == position - 10
    assert store.ledger.rows("SELECT DISTINCT state FROM readable_deliveries") == [("delivered",)]
    volume.empty()
    store.observe(position, position + 1, world.seen("late", position + 1))
    assert len(store.deliver_all()) == 1
    assert (volume.path / "e.db-ballast").stat().st_size == disk_guard.BALLAST_BYTES
    assert store.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    store.ledger.close()


def take_in_until_full(store: world.World, volume: volumes.Volume) -> int:
    """Write events while something else fills the volume; gives the last position that was taken."""
    position = 10
    while True:
        seen = [world.seen(f"o{at % 50}", at, value=f"v{at}" * 40) for at in range(position + 1, position + 21)]
        reply = store.ask(store.observation(position, position + 20, *seen))
        if isinstance(reply, wire.Refused):
            assert reply.code is wire.Refusal.FULL
            return position
        assert reply.place is wire.ApplyResult.APPLIED
        position += 20
        if position > 200:
            volume.fill(leave=max(volume.free() - 256 * 1024, 1))


def test_a_store_that_starts_on_a_full_volume_settles_what_there_is(volume: volumes.Volume) -> None:
    store = opened(volume)
    come_and_go(store)
    store.ledger.close()
    volume.fill()

    store.restart()
    store.claims = 0
    store.open()
    emitted = store.deliver_all()

    assert len(emitted) == 2
    assert store.ledger.rows("SELECT DISTINCT state FROM readable_deliveries") == [("delivered",)]
    store.ledger.close()


def test_the_ballast_is_released_when_needed_and_recreated_when_there_is_free_space(volume: volumes.Volume) -> None:
    path = volume.path / "e.db"
    ballast = volume.path / "e.db-ballast"
    disk = disk_guard.DiskGuard(path, reserve_bytes=MIB, monotonic=Instant())
    short = [disk.is_short]
    sizes = [ballast.stat().st_blocks * 512]

    volume.fill()
    given = [disk.release_ballast(), disk.release_ballast()]
    short.append(disk.is_short)
    volume.empty()
    short.append(disk.is_short)
    sizes.append(ballast.stat().st_blocks * 512)

    assert short == [False, True, False]
    assert given == [True, False]
    assert sizes == [disk_guard.BALLAST_BYTES] * 2


def test_the_room_of_the_ballast_is_not_for_new_events(volume: volumes.Volume) -> None:
    disk = disk_guard.DiskGuard(volume.path / "e.db", reserve_bytes=0, monotonic=Instant())
    assert not disk.is_short
    volume.fill()

    disk.release_ballast()

    assert volume.free() >= disk_guard.BALLAST_BYTES
    assert disk.is_short


def test_the_volume_is_asked_ten_times_a_second_at_most_and_after_every_refusal(volume: volumes.Volume) -> None:
    now = 0.0
    disk = disk_guard.DiskGuard(volume.path / "e.db", reserve_bytes=4 * MIB, monotonic=lambda: now)
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


class Quota(apsw.VFS):
    """A volume that refuses to grow: `free` bytes more may be written, whatever statvfs shows.

    `code` is what the system says: SQLite takes ENOSPC for a full volume, and every other for an I/O error.
    """

    names = itertools.count()

    def __init__(self, code: int) -> None:
        self.name = f"quota-{next(self.names)}"
        self.code = code
        self.free: int | None = None
        self.at: tuple[str, ...] = ("write", "sync")
        self.refused = 0
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's name
        return _Counted(self, name, flags)

    def xGetLastError(self) -> tuple[int, str]:  # noqa: N802  SQLite's name
        return self.code, os.strerror(self.code)

    def spend(self, what: str, count: int) -> None:
        if self.free is None or what not in self.at:
            return
        if count > self.free or what == "sync":
            self.refused += 1
            raise apsw.FullError("as the test wants") if self.code == errno.ENOSPC else apsw.IOError("as it wants")
        self.free -= count


class _Counted(apsw.VFSFile):
    def __init__(self, volume: Quota, name: Any, flags: list[int]) -> None:
        self._volume = volume
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's name
        self._volume.spend("write", max(0, offset + len(data) - super().xFileSize()))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        self._volume.spend("sync", 0)
        super().xSync(flags)


def roomy(_: Path) -> os.statvfs_result:
    """Show a volume with room for everything, as one does on which a quota is reached."""
    return os.statvfs_result((4096, 4096, 10**9, 10**9, 10**9, 10**6, 10**6, 10**6, 0, 255))


@contextmanager
def limited(directory: Path, code: int) -> Iterator[tuple[world.World, Quota]]:
    volume = Quota(code)
    path = directory / "e.db"
    disk = disk_guard.DiskGuard(path, reserve_bytes=0, monotonic=Instant(), statvfs=roomy)
    store = world.World(path, updates=True, disk=disk, vfs=volume.name)
    store.open()
    store.relist(10)
    come_and_go(store)
    try:
        yield store, volume
    finally:
        volume.free = None
        store.ledger.close()


@pytest.mark.parametrize("at", ["write", "sync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_quota_that_statvfs_does_not_show_is_a_full_volume(tmp_path: Path, code: int, at: str) -> None:
    with limited(tmp_path, code) as (store, volume):
        new = store.observation(12, 13, world.seen("b", 13, model.ChangeKind.ADDED, value="v" * 5000))
        delivery = store.claim().deliveries[0]
        settle = wire.Claim(
            endpoint="default", session="s", number=9, want=0, wait_s=0, settlements=(world.delivered(delivery),)
        )
        store.ledger.write_back(shrink=True)
        volume.free, volume.at = 0, (at,)

        refused = [refusal(store, request) for _ in range(3) for request in (new, settle)]

        assert set(refused) == {wire.Refusal.FULL}
        assert volume.refused <= 2 * len(refused), "a round tries at most once more, in the ballast's room"
        volume.free = None
        assert isinstance(store.ask(settle), wire.Claimed)
        until_taken(store, new)
        assert names(store) == ["a", "b"]
        assert store.ledger.rows("PRAGMA integrity_check") == [("ok",)]


def until_taken(store: world.World, request: wire.AnyRequest) -> None:
    """Repeat a request as a client does, until the store takes in again."""
    for _ in range(100):
        if not isinstance(store.ask(request), wire.Refused):
            return
    pytest.fail("the intake was never taken up again")


def test_after_a_refused_write_the_intake_rests_longer_each_time(tmp_path: Path) -> None:
    now = 0.0
    disk = disk_guard.DiskGuard(tmp_path / "e.db", reserve_bytes=0, monotonic=lambda: now, statvfs=roomy)
    rests = []
    for _ in range(10):
        disk.note_full()
        began = now
        while disk.is_short:
            now += 0.05
        rests.append(round(now - began, 2))

    assert rests == sorted(rests)
    assert rests[0] < 0.2
    assert 14 < rests[-1] < 16


def test_the_ballast_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "e.db-ballast").symlink_to(victim)
    disk = disk_guard.DiskGuard(tmp_path / "e.db", reserve_bytes=0, ballast_bytes=4096, statvfs=roomy)

    assert isinstance(disk.is_short, bool)

    assert victim.read_text() == "precious"


def test_a_ballast_that_is_a_fifo_does_not_hold_the_store_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.db-ballast")
    disk = disk_guard.DiskGuard(tmp_path / "e.db", reserve_bytes=0, ballast_bytes=4096, statvfs=roomy)

    assert disk.is_short or (tmp_path / "e.db-ballast").is_file()


def test_a_volume_that_can_not_be_asked_is_taken_for_a_full_one(tmp_path: Path) -> None:
    def stale(_: Path) -> os.statvfs_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    disk = disk_guard.DiskGuard(tmp_path / "e.db", reserve_bytes=1, statvfs=stale)

    assert disk.is_short


def test_a_limit_on_the_size_of_files_refuses_and_kills_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from beacon.domain import model
from beacon.store.server import disk_guard
from tests.unit.store import world
path = Path(sys.argv[1])
store = world.World(path, disk=disk_guard.DiskGuard(path, reserve_bytes=0, ballast_bytes=4096))
store.open()
store.relist(10)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
big = [world.seen(f"o{at}", 11, model.ChangeKind.ADDED, value="v" * 9000) for at in range(90)]
new = store.observation(10, 11, *big)
print(store.ask(new).code)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
replies = [store.ask(new) for _ in range(3)]
import time
while not hasattr(replies[-1], "place"):
    time.sleep(0.05)
    replies.append(store.ask(new))
print(replies[-1].place)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "e.db")], capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["full", "applied"], done.stderr
