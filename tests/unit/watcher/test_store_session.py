"""What a stream sends to the store, and which of its errors are those of the configuration."""

from collections.abc import Iterable
from typing import Any

import pytest

from beacon import codec, errors, wire
from beacon.cluster import items
from beacon.watcher import status, store_session
from tests.unit.store import world


class Refusing:
    """The link to a store that refuses."""

    def __init__(self, error: errors.BeaconError) -> None:
        self.error = error

    def renew(self) -> None:
        pass

    def call(self, request: wire.AnyRequest) -> wire.Reply:
        assert isinstance(request, wire.OpenStream)
        raise self.error


def opened(error: errors.BeaconError) -> None:
    scope = world.scope_of()
    stream_status = status.StreamStatus(scope, lambda _component, _state: None)
    link = Refusing(error)
    session = store_session.StoreSession(scope, link, stream_status, flush_s=1.0)  # type: ignore[arg-type]
    session.open("configmaps", "c")


def test_another_cluster_is_a_configuration_error() -> None:
    with pytest.raises(errors.ConfigError, match="of cluster a"):
        opened(errors.ForeignClusterError("the ledger is of cluster a"))


@pytest.mark.parametrize(
    "error", [errors.PermanentError("constraint"), wire.ProtocolError("unknown verb"), errors.TransientError("later")]
)
def test_any_other_refusal_is_raised_unchanged(error: errors.BeaconError) -> None:
    with pytest.raises(type(error), match=str(error)) as raised:
        opened(error)

    assert raised.value is error


class Recording:
    """The link to a store that accepts everything."""

    def __init__(self) -> None:
        self.requests: list[wire.AnyRequest] = []
        self.unanswered: list[wire.AnyRequest] = []
        self.answered: list[tuple[wire.AnyRequest, wire.Reply]] = []

    @property
    def pending(self) -> int:
        return len(self.unanswered)

    def renew(self) -> None:
        pass

    def call(self, _: wire.AnyRequest) -> wire.Reply:
        return wire.StreamOpened(place=wire.ApplyResult.APPLIED, session=1, cursor=10, tracked=("u-1", "u-2"))

    def submit(self, request: wire.AnyRequest) -> None:
        self.requests.append(request)
        self.unanswered.append(request)

    def answer(self) -> None:
        self.answered.append((self.unanswered.pop(0), wire.PositionReply(place=wire.ApplyResult.APPLIED)))

    def take(self, _: object) -> list[tuple[wire.AnyRequest, wire.Reply]]:
        taken, self.answered = self.answered, []
        return taken


def opened_session(link: Recording, report: status.Report = lambda *_: None) -> store_session.StoreSession:
    scope = world.scope_of()
    session = store_session.StoreSession(
        scope,
        link,  # type: ignore[arg-type]
        status.StreamStatus(scope, report),
        flush_s=1.0,
        clock=lambda: 0.0,
    )
    session.open("configmaps", "c")
    return session


def see(session: store_session.StoreSession, versions: Iterable[int]) -> None:
    for version in versions:
        metadata = {"namespace": "ns", "name": "a", "annotations": {world.ANNOTATION: "x"}}
        metadata |= {"uid": f"u-{version}", "resourceVersion": str(version)}
        assert session.see(items.line(codec.encode({"type": "ADDED", "object": {"metadata": metadata}})), 0)
        session.advance()


def test_a_store_that_is_behind_gets_a_hundred_observations_at_a_time() -> None:
    link = Recording()
    session = opened_session(link)

    see(session, range(11, 311))
    assert sum(len(one.observations) for one in link.unanswered if isinstance(one, wire.Observe)) == 2
    assert not session.congested
    assert session.observations_read == 300  # so that the loop rests, although nothing is sent

    link.answer()
    link.answer()
    session.advance()
    (second,) = link.unanswered
    assert isinstance(second, wire.Observe)
    assert (second.prev, len(second.observations)) == (12, 100)


def test_reading_stops_when_too_much_waits_for_a_store_that_is_behind() -> None:
    link = Recording()
    session = opened_session(link)

    see(session, range(11, 11 + 2 + 6399))
    found = [session.congested]
    see(session, [6412])
    found.append(session.congested)
    while link.unanswered:
        link.answer()
        session.advance()
    found.append(session.congested)

    assert found == [False, True, False]
    sent = [one for one in link.requests if isinstance(one, wire.Observe)]
    assert [one.prev for one in sent[1:]] == [one.position for one in sent[:-1]]
    assert sent[-1].position == 6412


@pytest.mark.parametrize("uid", ["u-3\0", "u" * 1_000_000], ids=["a NUL", "too long"])
def test_a_uid_that_no_object_can_have_is_not_sent_to_the_store(uid: str) -> None:
    link = Recording()
    reports: list[Any] = []
    session = opened_session(link, lambda _component, state: reports.append(dict(state)))
    metadata = {"namespace": "ns", "name": "odd", "annotations": {world.ANNOTATION: "x"}}

    for version, (kind, each) in enumerate(
        [("DELETED", "u-1"), ("ADDED", uid), ("MODIFIED", uid), ("DELETED", uid), ("DELETED", "u-2")], start=11
    ):
        line = {"type": kind, "object": {"metadata": {**metadata, "uid": each, "resourceVersion": str(version)}}}
        assert session.see(items.line(codec.encode(line)), 0)
    session.flush()

    sent = [request for request in link.requests if isinstance(request, wire.Observe)]
    assert [(one.uid, one.change) for request in sent for one in request.observations] == [
        ("u-1", "deleted"),
        ("u-2", "deleted"),
    ]
    assert sent[-1].position == 15
    assert [state.get("unreadable", 0) for state in reports] == [1, 1, 0]
