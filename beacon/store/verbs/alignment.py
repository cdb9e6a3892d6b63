"""Alignment at the start: cursors, objects and endpoints follow the configuration.

Runs within a transaction of the service.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from beacon.domain import model, rules
from beacon.store.ledger import cursors, database
from beacon.store.ledger import endpoints as ledger_endpoints
from beacon.store.verbs import catch_up
from beacon.store.verbs import identity as ledger_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """The part of the configuration that positions and events depend on."""

    scopes: tuple[rules.Scope, ...]
    endpoints: tuple[ledger_endpoints.LedgerEndpoint, ...]
    updates: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """The configured endpoints, a rename among them, and whether the ledger was a copy."""

    endpoints: tuple[ledger_endpoints.ConfiguredEndpoint, ...]
    renamed: ledger_endpoints.Renamed | None
    is_copy: bool


class LedgerAlignment:
    """Aligns the ledger with its configuration."""

    def __init__(
        self,
        ledger: database.Database,
        config: LedgerConfig,
        cursors_: cursors.Cursors,
        catch_ups: catch_up.CatchUps,
        identity: ledger_identity.Identity,
    ) -> None:
        """Work on the given ledger under the given configuration."""
        self._ledger = ledger
        self._config = config
        self._cursors = cursors_
        self._catch_ups = catch_ups
        self._identity = identity

    def align(self, now_us: int) -> Aligned:
        """Align cursors and rows with the configured scopes and endpoints, once at startup."""
        is_copy = self._identity.begin(now_us)
        if is_copy:
            self._cursors.note_restore(now_us)
        aligned = self._align_endpoints(self._align_scopes(now_us), now_us)
        return Aligned(endpoints=aligned.endpoints, renamed=aligned.renamed, is_copy=is_copy)

    def _align_scopes(self, now_us: int) -> list[model.ScopeId]:
        """Abandon the cursors of other scopes, and return the scopes that are new beside others."""
        untouched = self._cursors.is_untouched()
        configured = tuple(scope.id for scope in self._config.scopes)
        new_scopes: list[model.ScopeId] = []
        for scope, cursor in self._cursors.all().items():
            if scope not in configured:
                self._cursors.abandon(scope, cursor, self._identity.get().epoch)
        for scope in configured:
            reason = model.GapReason.FIRST_LIST if untouched else model.GapReason.CONFIGURATION
            if self._cursors.ensure(scope, reason) and not untouched:
                new_scopes.append(scope)
        self._cursors.unmanage_uncovered(configured, now_us)
        return new_scopes

    def _align_endpoints(self, new_scopes: Sequence[model.ScopeId], now_us: int) -> ledger_endpoints.Alignment:
        """Align the rows of endpoints with the configured names, and record what must be compared."""
        aligned = ledger_endpoints.Endpoints(self._ledger).align(
            self._config.endpoints, updates=self._config.updates, now_us=now_us
        )
        configured = [one.id for one in aligned.endpoints]
        scopes = tuple(scope.id for scope in self._config.scopes)
        for one in aligned.from_now:
            self._catch_ups.withhold(one)
        self._catch_ups.owe(configured, new_scopes)
        self._catch_ups.owe(aligned.owed, scopes)
        self._catch_ups.load(scopes, configured)
        return aligned
