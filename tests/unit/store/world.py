"""A store without sockets on a real file, and requests for it with sensible defaults."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from beacon import wire
from beacon.domain import model, rules
from beacon.store.ledger import clock, database, endpoints
from beacon.store.server import disk_guard, service
from beacon.store.verbs import alignment

ANNOTATION = "bakerapps.net.maas"


def scope_of(kind: str = "ConfigMap", *, values: Iterable[str] | None = None, **entry: Any) -> rules.Scope:
    version = entry.pop("api_version", "v1")
    (scope,) = rules.scopes(
        [rules.Entry(api_version=version, kind=kind, **entry)], annotation=ANNOTATION, values=values
    )
    return scope


class Clock:
    """A wall clock that the test moves, and the time since boot, which moves with it but when the clock is set."""

    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000
        self.elapsed_us = 1_000_000_000

    def __call__(self) -> int:
        return self.us

    def advance(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)
        self.elapsed_us += int(seconds * 1_000_000)

    def jump(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)


class World:
    """One store and a well-behaved stream and notifier of it."""

    def __init__(
        self,
        path: Path,
        *scopes: rules.Scope,
        updates: bool = False,
        clock_: Clock | None = None,
        vfs: str | None = None,
        disk: disk_guard.DiskGuard | None = None,
        endpoints_: tuple[endpoints.LedgerEndpoint, ...] = (),
    ) -> None:
        self.path = path
        self.endpoints = endpoints_ or (endpoints.LedgerEndpoint(name="default", url_digest=b"url"),)
        self.scopes = scopes or (scope_of(),)
        self.updates = updates
        self.clock = clock_ or Clock()
        self.vfs = vfs
        self.room = disk
        self.boot = "first"
        self.claims = 0
        self.opened: dict[model.ScopeId, wire.StreamOpened] = {}
        self.nonces = 0
        self.start()

    def start(self) -> None:
        self.ledger = database.Database(self.path, vfs=self.vfs)
        terms = alignment.LedgerConfig(scopes=self.scopes, endpoints=self.endpoints, updates=self.updates)
        self.service = service.StoreService(
            self.ledger, terms, settings={}, digest="d", time_=self.time(), disk=self.room
        )

    def time(self) -> clock.Clock:
        return clock.Clock(self.clock, lambda: self.clock.elapsed_us, boot=self.boot)

    def restart(
        self,
        *scopes: rules.Scope,
        endpoints_: tuple[endpoints.LedgerEndpoint, ...] = (),
        updates: bool | None = None,
    ) -> None:
        self.ledger.close()
        self.scopes = scopes or self.scopes
        self.endpoints = endpoints_ or self.endpoints
        self.updates = self.updates if updates is None else updates
        self.start()

    def ask(self, request: wire.AnyRequest) -> Any:
        return self.service.handle(request, ledger=self.service.ledger_id)

    def open(self, scope: rules.Scope | None = None, *, cluster: str = "c") -> wire.StreamOpened:
        scope = scope or self.scopes[0]
        self.nonces += 1
        opened = self.ask(
            wire.OpenStream(
                scope=scope.id,
                label=scope.id.kind.lower(),
                fingerprint=scope.fingerprint,
                nonce=str(self.nonces),
                cluster=cluster,
            )
        )
        assert isinstance(opened, wire.StreamOpened), opened
        self.opened[scope.id] = opened
        return opened

    def observe(
        self, prev: int, position: int, *seen: model.Observation, scope: rules.Scope | None = None, **changes: Any
    ) -> wire.PositionReply:
        reply = self.ask(self.observation(prev, position, *seen, scope=scope, **changes))
        assert isinstance(reply, wire.PositionReply), reply
        return reply

    def observation(
        self, prev: int, position: int, *seen: model.Observation, scope: rules.Scope | None = None, **changes: Any
    ) -> wire.Observe:
        scope = scope or self.scopes[0]
        opened = self.opened[scope.id]
        request = wire.Observe(
            scope=scope.id,
            session=opened.session,
            epoch=opened.epoch,
            prev=prev,
            position=position,
            tracked_version=opened.tracked_version,
            fingerprint=scope.fingerprint,
            api_version=scope.api_version,
            observations=seen,
        )
        return replace(request, **changes)

    def relist(
        self,
        at: int,
        *seen: model.Observation,
        scope: rules.Scope | None = None,
        others: dict[str, int] | None = None,
        end: bool = True,
        identified: bool = True,
    ) -> wire.PositionReply:
        """List the scope: `seen` in full, `others` (UID -> resourceVersion) as objects without observations."""
        scope = scope or self.scopes[0]
        opened = self.opened[scope.id]
        reason = opened.reason or model.GapReason.EXPIRED
        begin = wire.ListBegin(
            scope=scope.id,
            session=opened.session,
            epoch=opened.epoch,
            prev=opened.cursor,
            at=at,
            fingerprint=scope.fingerprint,
            api_version=scope.api_version,
            reason=reason,
        )
        reply = self.ask(begin)
        if reply.place is not wire.ApplyResult.APPLIED:
            return reply  # type: ignore[no-any-return]
        listed = {one.uid: one.resource_version for one in seen} | (others or {})
        page = wire.ListPage(
            scope=scope.id,
            session=opened.session,
            at=at,
            number=0,
            uids=tuple(listed),
            versions=tuple(listed.values()),
            observations=tuple(replace(one, change=model.ChangeKind.LISTED) for one in seen),
        )
        reply = self.ask(page)
        if reply.place is not wire.ApplyResult.APPLIED or not end:
            return reply  # type: ignore[no-any-return]
        return self.ask(  # type: ignore[no-any-return]
            wire.ListEnd(
                scope=scope.id, session=opened.session, at=at, pages=1, count=len(listed), identified=identified
            )
        )

    def claim(self, want: int = 100, *settlements: model.Outcome, **changes: Any) -> wire.Claimed:
        self.claims += 1
        request = wire.Claim(
            endpoint="default", session="s", number=self.claims, want=want, wait_s=0.0, settlements=settlements
        )
        reply = self.ask(replace(request, **changes))
        assert isinstance(reply, wire.Claimed), reply
        return reply

    def events(self) -> list[tuple[str, str, str]]:
        """Return the emitted events, in order: (name, type, cause)."""
        return self.ledger.rows("SELECT name, type, cause FROM readable_events ORDER BY sequence")

    def catch_up(self) -> None:
        """Run the store's loop until nothing can be compared."""
        while self.service._turn.is_possible:
            self.service._turn.at = 0.0
            self.service.catch_up()

    def deliver_all(self) -> list[str]:
        """Deliver everything that is due, to an endpoint that always accepts. Return the ids in order."""
        emitted = []
        settlements: tuple[model.Outcome, ...] = ()
        while (claimed := self.claim(100, *settlements)).deliveries:
            emitted += [delivery.event_id for delivery in claimed.deliveries]
            settlements = tuple(map(delivered, claimed.deliveries))
        return emitted


def emit(store: "World", *names: str) -> None:
    """Change the object of each name once more; the events of an object are in order."""
    (cursor,) = store.ledger.rows("SELECT resource_version FROM cursors")[0]
    changed = [seen(name, cursor + step, value=f"v{cursor + step}") for step, name in enumerate(names, start=1)]
    assert store.observe(cursor, cursor + len(names), *changed).place is wire.ApplyResult.APPLIED


def seen(
    name: str,
    version: int,
    change: model.ChangeKind = model.ChangeKind.MODIFIED,
    verdict: model.RuleVerdict = model.RuleVerdict.ACCEPTED,
    *,
    uid: str = "",
    value: str = "true",
    namespace: str = "ns",
) -> model.Observation:
    return model.Observation(
        uid=uid or f"uid-{name}",
        namespace=namespace,
        name=name,
        resource_version=version,
        change=change,
        verdict=verdict,
        value=value if verdict is model.RuleVerdict.ACCEPTED else "",
    )


def delivered(delivery: model.Delivery) -> model.Outcome:
    return model.Outcome(
        delivery=delivery.id,
        generation=delivery.generation,
        attempt=delivery.requests + 1,
        result=model.DeliveryResult.DELIVERED,
        code="204",
        status=204,
    )
