"""Reads the rows of a SQLite file page by page, without SQLite, which gives up where a page is damaged.

A row is readable if its own page is, regardless of its parent pages. Only current content is read: freed pages are
skipped, and the write-ahead log counts up to its last commit. The format is that of
https://www.sqlite.org/fileformat2.html. It never writes, and knows no table: a row is a tuple of values.
"""

import bisect
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Value = str | int | float | bytes | None
_PAGE = 4096  # SQLite's default, and thereby that of every ledger
_MAGIC = b"SQLite format 3\0"
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 13, 10, 2
_FREE, _OVERFLOW_FIRST, _OVERFLOW = 2, 3, 4
_MAPPED = _PAGE // 5 + 1  # a page of the pointer map and the pages that it describes
_KINDS = frozenset(range(1, 6))
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)
_WAL_MAGIC = (0x377F0682, 0x377F0683)


class UnreadableError(ValueError):
    """A cell that is not valid."""


@dataclass(slots=True, kw_only=True)
class ReadCounts:
    """Counts of a read: pages with rows, and pages or cells that can't be read."""

    pages: int = 0
    damaged: int = 0


class File:
    """A file with its write-ahead log, as of its last commit."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading."""
        self._file = path.open("rb")
        self._log_path = path.with_name(path.name + "-wal")
        size = path.stat().st_size
        self._log: dict[int, bytes] = {}
        self._count = -(-size // _PAGE)
        self._read_log()
        self._at = 0
        self.counts = ReadCounts()

    @property
    def share(self) -> float:
        """Return the share of the pages that `rows` has read."""
        return self._at / max(1, self._count)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def user_version(self) -> int:
        """Return the number that the owner of the file keeps in its header, 0 if that is not readable."""
        first = self._page(1)
        return int.from_bytes(first[60:64], "big") if first is not None and first[:16] == _MAGIC else 0

    def rows(self) -> Iterator[tuple[int | None, tuple[Value, ...]]]:
        """Yield (rowid, values) of every readable row; the rowid is None for tables without one.

        Entries of indexes are included: the caller recognizes rows by the number and types of their values.
        """
        free = self._free()
        for number in range(1, self._count + 1):
            self._at = number
            page = self._page(number)
            if page is None or (number - 2) % _MAPPED == 0 or self._is_unused(number, page, free):
                continue
            yield from self._rows_of(number, page)

    def _rows_of(self, number: int, page: bytes) -> Iterator[tuple[int | None, tuple[Value, ...]]]:
        start = 100 if number == 1 else 0
        kind = page[start]
        if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
            self.counts.damaged += kind != 5
            return
        self.counts.pages += 1
        header = 12 if kind == _INDEX_INTERIOR else 8
        (cells,) = struct.unpack_from(">H", page, start + 3)
        if start + header + 2 * cells > _PAGE:
            self.counts.damaged += 1
            cells = 0
        found: list[tuple[int | None, tuple[Value, ...]]] = []
        for index in range(cells):
            (offset,) = struct.unpack_from(">H", page, start + header + 2 * index)
            try:
                found.append(self._cell(page, offset, kind))
            except (UnreadableError, IndexError, struct.error, UnicodeError):
                self.counts.damaged += 1
        # A rowid out of order is wrong and may be another row's: it must not replace that row.
        rising = _rising([rowid for rowid, _ in found if rowid is not None])
        self.counts.damaged += sum(rowid is not None and rowid not in rising for rowid, _ in found)
        yield from (row for row in found if row[0] is None or row[0] in rising)

    def _cell(self, page: bytes, offset: int, kind: int) -> tuple[int | None, tuple[Value, ...]]:
        if offset < 8:
            raise UnreadableError("a cell within the header")
        offset += 4 if kind == _INDEX_INTERIOR else 0
        length, offset = _varint(page, offset)
        rowid = None
        if kind == _TABLE_LEAF:
            rowid, offset = _varint(page, offset)
        return rowid, _record(self._payload(page, offset, length, is_table=kind == _TABLE_LEAF))

    def _payload(self, page: bytes, offset: int, length: int, *, is_table: bool) -> bytes:
        most = _PAGE - 35 if is_table else (_PAGE - 12) * 64 // 255 - 23
        if length <= most:
            if offset + length > _PAGE:
                raise UnreadableError("a cell beyond its page")
            return page[offset : offset + length]
        least = (_PAGE - 12) * 32 // 255 - 23
        here = least + (length - least) % (_PAGE - 4)
        here = here if here <= most else least
        (following,) = struct.unpack_from(">I", page, offset + here)
        parts = [page[offset : offset + here]]
        left = length - here
        if left > self._count * _PAGE:
            raise UnreadableError("a cell longer than its file")
        while left > 0:
            overflow = self._page(following)
            if overflow is None:
                raise UnreadableError("a part of the cell is missing")
            parts.append(overflow[4 : 4 + min(left, _PAGE - 4)])
            left -= _PAGE - 4
            (following,) = struct.unpack_from(">I", overflow)
        return b"".join(parts)

    def _page(self, number: int) -> bytes | None:
        """Return a page; None if the file does not contain it completely."""
        if number in self._log:
            return self._log[number]
        if number < 1:
            return None
        self._file.seek((number - 1) * _PAGE)
        data = self._file.read(_PAGE)
        return data if len(data) == _PAGE else None

    def _is_unused(self, number: int, page: bytes, free: frozenset[int] | None) -> bool:
        """Return True if a page is free or holds a part of a row, according to both the pointer map and the free list.

        Either may be damaged, and a page that is wrongly considered unused is lost.
        """
        if number == 1 or not any(page):
            return number > 1
        kind = self._kind_of(number)
        if kind in (_OVERFLOW_FIRST, _OVERFLOW):
            return int.from_bytes(page[:4], "big") <= self._count  # in a page of rows it is far greater
        if free is None:
            return kind == _FREE
        return number in free and kind in (_FREE, None)

    def _kind_of(self, number: int) -> int | None:
        """Return a page's type from the pointer map of an auto-vacuum file; None if the map is not valid."""
        offset = (number - 2) // _MAPPED * _MAPPED + 2
        pointers = self._page(offset)
        kinds = pointers[0 : 5 * min(_MAPPED - 1, self._count - offset) : 5] if pointers else b""
        sane = pointers is not None and _KINDS.issuperset(kinds)
        return kinds[number - offset - 1] if sane else None

    def _free(self) -> frozenset[int] | None:
        """Return the list of free pages; None if it is not valid."""
        first = self._page(1)
        if first is None or first[:16] != _MAGIC:
            return None
        trunk, count = struct.unpack_from(">II", first, 32)
        found: list[int] = []
        while trunk and len(found) <= count:
            page = self._page(trunk)
            if page is None:
                return None
            following, leaves = struct.unpack_from(">II", page)
            if leaves > _PAGE // 4 - 2:
                return None
            found += [trunk, *struct.unpack_from(f">{leaves}I", page, 8)]
            trunk = following
        free = frozenset(found)
        whole = len(free) == len(found) == count and all(1 < number <= self._count for number in free)
        return free if whole else None

    def _read_log(self) -> None:
        """Read the pages of the write-ahead log up to its last complete commit."""
        try:
            log = self._log_path.read_bytes()
        except FileNotFoundError:
            return
        if len(log) < 32:
            return
        magic, _, page_size = struct.unpack_from(">III", log)
        if magic not in _WAL_MAGIC or page_size != _PAGE:
            return
        order = ">" if magic & 1 else "<"
        sums = _checksum(order, log[:24], (0, 0))
        pending: dict[int, bytes] = {}
        for offset in range(32, len(log) - _PAGE - 23, _PAGE + 24):
            number, committed = struct.unpack_from(">II", log, offset)
            page = log[offset + 24 : offset + 24 + _PAGE]
            sums = _checksum(order, page, _checksum(order, log[offset : offset + 8], sums))
            if log[offset + 8 : offset + 16] != log[16:24] or sums != struct.unpack_from(">II", log, offset + 16):
                break
            pending[number] = page
            if committed:
                self._log.update(pending)
                pending.clear()
                self._count = committed


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for index in range(0, len(words), 2):
        one = (one + words[index] + two) & 0xFFFFFFFF
        two = (two + words[index + 1] + one) & 0xFFFFFFFF
    return one, two


def _rising(numbers: list[int]) -> frozenset[int]:
    """Return a longest strictly increasing subsequence; the other numbers are out of order."""
    ends: list[int] = []  # index of the last element of the best subsequence of each length
    before: list[int] = []
    for index, number in enumerate(numbers):
        length = bisect.bisect_left(ends, number, key=numbers.__getitem__)
        before.append(ends[length - 1] if length else -1)
        ends[length : length + 1] = [index]
    found: set[int] = set()
    index = ends[-1] if ends else -1
    while index >= 0:
        found.add(numbers[index])
        index = before[index]
    return frozenset(found)


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Parse an integer of 1 to 9 bytes. Return it and its end."""
    value = 0
    for index in range(8):
        byte = data[offset + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + index + 1
    value = value << 8 | data[offset + 8]
    return value - (1 << 64) if value >> 63 else value, offset + 9


def _record(payload: bytes) -> tuple[Value, ...]:
    header, offset = _varint(payload, 0)
    body = header
    values: list[Value] = []
    while offset < header:
        serial, offset = _varint(payload, offset)
        value, body = _value(payload, body, serial)
        values.append(value)
    if offset != header or body != len(payload):
        raise UnreadableError("the record's header does not fit its body")
    return tuple(values)


def _value(payload: bytes, offset: int, serial: int) -> tuple[Value, int]:
    if serial <= 0:
        return None, offset
    if serial < 7:
        end = offset + _INTEGER_BYTES[serial]
        return int.from_bytes(payload[offset:end], "big", signed=True), end
    if serial == 7:
        return float(struct.unpack_from(">d", payload, offset)[0]), offset + 8
    if serial < 10:
        return serial - 8, offset
    if serial < 12:
        raise UnreadableError("an invalid serial type")
    end = offset + (serial - 12) // 2
    if end > len(payload):
        raise UnreadableError("a value beyond its record")
    return (payload[offset:end].decode() if serial % 2 else payload[offset:end]), end
