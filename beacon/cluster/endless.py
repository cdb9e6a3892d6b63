"""Notices a list that does not come to an end, without remembering what has been listed.

Within one resourceVersion no object is listed twice and every continue token is new, so one that comes again means a
circle. Remembered are a token and an object, of a page whose number is a power of two: a circle of any length brings
them back (R. P. Brent, "An improved Monte Carlo factorization algorithm", 1980).
"""

import time
from collections.abc import Callable

from beacon.cluster import failures, items

_EMPTY_PAGES = 20  # in a row; a server that filters may send some
_LONGEST_S = 3600.0


class ListGuard:
    """Looks at the pages of one list, in order."""

    def __init__(self, *, longest_s: float = _LONGEST_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin before the first page."""
        self._clock = clock
        self._until = clock() + longest_s
        self._number = 0
        self._keep_at = 1
        self._token = ""
        self._uid = ""
        self._empty = 0

    def check(self, page: items.ListPageItems) -> None:
        """Take the next page.

        Raises:
            failures.Malformed: the list is in a circle, has no content, or takes far too long.
        """
        self._number += 1
        if (self._token and page.rest == self._token) or (self._uid and self._uid in page.uids):
            raise failures.Malformed(f"the API server lists in a circle: page {self._number} has come before")
        self._empty = 0 if page.uids else self._empty + 1
        if page.rest and self._empty >= _EMPTY_PAGES:
            raise failures.Malformed(f"the API server sent {self._empty} empty pages in a row and promises more")
        if page.rest and self._clock() >= self._until:
            raise failures.Malformed(f"the API server's list has not come to an end after {self._number} pages")
        if self._number >= self._keep_at:
            self._keep_at *= 2
            self._token = page.rest
            self._uid = page.uids[0] if page.uids else self._uid
