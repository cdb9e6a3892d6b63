"""Reads the rows of a SQLite file page by page, without SQLite, which gives up where a page is damaged.

A row can be read when its own page can, whatever became of the pages above it. Only what the file holds now is read:
pages that were freed are left out, and the write-ahead log counts up to its last commit. The format is that of
https://www.sqlite.org/fileformat2.html. It never writes, and it knows no table: a row is a tuple of values.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Value = str | int | float | bytes | None
_PAGE = 4096  # what SQLite makes by default, and so every file of ours
_MAGIC = b"SQLite format 3\0"
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 13, 10, 2
_FREE, _OVERFLOW_FIRST, _OVERFLOW = 2, 3, 4
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)
_WAL_MAGIC = (0x377F0682, 0x377F0683)


class UnreadableError(ValueError):
    """A cell that can't be what it should be."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What reading met: pages that hold rows, and pages or cells that can't be read."""

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
        self.seen = Seen()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def rows(self) -> Iterator[tuple[int | None, tuple[Value, ...]]]:
        """Give (rowid, values) of every row that can be read; the rowid is None for tables that have none.

        Entries of indexes come along: whoever reads knows rows by the number and kind of their values.
        """
        free = self._free()
        for number in range(1, self._count + 1):
            if number in free or (number - 2) % (_PAGE // 5 + 1) == 0:
                continue
            page = self._page(number)
            if page is None or self._is_unused(number, page):
                continue
            yield from self._rows_of(number, page)

    def _rows_of(self, number: int, page: bytes) -> Iterator[tuple[int | None, tuple[Value, ...]]]:
        start = 100 if number == 1 else 0
        kind = page[start]
        if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
            self.seen.damaged += kind != 5
            return
        self.seen.pages += 1
        header = 12 if kind == _INDEX_INTERIOR else 8
        (cells,) = struct.unpack_from(">H", page, start + 3)
        if start + header + 2 * cells > _PAGE:
            self.seen.damaged += 1
            cells = 0
        for index in range(cells):
            (at,) = struct.unpack_from(">H", page, start + header + 2 * index)
            try:
                yield self._cell(page, at, kind)
            except (UnreadableError, IndexError, struct.error, UnicodeError):
                self.seen.damaged += 1

    def _cell(self, page: bytes, at: int, kind: int) -> tuple[int | None, tuple[Value, ...]]:
        if at < 8:
            raise UnreadableError("a cell within the header")
        at += 4 if kind == _INDEX_INTERIOR else 0
        length, at = _varint(page, at)
        rowid = None
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
        return rowid, _record(self._payload(page, at, length, is_table=kind == _TABLE_LEAF))

    def _payload(self, page: bytes, at: int, length: int, *, is_table: bool) -> bytes:
        most = _PAGE - 35 if is_table else (_PAGE - 12) * 64 // 255 - 23
        if length <= most:
            if at + length > _PAGE:
                raise UnreadableError("a cell beyond its page")
            return page[at : at + length]
        least = (_PAGE - 12) * 32 // 255 - 23
        here = least + (length - least) % (_PAGE - 4)
        here = here if here <= most else least
        (following,) = struct.unpack_from(">I", page, at + here)
        parts = [page[at : at + here]]
        left = length - here
        if left > self._count * _PAGE:
            raise UnreadableError("a cell longer than its file")
        while left > 0:
            overflow = self._page(following)
            if overflow is None:
                raise UnreadableError("a part of the cell is not there")
            parts.append(overflow[4 : 4 + min(left, _PAGE - 4)])
            left -= _PAGE - 4
            (following,) = struct.unpack_from(">I", overflow)
        return b"".join(parts)

    def _page(self, number: int) -> bytes | None:
        """Give a page; None when the file does not hold it whole."""
        if number in self._log:
            return self._log[number]
        if number < 1:
            return None
        self._file.seek((number - 1) * _PAGE)
        data = self._file.read(_PAGE)
        return data if len(data) == _PAGE else None

    def _is_unused(self, number: int, page: bytes) -> bool:
        """Ask the pointer map, which an auto-vacuum file has, whether the page is free or holds a part of a row."""
        if number == 1 or not any(page):
            return number > 1
        per = _PAGE // 5
        map_number = (number - 2) // (per + 1) * (per + 1) + 2
        pointers = self._page(map_number)
        if pointers is None:
            return False
        return pointers[5 * (number - map_number - 1)] in (_FREE, _OVERFLOW_FIRST, _OVERFLOW)

    def _free(self) -> frozenset[int]:
        """Walk the list of free pages as far as it can be believed."""
        first = self._page(1)
        if first is None or first[:16] != _MAGIC:
            return frozenset()
        (trunk,) = struct.unpack_from(">I", first, 32)
        found: set[int] = set()
        while 1 < trunk <= self._count and trunk not in found:
            page = self._page(trunk)
            if page is None:
                break
            following, leaves = struct.unpack_from(">II", page)
            if leaves > _PAGE // 4 - 2:
                break
            found.add(trunk)
            found.update(struct.unpack_from(f">{leaves}I", page, 8))
            trunk = following
        return frozenset(found)

    def _read_log(self) -> None:
        """Take over the pages of the write-ahead log up to its last whole commit."""
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
        for at in range(32, len(log) - _PAGE - 23, _PAGE + 24):
            number, committed = struct.unpack_from(">II", log, at)
            page = log[at + 24 : at + 24 + _PAGE]
            sums = _checksum(order, page, _checksum(order, log[at : at + 8], sums))
            if log[at + 8 : at + 16] != log[16:24] or sums != struct.unpack_from(">II", log, at + 16):
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


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read an integer of 1 to 9 bytes; gives it and where it ends."""
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _record(payload: bytes) -> tuple[Value, ...]:
    header, at = _varint(payload, 0)
    body = header
    values: list[Value] = []
    while at < header:
        serial, at = _varint(payload, at)
        value, body = _value(payload, body, serial)
        values.append(value)
    if at != header or body != len(payload):
        raise UnreadableError("the record's header does not fit its body")
    return tuple(values)


def _value(payload: bytes, at: int, serial: int) -> tuple[Value, int]:
    if serial <= 0:
        return None, at
    if serial < 7:
        end = at + _INTEGER_BYTES[serial]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if serial == 7:
        return float(struct.unpack_from(">d", payload, at)[0]), at + 8
    if serial < 10:
        return serial - 8, at
    if serial < 12:
        raise UnreadableError("a type that is none")
    end = at + (serial - 12) // 2
    if end > len(payload):
        raise UnreadableError("a value beyond its record")
    return (payload[at:end].decode() if serial % 2 else payload[at:end]), end
