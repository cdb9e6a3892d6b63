"""Follows the store's events: the common part of `events --watch` and `tail`."""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from beacon import bus, errors, wire
from beacon.cli import filters, search, terminal
from beacon.domain import model

POLL_S = 0.3
_TIMEOUT_S = 5.0
_REMEMBERED = 10_000  # deliveries whose last shown state is known; a forgotten one may be shown twice
_AT_ONCE = 100
_FINAL = (model.DeliveryState.DELIVERED, model.DeliveryState.DISCARDED)

_Shown = tuple[str, int, model.DeliveryState, str]  # event id, generation, state, code


def page(client: bus.Client, after: int) -> wire.RecentEventPage:
    """Return the entries after a number; -1: only the current number.

    Raises:
        errors.TransientError: the store does not answer.
    """
    return client.try_call(wire.Follow(after=after), timeout_s=_TIMEOUT_S)


@contextmanager
def stoppable() -> Iterator[None]:
    """End the block normally on Ctrl-C, or when the reader of the output has gone."""
    try:
        yield
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter reports it at exit


class Watch:
    """Yields each new delivery that a filter matches, and each matching one whose state has changed.

    It survives a restart of the store: it then reads the ledger from the last delivery that it has seen, and the state
    of the pending ones that it has shown. Its memory is bounded.
    """

    def __init__(self, client: bus.Client, selection: wire.DeliveryFilter) -> None:
        """Start at the ledger's current end; `begin` must be called before the first list is read."""
        self._client = client
        self._selection = selection
        self._shown: OrderedDict[int, _Shown] = OrderedDict()
        self._highest = 0
        self._number = 0
        self._renewed_at = 0.0
        self._is_idle = False

    def begin(self) -> None:
        """Note the ledger's current end.

        Raises:
            errors.TransientError: the store does not answer.
        """
        everything = wire.DeliveryFilter()
        newest = next(search.walk(self._client, everything, newest_first=True), None)
        self._highest = newest.delivery if newest else 0
        self._number = page(self._client, -1).after
        self._renewed_at = self._client.renewed_at

    def is_new(self, one: wire.DeliverySummary) -> bool:
        """Return True if the delivery has not been shown in this state, and note it."""
        shown = (one.event_id, one.generation, one.state, one.code)
        known = self._shown.pop(one.delivery, None)
        self._shown[one.delivery] = shown
        if len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)
        return known != shown

    def deliveries(self) -> Iterator[wire.DeliverySummary]:
        """Yield deliveries as they appear and change, without end.

        Raises:
            errors.PermanentError: the store refuses the request.
        """
        pause = threading.Event()
        silent = False
        while True:
            try:
                found = self._next()
                first = next(found, None)
            except bus.LedgerChanged:
                self._restart()
                continue
            except errors.TransientError as error:
                if not silent:
                    terminal.print_line(f"{error}; waiting for it.", err=True)
                silent = True
                pause.wait(POLL_S)
                continue
            silent = False
            if first is not None:
                yield first
                yield from self._complete(found)
            elif self._is_idle:
                pause.wait(POLL_S)

    def _complete(self, found: Iterator[wire.DeliverySummary]) -> Iterator[wire.DeliverySummary]:
        """Yield the rest; if the store stops answering, the next round reads the ledger again."""
        try:
            yield from found
        except errors.TransientError:
            self._renewed_at = -1.0

    def _restart(self) -> None:
        """Follow another ledger from its current end."""
        terminal.print_line("The ledger was replaced; following the new one.", err=True)
        self._shown.clear()
        self._highest = 0
        self._renewed_at = -1.0

    def _next(self) -> Iterator[wire.DeliverySummary]:
        recent = page(self._client, self._number)
        self._is_idle = not recent.happenings
        if recent.anew or recent.missed or self._client.renewed_at != self._renewed_at:
            yield from self._catch_up()
            return
        for one in recent.happenings:
            if filters.matches(self._selection, one.of) and self.is_new(one.of):
                yield one.of
            self._highest = max(self._highest, one.of.delivery)
        self._number = recent.after

    def _catch_up(self) -> Iterator[wire.DeliverySummary]:
        """Yield from the ledger what the store's memory no longer has."""
        renewed_at = self._client.renewed_at
        number = page(self._client, -1).after
        for one in self._changed():
            if filters.matches(self._selection, one) and self.is_new(one):
                yield one
        for one in search.walk(self._client, self._selection, after=self._highest):
            if self.is_new(one):
                yield one
            self._highest = max(self._highest, one.delivery)
        self._number, self._renewed_at = number, renewed_at

    def _changed(self) -> Iterator[wire.DeliverySummary]:
        """Yield the current state of the pending deliveries that were shown."""
        pending = [event_id for event_id, _, state, _ in self._shown.values() if state not in _FINAL]
        for start in range(0, len(pending), _AT_ONCE):
            chosen = wire.DeliveryFilter(ids=tuple(pending[start : start + _AT_ONCE]))
            yield from search.walk(self._client, chosen)
