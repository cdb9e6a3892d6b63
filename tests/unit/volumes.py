"""A small file system of a test's own, which it fills and empties: a real tmpfs."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gate import needs

MIB = 1024 * 1024
_INODES = 1000
_READ_ONLY, _REMOUNT = 1, 32  # MS_RDONLY, MS_REMOUNT
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

    def remount(self, *, read_only: bool) -> None:
        """Make it read-only, or writable again; no file may be open for writing."""
        flags = _REMOUNT | (_READ_ONLY if read_only else 0)
        assert LIBC.mount(b"tmpfs", os.fsencode(self.path), b"tmpfs", flags, None) == 0, os.strerror(ctypes.get_errno())

    def free(self) -> int:
        volume = os.statvfs(self.path)
        return volume.f_bavail * volume.f_frsize


@contextmanager
def mounted(path: Path, size: int) -> Iterator[Volume]:
    needs.require("mount")
    path.mkdir()
    options = f"size={size},nr_inodes={_INODES}".encode()
    if LIBC.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options) != 0:
        pytest.skip(f"no file system may be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield Volume(path)
    finally:
        assert LIBC.umount2(os.fsencode(path), 2) == 0
