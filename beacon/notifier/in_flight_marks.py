"""Which requests are under way, in a file that outlives the process: what was under way when it died can be counted.

A mark is set before a delivery is rendered and removed when its settlement is confirmed, so whatever of an event kills
the notifier, its mark stays. The file is mapped into memory: a mark costs no system call, and the kernel keeps it after
SIGKILL. It is locked for as long as the process lives, so a second notifier never takes a living one for dead.
"""

import fcntl
import mmap
import os
import struct
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from beacon import bus, errors
from beacon.runtime import log

_NAME = struct.Struct("=32s")  # of the process' life, random
_SLOT = struct.Struct("=q")  # a delivery's id; 0: free


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """What an earlier life of the notifier left: its random name, and the deliveries that were under way, if any."""

    life: str = ""
    deliveries: tuple[int, ...] = ()


class Marks:
    """The marks of one process. Not safe for threads: its caller holds a lock."""

    def __init__(self, path: Path | None, *, most: int) -> None:
        """Read what the life before left, and begin anew with room for `most` marks; without a path in memory only.

        Raises:
            OSError: the file can't be made.
        """
        self.died = Died()
        self._at: dict[int, int] = {}  # delivery -> offset of its slot
        self._free = [_NAME.size + number * _SLOT.size for number in range(most)]
        size = _NAME.size + most * _SLOT.size
        self._file = _locked(path) if path is not None else -1
        if self._file < 0:
            self._map = mmap.mmap(-1, size)
            return
        self.died = _read(self._file)
        os.ftruncate(self._file, 0)
        os.posix_fallocate(self._file, 0, size)  # a page that the volume has no room for would be a SIGBUS
        self._map = mmap.mmap(self._file, size)
        _NAME.pack_into(self._map, 0, uuid.uuid4().hex.encode())

    def begin(self, delivery: int) -> None:
        """Mark a delivery; beyond the room for marks it stays unmarked."""
        if self._free and delivery not in self._at:
            offset = self._at[delivery] = self._free.pop()
            _SLOT.pack_into(self._map, offset, delivery)

    def keep(self, deliveries: Collection[int]) -> None:
        """Remove all marks but those of the given deliveries."""
        for delivery in [one for one in self._at if one not in deliveries]:
            offset = self._at.pop(delivery)
            _SLOT.pack_into(self._map, offset, 0)
            self._free.append(offset)

    def close(self) -> None:
        """Close the file; the marks that are left stay in it."""
        self._map.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def kept(path: Path, *, most: int, failed: Callable[[], bool]) -> Iterator[Marks]:
    """Mark what is under way; a stop and a new configuration are no deaths, any other end is one.

    `failed` returns True when an error in another thread is what stops the process.
    """
    marks = Marks(path, most=most)
    if marks.died.deliveries:
        log.get().warning("earlier notifier died", under_way=len(marks.died.deliveries))
    with closing(marks):
        try:
            yield marks
        except (bus.SettingsChanged, errors.Stopping):
            marks.keep(())
            raise
        if not failed():
            marks.keep(())


def _locked(path: Path) -> int:
    """Open the file and lock it; return -1 when a living process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return -1
    return file


def _read(file: int) -> Died:
    data = os.pread(file, os.fstat(file).st_size, 0)
    if len(data) < _NAME.size:
        return Died()
    slots = data[_NAME.size : len(data) - (len(data) - _NAME.size) % _SLOT.size]
    deliveries = tuple(delivery for (delivery,) in _SLOT.iter_unpack(slots) if delivery)
    return Died(life=data[: _NAME.size].decode("ascii", "replace"), deliveries=deliveries)
