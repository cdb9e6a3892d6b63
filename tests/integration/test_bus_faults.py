"""The bus under all faults: order is kept, nothing is lost, and a fault affects only its own request."""

import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import bus, errors, wire
from beacon.bus import bus_server

FOREVER_S = 3600.0  # longer than a test may take
PONG = wire.Pong(state="ready", since_us=1)
FAILED = wire.Refused(code=wire.Refusal.FAILED, message="because")
FULL = wire.Refused(code=wire.Refusal.FULL)


@pytest.fixture
def where() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield bus.address(Path(name))


@pytest.fixture
def server(where: str) -> Iterator[bus_server.BusServer]:
    with bus_server.BusServer(where) as bound:
        yield bound


@pytest.fixture
def client(where: str) -> Iterator[bus.Client]:
    with bus.Client(where, stop=threading.Event(), timeout_s=30) as made:
        yield made


def named(number: int) -> wire.Hello:
    return wire.Hello(process=str(number))


def name_of(incoming: bus_server.Incoming) -> int:
    request, _ = wire.decode_request(incoming.data)
    assert isinstance(request, wire.Hello)
    return int(request.process)


def arrivals(server: bus_server.BusServer, client: bus.Client, count: int) -> list[bus_server.Incoming]:
    """Return the next requests without answering them, while the client runs."""
    arrived: list[bus_server.Incoming] = []
    deadline = time.monotonic() + 100
    while len(arrived) < count and time.monotonic() < deadline:
        assert client.collect(wire.HELLO, 0.01) == []
        arrived += server.receive(0.01, limit=count - len(arrived))
    assert len(arrived) == count
    return arrived


def answer(
    server: bus_server.BusServer, incoming: bus_server.Incoming, reply: wire.Reply | wire.Refused, **identity: str
) -> bool:
    return server.reply(incoming, wire.encode_reply(reply, **identity))


def welcome(incoming: bus_server.Incoming) -> wire.HelloReply:
    return wire.HelloReply(settings={"name": name_of(incoming)})


class Answering:
    """Replies in a thread, so that the client can wait."""

    def __init__(self, server: bus_server.BusServer, decide: object) -> None:
        self._server = server
        self._decide = decide
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.served: list[int] = []

    def __enter__(self) -> "Answering":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            batch = self._server.receive(0.02, limit=512)
            for incoming, reply in self._decide(self, batch):  # type: ignore[operator]
                answer(self._server, incoming, reply)


def test_a_refusal_of_one_request_is_not_raised_for_another(server: bus_server.BusServer, client: bus.Client) -> None:
    old = client.submit(named(1))
    (refused,) = arrivals(server, client, 1)

    def decide(_: Answering, batch: list[bus_server.Incoming]) -> list[tuple[bus_server.Incoming, object]]:
        before = [(refused, FAILED)] if batch else []
        return [*before, *((incoming, welcome(incoming)) for incoming in batch)]

    with Answering(server, decide):
        assert client.call(named(2)) == wire.HelloReply(settings={"name": 2})

    with pytest.raises(errors.PermanentError, match="because"):
        client.collect(wire.HELLO, 60)
    assert old not in [ticket for ticket, _, _ in client.collect(wire.HELLO, 0)]
    assert client.pending == 0


def test_replies_that_arrived_before_a_refusal_are_returned_first(
    server: bus_server.BusServer, client: bus.Client
) -> None:
    tickets = [client.submit(named(number)) for number in range(3)]
    zero, one, two = arrivals(server, client, 3)
    for incoming, reply in ((zero, welcome(zero)), (one, FAILED), (two, welcome(two))):
        answer(server, incoming, reply)
    time.sleep(0.05)  # so that all three have arrived; the result is the same if they have not

    first = client.collect(wire.HELLO, 60)
    with pytest.raises(errors.PermanentError, match="because"):
        client.collect(wire.HELLO, 60)
    last = client.collect(wire.HELLO, 60)

    assert [ticket for ticket, _, _ in first + last] == [tickets[0], tickets[2]]


def test_an_invalid_reply_is_raised_and_the_next_request_is_served(
    server: bus_server.BusServer, client: bus.Client
) -> None:
    for garbage in (b"", b"\xff\x00", b"[]", b'{"v": 2}', b'{"v": 1, "body": {"state": 7}}', b'{"v": 1, "refused": 3}'):
        client.submit(wire.Ping())
        (incoming,) = arrivals(server, client, 1)
        server.reply(incoming, garbage)

        with pytest.raises(wire.ProtocolError):
            client.collect(wire.PING, 60)
        assert client.pending == 0

    client.submit(wire.Ping())
    (incoming,) = arrivals(server, client, 1)
    answer(server, incoming, PONG)
    assert [reply for _, _, reply in client.collect(wire.PING, 60)] == [PONG]


def test_replies_without_a_request_are_ignored(server: bus_server.BusServer, client: bus.Client) -> None:
    client.submit(wire.Ping())
    (incoming,) = arrivals(server, client, 1)
    for frame in (b"", b"x", b"\xff" * 12, b"\0" * 12, incoming.frame[:8] + b"\x09\0\0\0"):
        server.reply(bus_server.Incoming(peer=incoming.peer, frame=frame, data=b""), b"nonsense")
    answer(server, incoming, PONG)

    assert [reply for _, _, reply in client.collect(wire.PING, 60)] == [PONG]


def test_a_reply_to_an_earlier_transmission_is_ignored(server: bus_server.BusServer, client: bus.Client) -> None:
    """A refused request is not treated as applied because of the reply to a later one."""
    first, second = client.submit(named(1)), client.submit(named(2))
    one, two = arrivals(server, client, 2)
    answer(server, one, FULL)
    answer(server, two, welcome(two))
    again = arrivals(server, client, 2)

    assert [name_of(incoming) for incoming in again] == [1, 2]
    for incoming in again:
        answer(server, incoming, welcome(incoming))
    answered: list[int] = []
    while len(answered) < 2:
        answered += [ticket for ticket, _, _ in client.collect(wire.HELLO, 60)]
    assert answered == [first, second]


def test_a_request_submitted_during_a_pause_waits_for_its_turn(
    server: bus_server.BusServer, client: bus.Client
) -> None:
    client.submit(named(1))
    (one,) = arrivals(server, client, 1)
    answer(server, one, FULL)
    while not client._unsent:  # the refusal has not arrived yet
        assert client.collect(wire.HELLO, 0.02) == []
    client.submit(named(2))

    assert [name_of(incoming) for incoming in arrivals(server, client, 2)] == [1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_pipelined_requests_take_effect_in_order_whatever_is_lost_or_refused(where: str, seed: int) -> None:
    """A store that applies number n only after n - 1, like positions: none is skipped, and none blocks."""
    chance = random.Random(seed)
    applied: list[int] = []

    def decide(_: Answering, batch: list[bus_server.Incoming]) -> Iterator[tuple[bus_server.Incoming, object]]:
        full = chance.random() < 0.2
        for incoming in batch:
            number = name_of(incoming)
            if full:
                yield incoming, FULL
                continue
            if number == len(applied):
                applied.append(number)
            fits = number < len(applied)
            if chance.random() > 0.02:
                yield incoming, wire.HelloReply(settings={"fits": fits})

    with (
        bus_server.BusServer(where) as server,
        bus.Client(where, stop=threading.Event(), timeout_s=0.4, window=16) as client,
        Answering(server, decide),
    ):
        sent = 0
        done: list[tuple[int, wire.Hello, wire.HelloReply]] = []
        while len(done) < 300:
            while client.free_slots and sent < 300:
                client.submit(named(sent))
                sent += 1
            done += client.collect(wire.HELLO, 0.5)

    assert applied == list(range(300))
    # An answer that says "not yet" belongs to a transmission before which one was lost: only those of the last count.
    assert all(reply.settings["fits"] for _, _, reply in done)


def test_an_abandoned_call_leaves_no_state(where: str) -> None:
    stop = threading.Event()
    with bus.Client(where, stop=stop, window=1) as client:
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(errors.Stopping):
            client.call(wire.Ping())

        assert (client.pending, client.free_slots) == (0, 1)


def test_after_the_stop_replies_to_submitted_requests_can_still_be_collected(
    where: str, server: bus_server.BusServer
) -> None:
    stop = threading.Event()
    stop.set()
    with bus.Client(where, stop=stop) as client:
        client.submit(named(1))
        (incoming,) = arrivals(server, client, 1)
        answer(server, incoming, welcome(incoming))

        assert len(client.collect(wire.HELLO, 60)) == 1


def test_a_call_does_not_swallow_a_wake(server: bus_server.BusServer, client: bus.Client) -> None:
    client.wake()
    with Answering(server, lambda _, batch: [(incoming, welcome(incoming)) for incoming in batch]):
        client.call(named(1))

    assert client.collect(wire.HELLO, FOREVER_S) == []


def test_a_frozen_server_gets_the_request_again_and_answers_it_once(where: str) -> None:
    with bus_server.BusServer(where) as server, bus.Client(where, stop=threading.Event(), timeout_s=0.3) as client:
        client.submit(named(1))
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:  # the server does not even receive
            assert client.collect(wire.HELLO, 0.1) == []
        late = arrivals(server, client, 2)
        while more := server.receive(1.0, limit=100):  # all that was sent; the client sends nothing meanwhile
            late += more

        given = [answer(server, incoming, welcome(incoming)) for incoming in late]

        assert len(client.collect(wire.HELLO, 60)) == 1
        assert given[-1]
        assert client.collect(wire.HELLO, 0.2) == []


def test_a_server_that_restarts_is_found_at_once_by_all_clients(where: str) -> None:
    clients = [bus.Client(where, stop=threading.Event(), timeout_s=FOREVER_S) for _ in range(5)]
    with bus_server.BusServer(where) as server:
        for client in clients:
            client.submit(named(1))
            client.submit(named(2))
            arrivals(server, client, 2)

    with bus_server.BusServer(where) as server:
        for client in clients:
            again = arrivals(server, client, 2)
            assert sorted(name_of(incoming) for incoming in again) == [1, 2]
    for client in clients:
        client.close()


def test_a_client_that_vanished_with_replies_pending_costs_the_server_nothing(
    where: str, server: bus_server.BusServer
) -> None:
    gone = bus.Client(where, stop=threading.Event(), window=500)
    for number in range(500):
        gone.submit(named(number))
    waiting = arrivals(server, gone, 500)
    gone.close()

    for incoming in waiting:
        for _ in range(20):
            answer(server, incoming, welcome(incoming))  # does not block


def test_a_changed_ledger_is_raised_once(server: bus_server.BusServer, client: bus.Client) -> None:
    for ledger in ("one", "two"):
        client.submit(named(1))
        client.submit(named(2))
        first, _ = arrivals(server, client, 2)
        answer(server, first, welcome(first), ledger=ledger)
        if ledger == "two":
            with pytest.raises(bus.LedgerChanged):
                client.collect(wire.HELLO, 60)
        else:
            assert len(client.collect(wire.HELLO, 60)) == 1
            client._forget_all()

    assert (client.ledger, client.pending) == ("two", 0)
    client.submit(named(3))
    (incoming,) = arrivals(server, client, 1)
    assert wire.decode_request(incoming.data)[1] == "two"


def test_the_reply_of_a_starting_store_does_not_change_the_ledger(
    server: bus_server.BusServer, client: bus.Client
) -> None:
    client.submit(named(1))
    (incoming,) = arrivals(server, client, 1)
    answer(server, incoming, welcome(incoming), ledger="one", settings="s")
    client.collect(wire.HELLO, 60)

    client.submit(named(2))
    (incoming,) = arrivals(server, client, 1)
    answer(server, incoming, wire.Refused(code=wire.Refusal.STARTING))
    (incoming,) = arrivals(server, client, 1)
    answer(server, incoming, welcome(incoming), ledger="one", settings="s")

    assert len(client.collect(wire.HELLO, 60)) == 1
    assert client.ledger == "one"


@pytest.mark.parametrize("code", [wire.Refusal.FULL, wire.Refusal.STORAGE, wire.Refusal.STARTING])
def test_a_single_try_does_not_wait_for_ever_for_a_store_that_refuses(
    server: bus_server.BusServer, client: bus.Client, code: wire.Refusal
) -> None:
    refused = wire.Refused(code=code)
    with (
        Answering(server, lambda _, batch: [(incoming, refused) for incoming in batch]),
        pytest.raises(errors.TransientError),
    ):
        client.try_call(wire.Ping(), timeout_s=0.3)

    assert client.pending == 0


def test_a_message_of_a_megabyte_is_transmitted(server: bus_server.BusServer, client: bus.Client) -> None:
    with Answering(
        server, lambda _, batch: [(each, wire.HelloReply(settings={"long": "y" * 1_000_000})) for each in batch]
    ):
        reply = client.call(wire.Hello(process="x" * 1_000_000))

    assert isinstance(reply, wire.HelloReply)
    assert len(reply.settings["long"]) == 1_000_000


def test_an_address_that_cannot_be_bound_is_an_error() -> None:
    with pytest.raises(errors.StartError, match="can't listen"):
        bus_server.BusServer("ipc:///nowhere/at/all/store.sock")
