"""Rows that are written together: one statement with the values of many rows costs half of many statements with one.

Rows of a transaction are gathered here and written before the next other statement, so that no statement can miss them.
Only a read of rows that are certainly not among them may precede: see `is_touched`, and the marks that writers set.
Without knowledge of the tables.
"""

from collections.abc import Hashable, Iterator, Sequence

Values = Sequence[str | int | float | bytes | None]


class WriteBehind:
    """The gathered rows, in the order of their statements; rows of one statement keep their order."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: dict[str, list[Values]] = {}
        self._touched: set[Hashable] = set()
        self.numbers: dict[str, int] = {}  # the last one of each table, until a transaction is rolled back

    def __bool__(self) -> bool:
        """Return True if rows are gathered."""
        return bool(self._rows)

    def add(self, sql: str, values: Values) -> None:
        """Add a row, to be written by this statement."""
        rows = self._rows.get(sql)
        if rows is None:
            self._rows[sql] = [values]
        else:
            rows.append(values)

    def touch(self, mark: Hashable) -> None:
        """Mark something (an object, an order key) as changed by a gathered row."""
        self._touched.add(mark)

    def is_touched(self, mark: Hashable) -> bool:
        """Return True if a gathered row may change what the mark stands for."""
        return mark in self._touched

    def take(self) -> Iterator[tuple[str, list[Values]]]:
        """Remove all rows and marks. Return the rows by statement."""
        rows, self._rows = self._rows, {}
        self._touched.clear()
        return iter(rows.items())

    def clear(self) -> None:
        """Drop all rows, marks and numbers: their transaction is rolled back."""
        self._rows.clear()
        self._touched.clear()
        self.numbers.clear()
