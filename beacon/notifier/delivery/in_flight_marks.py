"""The deliveries in flight, in a file that outlives the process, so that its deaths can be counted per delivery.

A mark is set before a delivery is rendered and removed when its settlement is confirmed, so the mark of an event that
kills the notifier remains. The file is memory-mapped: a mark costs no system call, and the kernel keeps it after
SIGKILL. The file is locked while the process lives, so a second notifier never treats a living one as dead. It names
the ledger of its deliveries, because in another ledger the same ids belong to other deliveries.
"""

import fcntl
import hashlib
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

_NAME = struct.Struct("=32s")  # random id of the process
_LEDGER = struct.Struct("=32s")  # digest of the ledger's id; zeros: not known yet
_HEAD_BYTES = _NAME.size + _LEDGER.size
_SLOT = struct.Struct("=q")  # a delivery's id; 0: free


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """The marks that an earlier notifier process left: its random id, and the deliveries that were in flight.

    `ledger` is the digest of the ledger to which the deliveries belong.
    """

    life: str = ""
    deliveries: tuple[int, ...] = ()
    ledger: bytes = b""

    def of(self, ledger: str) -> "Died":
        """Return the marks if they belong to this ledger, else none."""
        return self if self.ledger == _digest(ledger) else Died()


class Marks:
    """The marks of one process. For one thread."""

    def __init__(self, path: Path | None, *, most: int, ledger: str = "") -> None:
        """Read the marks of the previous process, then reset the file to `most` free slots; no path: memory only.

        `ledger` is the ledger of the marks; those of the previous process are ignored if they belong to another one.

        Raises:
            OSError: the file can't be created.
        """
        self.died = Died()
        self.ledger = ledger
        self._offsets: dict[int, int] = {}  # delivery -> offset of its slot
        self._free = [_HEAD_BYTES + number * _SLOT.size for number in range(most)]
        size = _HEAD_BYTES + most * _SLOT.size
        self._file = _locked(path) if path is not None else -1
        if self._file < 0:
            self._map = mmap.mmap(-1, size)
            return
        self.died = _read(self._file).of(ledger)
        os.ftruncate(self._file, 0)
        os.posix_fallocate(self._file, 0, size)  # without disk space, writing to the mapping would raise SIGBUS
        self._map = mmap.mmap(self._file, size)
        _NAME.pack_into(self._map, 0, uuid.uuid4().hex.encode())
        self.change_ledger(ledger)

    def change_ledger(self, ledger: str) -> None:
        """Remove all marks; later ones belong to the given ledger."""
        self.keep(())
        self.ledger = ledger
        _LEDGER.pack_into(self._map, _NAME.size, _digest(ledger))

    def begin(self, delivery: int) -> None:
        """Mark a delivery, if a slot is free."""
        if self._free and delivery not in self._offsets:
            offset = self._offsets[delivery] = self._free.pop()
            _SLOT.pack_into(self._map, offset, delivery)

    def keep(self, deliveries: Collection[int]) -> None:
        """Remove all marks except those of the given deliveries."""
        for delivery in [one for one in self._offsets if one not in deliveries]:
            offset = self._offsets.pop(delivery)
            _SLOT.pack_into(self._map, offset, 0)
            self._free.append(offset)

    def died_now(self, deliveries: Collection[int]) -> Died:
        """Return those of the given deliveries that are marked, as if the process had died now."""
        marked = tuple(delivery for delivery in self._offsets if delivery in deliveries)
        return Died(life=uuid.uuid4().hex if marked else "", deliveries=marked, ledger=_digest(self.ledger))

    def close(self) -> None:
        """Close the file; its marks remain."""
        self._map.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextmanager
def open_marks(path: Path, *, most: int, ledger: str, failed: Callable[[], bool]) -> Iterator[Marks]:
    """Open the marks; clear them at a stop and at a configuration change. Any other end counts as a death.

    `failed` returns True if an error in another thread stops the process.
    """
    marks = Marks(path, most=most, ledger=ledger)
    if marks.died.deliveries:
        log.get().warning("previous notifier died", in_flight=len(marks.died.deliveries))
    with closing(marks):
        try:
            yield marks
        except (bus.SettingsChanged, errors.Stopping):
            marks.keep(())
            raise
        if not failed():
            marks.keep(())


def _locked(path: Path) -> int:
    """Open the file and lock it. Return -1 if another process has locked it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return -1
    return file


def _read(file: int) -> Died:
    data = os.pread(file, os.fstat(file).st_size, 0)
    if len(data) < _HEAD_BYTES:
        return Died()
    slots = data[_HEAD_BYTES : len(data) - (len(data) - _HEAD_BYTES) % _SLOT.size]
    deliveries = tuple(delivery for (delivery,) in _SLOT.iter_unpack(slots) if delivery)
    (ledger,) = _LEDGER.unpack_from(data, _NAME.size)
    return Died(life=data[: _NAME.size].decode("ascii", "replace"), deliveries=deliveries, ledger=ledger)


def _digest(ledger: str) -> bytes:
    return hashlib.sha256(ledger.encode()).digest()
