"""Whatever is well-typed may arrive: the store answers it, stays whole, and goes on serving."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beacon import errors, wire
from beacon.domain import model
from beacon.store.ledger import database
from beacon.store.server import service
from beacon.store.verbs import lists
from tests.unit.store import world

SCOPE = world.scope_of()
# Well-typed on the wire is what JSON holds: integers of 64 bits with or without sign, finite floats, Unicode text.
NUMBERS = st.one_of(
    st.integers(-2, 30), st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]), st.integers(0, 2**40)
)
FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.5, -1e308, 1e308, 5e-324]), st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.one_of(
    st.sampled_from(["", "a", "s", "default", "uid-a", "\0", "a\0b", "\U0001f600", "%s' --", "/", "é"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)


def messages(kind: type[Any], /, **known: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **known)


OBSERVATIONS = messages(
    model.Observation,
    uid=TEXTS,
    namespace=TEXTS,
    name=TEXTS,
    resource_version=NUMBERS,
    change=st.sampled_from(model.ChangeKind),
    verdict=st.sampled_from(model.RuleVerdict),
    value=TEXTS,
    labels=st.dictionaries(TEXTS, TEXTS, max_size=2),
    annotations=st.dictionaries(TEXTS, TEXTS, max_size=2),
    received_ns=NUMBERS,
)
OUTCOMES = messages(
    model.Outcome,
    delivery=NUMBERS,
    generation=st.sampled_from([0, 0, 0, 1, 2**63]),
    attempt=NUMBERS,
    result=st.sampled_from(model.DeliveryResult),
    code=TEXTS,
    status=NUMBERS,
    error=TEXTS,
    counted=st.booleans(),
    forgiven=st.booleans(),
    delay_s=FLOATS,
    started_us=NUMBERS,
    duration_s=FLOATS,
    request_id=TEXTS,
)
SCOPES = st.sampled_from([SCOPE.id, SCOPE.id, SCOPE.id, model.ScopeId(group="", kind="", namespace="\0")])
FINGERPRINTS = st.sampled_from([SCOPE.fingerprint, SCOPE.fingerprint, ""])
SEEN = st.lists(OBSERVATIONS, max_size=3).map(tuple)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3).map(tuple)
SELECTIONS = messages(
    wire.DeliveryFilter,
    states=st.lists(st.sampled_from(model.DeliveryState), max_size=2).map(tuple),
    types=st.lists(st.sampled_from(model.EventType), max_size=2).map(tuple),
    kind=TEXTS,
    namespace=st.none() | TEXTS,
    name=TEXTS,
    uid=TEXTS,
    ids=st.lists(TEXTS, max_size=2).map(tuple),
    since_us=NUMBERS,
    until_us=NUMBERS,
)
REASONS = st.sampled_from(model.GapReason)
PLACED = {"scope": SCOPES, "session": NUMBERS, "epoch": NUMBERS}
REQUESTS = st.one_of(
    messages(wire.OpenStream, scope=SCOPES, label=TEXTS, fingerprint=FINGERPRINTS, nonce=TEXTS, cluster=TEXTS),
    messages(wire.Rewind, **PLACED, current=NUMBERS, highest=NUMBERS),
    messages(wire.Expire, **PLACED, prev=NUMBERS),
    messages(
        wire.Observe,
        **PLACED,
        prev=NUMBERS,
        position=NUMBERS,
        tracked_version=NUMBERS,
        fingerprint=FINGERPRINTS,
        api_version=TEXTS,
        observations=SEEN,
    ),
    messages(
        wire.ListBegin,
        **PLACED,
        prev=NUMBERS,
        at=NUMBERS,
        fingerprint=FINGERPRINTS,
        api_version=TEXTS,
        reason=REASONS,
    ),
    messages(
        wire.ListPage,
        scope=SCOPES,
        session=NUMBERS,
        at=NUMBERS,
        number=NUMBERS,
        uids=st.lists(TEXTS, max_size=3).map(tuple),
        versions=st.lists(NUMBERS, max_size=3).map(tuple),
        observations=SEEN,
    ),
    messages(wire.ListEnd, scope=SCOPES, session=NUMBERS, at=NUMBERS, pages=NUMBERS, count=NUMBERS),
    messages(wire.CompareOpen, scope=SCOPES, fingerprint=FINGERPRINTS, nonce=TEXTS, cluster=TEXTS),
    messages(wire.CompareBegin, scope=SCOPES, nonce=TEXTS, at=NUMBERS, api_version=TEXTS),
    messages(
        wire.ComparePage,
        scope=SCOPES,
        nonce=TEXTS,
        at=NUMBERS,
        number=NUMBERS,
        uids=st.lists(TEXTS, max_size=3).map(tuple),
        versions=st.lists(NUMBERS, max_size=3).map(tuple),
        observations=SEEN,
    ),
    messages(wire.CompareEnd, scope=SCOPES, nonce=TEXTS, at=NUMBERS, pages=NUMBERS, count=NUMBERS),
    messages(
        wire.Claim,
        endpoint=TEXTS,
        session=TEXTS,
        number=NUMBERS,
        want=NUMBERS,
        wait_s=FLOATS,
        seen=NUMBERS,
        settlements=st.lists(OUTCOMES, max_size=3).map(tuple),
        held=st.lists(NUMBERS, max_size=3).map(tuple),
        probe=st.booleans(),
        fresh_only=st.booleans(),
        resume=st.booleans(),
    ),
    st.just(wire.Inspect()),
    messages(wire.Adopt, cluster=TEXTS, force=st.booleans(), check=st.booleans()),
    messages(wire.Redeliver, deliveries=PAIRS, out_of_order=st.booleans()),
    messages(wire.Discard, deliveries=PAIRS, reason=TEXTS),
    messages(wire.PauseEndpoint, endpoint=st.sampled_from(["default", "x"])),
    messages(wire.ResumeEndpoint, endpoint=st.sampled_from(["default", "x"])),
    messages(wire.DiscardEndpoint, endpoint=st.sampled_from(["default", "x"]), reason=TEXTS, after=NUMBERS),
    messages(wire.DiscardOld, older_than_s=FLOATS, after=NUMBERS),
    messages(wire.FindDeliveries, selection=SELECTIONS, after=NUMBERS, newest_first=st.booleans()),
    messages(wire.Explain, kind=TEXTS, namespace=TEXTS, name=TEXTS, target=TEXTS, before=NUMBERS),
    messages(wire.ReadObjects, after=TEXTS),
    messages(wire.Prune, table=st.sampled_from(wire.Prunable), older_than_s=FLOATS, after=st.tuples(NUMBERS, TEXTS)),
)


class NoDatabaseError(service.ServiceListener):
    """Fails when the database refuses a statement: a request can only be refused by a rule."""

    def failed(self, verb: str, error: errors.BeaconError) -> None:
        """Fail for an error that counts as one of the database."""
        of_database = isinstance(error, database.RequestError | database.StorageError | database.DamagedError)
        # Integers of 64 bits without sign are well-typed, but SQLite can't hold them; no process sends one.
        assert not of_database or isinstance(error.__cause__, OverflowError), (verb, error)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(REQUESTS, st.booleans(), st.booleans()), min_size=1, max_size=20))
@pytest.mark.slow
def test_every_well_typed_request_is_answered_and_the_store_keeps_serving(
    arriving: list[tuple[wire.AnyRequest, bool, bool]],
) -> None:
    with tempfile.TemporaryDirectory(prefix="beacon-") as name:
        store = world.World(Path(name) / "e.db", SCOPE, updates=True)
        store.service._listener = NoDatabaseError()
        store.open()
        store.relist(10, world.seen("a", 5), world.seen("b", 6))
        batch: list[service.QueuedRequest] = []
        for number, (request, fitting, more) in enumerate(arriving):
            batch.append(service.QueuedRequest(sender=number, request=fit(store, request) if fitting else request))
            if not more:
                answer(store, batch)
                batch = []
        answer(store, batch)

        still_serves(store)
        store.restart()
        still_serves(store)
        store.ledger.close()


def fit(store: world.World, request: wire.AnyRequest) -> wire.AnyRequest:
    """Return the request with the stream's session and position, so that it is not refused at once."""
    opened = store.opened[SCOPE.id]
    (cursor, epoch) = store.ledger.rows("SELECT resource_version, epoch FROM cursors")[0]
    if isinstance(request, wire.Rewind | wire.Expire | wire.Observe | wire.ListBegin):
        request = replace(request, scope=SCOPE.id, session=opened.session, epoch=epoch)
    if isinstance(request, wire.Expire | wire.Observe | wire.ListBegin):
        request = replace(request, prev=cursor)
    if isinstance(request, wire.ListPage | wire.ListEnd):
        run = store.service._state.get(lists._running(SCOPE.id))
        at = run.list_version if run else request.at
        request = replace(request, scope=SCOPE.id, session=opened.session, at=at)
    if isinstance(request, wire.ListPage):
        run = store.service._state.get(lists._running(SCOPE.id))
        uids = tuple(dict.fromkeys([*request.uids, *(seen.uid for seen in request.observations)]))
        request = replace(request, number=run.pages if run else 0, uids=uids, versions=tuple(range(5, 5 + len(uids))))
    return request


def answer(store: world.World, batch: list[service.QueuedRequest]) -> None:
    replies = store.service.process([replace(job, ledger=store.service.ledger_id) for job in batch])
    for _, reply in replies:
        wire.encode_reply(reply)
    senders = [sender for sender, _ in replies]
    assert len(senders) == len(set(senders))
    if any(isinstance(job.request, wire.OpenStream | wire.Rewind) for job in batch):
        store.open(cluster="")


def still_serves(store: world.World) -> None:
    opened = store.open(cluster="")
    assert opened.place is wire.ApplyResult.APPLIED
    assert store.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    figures = store.service.handle(wire.Inspect())
    assert isinstance(figures, wire.Statistics)
    for table in ("objects", "deliveries"):
        counted: dict[str, int] = dict(
            store.ledger.rows(f"SELECT '{table}/' || state, count(*) FROM {table} GROUP BY state")
        )
        shown = {key: number for key, number in figures.rows.items() if number and key.startswith(table)}
        assert shown == counted
    several = store.ledger.rows(
        "SELECT endpoint, key FROM deliveries WHERE state = 'ready' GROUP BY endpoint, key HAVING count(*) > 1"
    )
    assert several == [], "two deliveries of one object may go out at a time"
    stuck = store.ledger.rows(
        "SELECT endpoint, key FROM deliveries WHERE state IN ('queued', 'ready') GROUP BY endpoint, key"
        " HAVING sum(state = 'ready') = 0"
    )
    assert stuck == [], "an object's deliveries wait for nothing"
