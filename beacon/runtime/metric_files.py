"""The files in which processes keep the values of their metrics. Used by `metrics`, and by the exporter to read them.

Files are named by role, not by pid: a counter survives `kill -9` and continues, and the number of files does not grow
with restarts. A value opens its file at its first update after `use`, and stays in memory without `use`, as in unit
tests. This module must be imported before a metric is declared, because it replaces two classes of the library.
"""

import errno
import json
import os
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

from beacon.boundary import lazy_import

lazy_import.defer("prometheus_client")  # its package imports an HTTP server: 3 MB in the store
from prometheus_client import mmap_dict, values  # noqa: E402

from beacon.boundary import files as regular_files  # noqa: E402

_KEY_PARTS = 4  # metric, sample, labels, help
_settling = threading.Lock()
_INITIAL_BYTES = 1 << 16  # the initial size of the library's files
_LARGEST_FILE = 64 * 1024 * 1024
_ENTRY_BYTES = 32  # around a key, at most
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def use(role: str, directory: Path) -> bool:
    """Store this process' values in files named by `role`; return True if an earlier process of the role did.

    State gauges of the previous process are removed, and damaged files are set aside.
    """
    used_before = (directory / f"counter_{role}.db").exists()
    for path in directory.glob(f"gauge_live*_{role}.db"):
        path.unlink()
    for path in directory.glob(f"*_{role}.db"):
        if path.stat().st_size > 0 and not sound(path):
            set_aside(path)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)  # read by the library
    _Value.kind = values.MultiProcessValue(process_identifier=lambda: role)  # type: ignore[no-untyped-call]
    values.ValueClass = _placed
    return used_before


def files(directory: Path, living: Iterable[str]) -> tuple[Path, ...]:
    """Return the metric files, without the state gauges of roles that are not `living`."""
    roles = frozenset(living)
    found = sorted(directory.glob("*.db"))
    return tuple(path for path in found if not path.name.startswith("gauge_live") or _role(path) in roles)


def sound(path: Path) -> bool:
    """Return True if a metric file is intact; on a damaged one the library would raise, or loop forever."""
    try:
        data = regular_files.read(path, most_bytes=_LARGEST_FILE, follow=False)
        used = struct.unpack_from("i", data)[0]
        return (used == 0 or 8 <= used <= len(data)) and all(map(_meaningful, _keys(data, used)))
    except FileNotFoundError:
        return True
    except (OSError, struct.error):
        return False


def set_aside(path: Path) -> None:
    """Rename a damaged metric file so that no scrape reads it; it replaces the one set aside before."""
    with suppress(FileNotFoundError):
        path.replace(path.with_suffix(".damaged"))


class _Storage(Protocol):
    """A value of the library."""

    def inc(self, amount: float) -> None: ...

    def set(self, value: float, timestamp: float | None = None) -> None: ...

    def get(self) -> float: ...


class _Value:
    """A value that is allocated at its first update: in the role's file after `use`, else in memory.

    All values of a histogram are allocated together: a histogram without its empty buckets is invalid.
    """

    _multiprocess = False
    kind: Callable[..., _Storage] = values.MutexValue
    families: ClassVar[dict[tuple[object, tuple[str, ...]], list["_Value"]]] = {}

    def __init__(self, *declared: Any, **more: object) -> None:
        self._declared = declared
        self._more = more
        self._settled: Any = None
        _, metric, _, names, labels, *_ = declared
        own = tuple(value for name, value in zip(names, labels, strict=True) if name != "le")
        self._family = _Value.families.setdefault((metric, own), [])
        self._family.append(self)

    def inc(self, amount: float) -> None:
        (self._settled or self._settle()).inc(amount)

    def set(self, value: float, timestamp: float | None = None) -> None:
        (self._settled or self._settle()).set(value, timestamp=timestamp)

    def set_exemplar(self, exemplar: object) -> None:
        """Do nothing: exemplars are not used."""

    def get(self) -> float:
        return float((self._settled or self._settle()).get())

    def get_exemplar(self) -> None:
        return None

    def _settle(self) -> _Storage:
        with _settling:  # if two threads allocated the same value, the counts of one would be lost
            for value in self._family:
                if value._settled is None:  # noqa: SLF001  the same class
                    value._settled = _placed(*value._declared, **value._more)  # noqa: SLF001
        settled: _Storage = self._settled
        return settled


def _placed(*declared: object, **more: object) -> _Storage:
    """Allocate a value in the role's file, or in memory if the volume is full: a scrape does not contain it then."""
    try:
        return _Value.kind(*declared, **more)
    except OSError:
        return values.MutexValue(*declared, **more)  # type: ignore[no-untyped-call]


class _Allocated(mmap_dict.MmapedDict):
    """A metric file whose blocks are allocated before it is mapped: a page without a block would cause a SIGBUS."""

    def __init__(self, filename: str) -> None:
        with Path(filename).open("a+b") as file:
            _allocate(file.fileno(), max(_INITIAL_BYTES, os.fstat(file.fileno()).st_size))
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + _ENTRY_BYTES > self._capacity:
            _allocate(self._f.fileno(), 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _allocate(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise  # another error: the file system does not support it


def _role(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _keys(data: bytes, used: int) -> Iterable[bytes]:
    """Walk the entries: the key's length, the key padded so that both are a multiple of 8 bytes, two doubles.

    Yields each key; an empty one for an entry that goes beyond what is used.
    """
    position = 8
    while position < used:
        length = struct.unpack_from("i", data, position)[0]
        key = position + 4
        position = key + length + 8 - (length + 4) % 8 + 16
        if length <= 0 or position > used:
            yield b""
            return
        yield data[key : key + length]


@lru_cache(maxsize=20_000)  # every scrape reads the same keys
def _meaningful(key: bytes) -> bool:
    try:
        parts = json.loads(key)
    except ValueError:
        return False
    return isinstance(parts, list) and len(parts) == _KEY_PARTS and isinstance(parts[2], dict)


values.ValueClass = _Value
vars(values)["MmapedDict"] = _Allocated
