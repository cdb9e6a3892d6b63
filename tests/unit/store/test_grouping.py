"""Which requests wait for company, so that they share a commit."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

from beacon import wire
from beacon.bus import bus_server
from beacon.domain import model
from beacon.store.server import daemon, service
from tests.unit.notifier import stores
from tests.unit.store import world


@dataclass
class PreparedServer:
    """Passes prepared requests on, one for each call, and records how long the store was ready to wait for them."""

    prepared: list[wire.AnyRequest | None] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def receive(self, timeout_s: float, **_: object) -> list[bus_server.Incoming]:
        self.waits.append(timeout_s)
        request = self.prepared.pop(0) if self.prepared else None
        if request is None:
            return []
        return [bus_server.Incoming(peer=b"p", frame=b"f", data=wire.encode_request(request, ledger="l"))]

    def reply(self, *_: object) -> bool:
        return True


@dataclass
class RecordedService:
    """Records which requests were processed in one transaction."""

    ledger_id: str = "l"
    digest: str = "d"
    batches: list[list[str]] = field(default_factory=list)
    claimed: wire.Claimed | None = None  # the answer to the first request of each batch

    def longest_wait_s(self, longest_s: float) -> float:
        return longest_s

    def catch_up(self) -> None:
        pass

    def process(self, batch: list[service.QueuedRequest]) -> list[Any]:
        self.batches.append([wire.verb_of(one.request) for one in batch])
        return [(batch[0].sender, self.claimed)] if batch and self.claimed else []


class _Clock:
    """A clock that each look moves by a tenth of a millisecond."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.0001
        return self.now


OBSERVED = wire.Observe(
    scope=world.scope_of().id,
    session=1,
    epoch=1,
    prev=1,
    position=2,
    tracked_version=1,
    fingerprint="f",
    api_version="v1",
    observations=(),
)


def settling(count: int) -> wire.Claim:
    outcomes = tuple(
        model.Outcome(delivery=number, result=model.DeliveryResult.DELIVERED, generation=0, attempt=1)
        for number in range(1, count + 1)
    )
    return wire.Claim(endpoint="e", session="n", number=1, seen=0, want=0, wait_s=0.0, settlements=outcomes, held=())


def run(
    *rounds: list[wire.AnyRequest | None], pause_s: float = 0.0, claimed: wire.Claimed | None = None
) -> tuple[PreparedServer, RecordedService]:
    server, served, clock = PreparedServer(), RecordedService(claimed=claimed), _Clock()
    one = daemon.Daemon(
        cast("bus_server.BusServer", server),
        cast("service.StoreService", served),
        service.ServiceListener(),
        clock=clock,
    )
    for arriving in rounds:
        server.prepared = arriving
        one.step(0.5)
        clock.now += pause_s
    return server, served


def test_a_settlement_shares_the_commit_of_the_next_observation() -> None:
    _, served = run([OBSERVED], [settling(1), OBSERVED])
    assert served.batches == [["observe"], ["claim", "observe"]]


def test_a_settlement_waits_no_longer_than_some_milliseconds() -> None:
    server, served = run([OBSERVED], [settling(1), None])
    assert served.batches == [["observe"], ["claim"]]
    assert sum(server.waits[2:]) > 0
    assert max(server.waits[2:]) <= 0.01


def test_many_settlements_do_not_wait() -> None:
    server, served = run([OBSERVED], [settling(16), OBSERVED])
    assert served.batches == [["observe"], ["claim"]]
    assert len(server.waits) == 2


def test_settlements_of_several_endpoints_share_the_commit_of_the_next_observation() -> None:
    _, served = run([OBSERVED], [settling(9), replace(settling(9), endpoint="other"), OBSERVED])
    assert served.batches == [["observe"], ["claim", "claim", "observe"]]


def test_many_settlements_of_another_endpoint_end_the_wait() -> None:
    _, served = run([OBSERVED], [settling(1), replace(settling(16), endpoint="other"), OBSERVED])
    assert served.batches == [["observe"], ["claim", "claim"]]


def test_another_claim_of_the_same_endpoint_ends_the_wait() -> None:
    _, served = run([OBSERVED], [settling(1), settling(1), OBSERVED])
    assert served.batches == [["observe"], ["claim", "claim"]]


def test_a_claim_does_not_wait_while_deliveries_wait_for_it() -> None:
    changed = replace(OBSERVED, observations=(world.seen("a", 2),))
    _, served = run([changed], [settling(1), changed])
    assert served.batches == [["observe"], ["claim"]]

    for backlog, batches in ((1, [["observe"], ["claim"]]), (0, [["observe"], ["claim", "observe"]])):
        claimed = wire.Claimed(number=1, deliveries=(stores.delivery(1),), backlog=backlog)
        _, served = run([changed], [settling(1), changed], claimed=claimed)
        assert served.batches == batches


def test_without_observations_no_settlement_waits() -> None:
    _, served = run([settling(1), OBSERVED])
    assert served.batches == [["claim"]]
    for earlier in (settling(16), replace(settling(0), want=10, wait_s=5.0)):
        _, served = run([earlier], [settling(1), OBSERVED])
        assert served.batches == [["claim"], ["claim"]]
    _, served = run([OBSERVED], [settling(1), OBSERVED], pause_s=0.03)
    assert served.batches == [["observe"], ["claim"]]
