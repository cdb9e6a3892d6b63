"""Detects a list that never ends, without storing all objects that were listed.

Within one resourceVersion no object is listed twice and every continue token is new, so a repeated one means a cycle.
The guard keeps one token and one UID, of a page whose number is a power of two: a cycle of any length repeats them
(R. P. Brent, "An improved Monte Carlo factorization algorithm", 1980).
"""

import time
from collections.abc import Callable

from beacon.cluster import failures, items

_EMPTY_PAGES = 20  # in a row; a server that filters may send some
_LONGEST_S = 3600.0


class ListGuard:
    """Checks the pages of one list, in order."""

    def __init__(self, *, longest_s: float = _LONGEST_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Start before the first page."""
        self._clock = clock
        self._until = clock() + longest_s
        self._number = 0
        self._keep_at = 1
        self._token = ""
        self._uid = ""
        self._empty = 0

    def check(self, page: items.ListPageItems) -> None:
        """Check the next page.

        Raises:
            failures.Malformed: the list repeats itself, has many empty pages, or takes too long.
        """
        self._number += 1
        if (self._token and page.rest == self._token) or (self._uid and self._uid in page.uids):
            raise failures.Malformed(f"the API server's list does not end: page {self._number} repeats an earlier one")
        self._empty = 0 if page.uids else self._empty + 1
        if page.rest and self._empty >= _EMPTY_PAGES:
            raise failures.Malformed(
                f"the API server sent {self._empty} empty pages of a list in a row, and not the last"
            )
        if page.rest and self._clock() >= self._until:
            raise failures.Malformed(f"the API server's list has not ended in time: {self._number} pages")
        if self._number >= self._keep_at:
            self._keep_at *= 2
            self._token = page.rest
            self._uid = page.uids[0] if page.uids else self._uid
