"""The bus over real sockets: lost replies, servers that die or freeze, temporary refusals."""

import contextlib
import itertools
import selectors
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from beacon import bus, errors, wire
from beacon.bus import bus_server

Answer = Callable[[wire.AnyRequest], wire.Reply | wire.Refused | None]
FOREVER_S = 3600.0  # longer than a test may take
PONG = wire.Pong(state="ready", since_us=1)


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Path(name)


class Serving:
    """A server in a thread, with the replies of the test; None: no reply."""

    def __init__(self, place: Path, answer: Answer = lambda _: PONG, *, ledger: str = "l", settings: str = "s") -> None:
        self.asked: list[wire.AnyRequest] = []
        self.answer = answer
        self._identity = {"ledger": ledger, "settings": settings}
        self._stop = threading.Event()
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(bus.address(place),))

    def __enter__(self) -> "Serving":
        self._thread.start()
        assert self._bound.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self, where: str) -> None:
        with bus_server.BusServer(where) as server:
            self._bound.set()
            while not self._stop.is_set():
                for incoming in server.receive(0.02, limit=512):
                    try:
                        request, ledger = wire.decode_request(incoming.data)
                    except wire.ProtocolError:
                        continue
                    self.asked.append(request)
                    reply = self.answer(request)
                    if ledger not in ("", self._identity["ledger"]):
                        reply = wire.Refused(code=wire.Refusal.REPLACED)
                    if reply is not None:
                        server.reply(incoming, wire.encode_reply(reply, **self._identity))


@pytest.fixture
def client(place: Path) -> Iterator[bus.Client]:
    with bus.Client(bus.address(place), stop=threading.Event(), timeout_s=0.3) as made:
        yield made


def hello(number: int) -> wire.Hello:
    return wire.Hello(process=str(number))


def collect(client: bus.Client, verb: wire.AnyVerb, count: int) -> list[wire.AnyRequest]:
    answered: list[wire.AnyRequest] = []
    while len(answered) < count:
        answered += [request for _, request, _ in client.collect(verb, 1)]
    return answered


def test_a_request_is_answered(place: Path, client: bus.Client) -> None:
    with Serving(place):
        assert client.call(wire.Ping()) == PONG


def test_a_request_waits_for_a_server_that_is_late(place: Path, client: bus.Client) -> None:
    ticket = client.submit(wire.Ping())
    assert client.collect(wire.PING, 0.05) == []

    with Serving(place):
        assert client.collect(wire.PING, 60) == [(ticket, wire.Ping(), PONG)]


def test_a_request_without_answer_is_sent_again(place: Path, client: bus.Client) -> None:
    answers = itertools.chain([None, None], itertools.repeat(PONG))
    with Serving(place, lambda _: next(answers)) as serving:
        assert client.call(wire.Ping()) == PONG
        assert len(serving.asked) >= 3


def test_a_server_that_dies_is_detected_at_once_and_the_next_one_gets_the_unanswered_requests(place: Path) -> None:
    with bus.Client(bus.address(place), stop=threading.Event(), timeout_s=60) as client:
        with Serving(place, lambda _: None) as first:
            client.submit(wire.Ping())
            while not first.asked:
                client.collect(wire.PING, 0.05)

        with Serving(place):
            assert len(collect(client, wire.PING, 1)) == 1


def test_a_temporary_refusal_repeats_the_request_and_all_later_ones_in_order(place: Path, client: bus.Client) -> None:
    refused = {"2": 1}

    def answer(request: wire.AnyRequest) -> wire.Reply | wire.Refused:
        assert isinstance(request, wire.Hello)
        if refused.get(request.process, 0) > 0:
            refused[request.process] -= 1
            return wire.Refused(code=wire.Refusal.FULL)
        return wire.HelloReply(settings={})

    with Serving(place, answer) as serving:
        for number in range(5):
            client.submit(hello(number))
        collect(client, wire.HELLO, 5)

    asked = [request.process for request in serving.asked if isinstance(request, wire.Hello)]
    assert asked[-3:] == ["2", "3", "4"]
    assert asked[:3] == ["0", "1", "2"]


def test_a_permanent_refusal_is_raised(place: Path, client: bus.Client) -> None:
    refused = wire.Refused(code=wire.Refusal.FAILED, message="because")
    with Serving(place, lambda _: refused), pytest.raises(errors.PermanentError, match="because"):
        client.call(wire.Ping())


@pytest.mark.parametrize("code", [wire.Refusal.FOREIGN, wire.Refusal.FAILED, wire.Refusal.MALFORMED])
def test_a_foreign_cluster_differs_from_every_other_refusal(
    place: Path, client: bus.Client, code: wire.Refusal
) -> None:
    refused = wire.Refused(code=code, message="because")
    with Serving(place, lambda _: refused), pytest.raises(errors.PermanentError, match="because") as raised:
        client.call(wire.Ping())

    assert isinstance(raised.value, errors.ForeignClusterError) is (code is wire.Refusal.FOREIGN)


def test_the_window_bounds_the_unanswered_requests(place: Path) -> None:
    with bus.Client(bus.address(place), stop=threading.Event(), window=3) as client:
        for _ in range(3):
            client.submit(wire.Ping())

        assert (client.free_slots, client.pending) == (0, 3)


@pytest.mark.parametrize(
    ("identity", "error"),
    [({"ledger": "other"}, bus.LedgerChanged), ({"settings": "other"}, bus.SettingsChanged)],
)
def test_another_ledger_or_configuration_is_raised_and_unanswered_requests_are_dropped(
    place: Path, client: bus.Client, identity: dict[str, str], error: type[Exception]
) -> None:
    with Serving(place):
        client.call(wire.Ping())

    with Serving(place, **identity), pytest.raises(error):  # type: ignore[arg-type]
        client.call(wire.Ping())

    assert client.pending == 0


def test_another_thread_wakes_a_client_that_waits(client: bus.Client) -> None:
    threading.Timer(0.05, client.wake).start()

    assert client.collect(wire.PING, FOREVER_S) == []


def test_another_thread_ends_a_rest(client: bus.Client) -> None:
    threading.Timer(0.05, client.wake).start()
    client.rest(60.0)  # would exceed the test's time limit
    client.rest(60.0)  # until the wake was read, it ends every rest
    assert client.gather(60.0) == []


def test_waking_a_client_that_is_closed_does_nothing(place: Path) -> None:
    client = bus.Client(bus.address(place), stop=threading.Event())
    client.close()

    client.wake()


def test_another_thread_wakes_a_server_that_waits_and_no_effect_is_left(place: Path) -> None:
    with bus_server.BusServer(bus.address(place)) as server:
        threading.Timer(0.05, server.wake).start()
        assert server.receive(FOREVER_S, limit=1) == []

        caller = threading.Thread(target=_ping_unanswered, args=(place, stop := threading.Event()))
        caller.start()
        try:
            assert len(server.receive(FOREVER_S, limit=1)) == 1
        finally:
            stop.set()
            caller.join()
    server.wake()


def _ping_unanswered(place: Path, stop: threading.Event) -> None:
    """Send a request, also if the connection takes a while, until stopped."""
    with bus.Client(bus.address(place), stop=stop) as client, contextlib.suppress(errors.Stopping):
        client.call(wire.Ping())


def test_a_call_ends_when_the_process_is_to_stop(place: Path) -> None:
    stop = threading.Event()
    with bus.Client(bus.address(place), stop=stop) as client:
        threading.Timer(0.05, stop.set).start()

        with pytest.raises(errors.Stopping):
            client.call(wire.Ping())


def test_a_single_try_gives_up_in_time_and_leaves_nothing_behind(client: bus.Client) -> None:
    with pytest.raises(errors.TransientError, match="did not answer"):
        client.try_call(wire.Ping(), timeout_s=0.05)

    assert client.pending == 0


def test_a_waiting_thread_keeps_writing_its_heartbeat(place: Path) -> None:
    stop = threading.Event()
    left = iter(range(3, 0, -1))

    def beat() -> None:
        if next(left, 0) == 0:
            stop.set()

    with bus.Client(bus.address(place), stop=stop, on_beat=beat) as client, pytest.raises(errors.Stopping):
        client.call(wire.Ping())


def test_only_this_user_may_connect(place: Path) -> None:
    with Serving(place):
        assert stat.S_IMODE((place / "store.sock").stat().st_mode) == 0o600


def test_garbage_does_not_affect_other_clients(place: Path, client: bus.Client) -> None:
    with Serving(place):
        rude: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        rude.connect(bus.address(place))
        for frames in ([b""], [b"x", b"y"], [b"x", b"y", b"z"], [b"\x00" * 12, b"{"]):
            rude.send_multipart(frames)

        assert client.call(wire.Ping()) == PONG
        rude.close(linger=0)


def test_a_client_that_vanished_does_not_hold_up_the_others(place: Path, client: bus.Client) -> None:
    with Serving(place):
        gone = bus.Client(bus.address(place), stop=threading.Event())
        gone.submit(wire.Ping())
        gone.collect(wire.PING, 0.01)
        gone.close()

        assert client.call(wire.Ping(), timeout_s=60) == PONG


def test_many_clients_each_get_their_own_answers(place: Path) -> None:
    def answer(request: wire.AnyRequest) -> wire.Reply:
        assert isinstance(request, wire.Hello)
        return wire.HelloReply(settings={"you": request.process})

    def talk(number: int) -> None:
        with bus.Client(bus.address(place), stop=threading.Event()) as mine:
            for _ in range(20):
                reply = mine.call(hello(number))
                assert isinstance(reply, wire.HelloReply)
                wrong.extend([] if reply.settings == {"you": str(number)} else [number])

    wrong: list[int] = []
    with Serving(place, answer):
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []


def test_a_path_too_long_for_a_socket_is_an_error() -> None:
    with pytest.raises(errors.StartError, match="BEACON_RUN_DIR"):
        bus.address(Path("/") / ("x" * 120))


def test_a_request_that_is_too_large_is_an_error_and_the_others_go_on(place: Path, client: bus.Client) -> None:
    huge = wire.Hello(process="x" * bus.MOST_REQUEST)

    with Serving(place) as serving:
        with pytest.raises(errors.PermanentError, match="hello: a message of"):
            client.call(huge)
        client.call(wire.Ping())

    assert {type(request) for request in serving.asked} == {wire.Ping}


def test_a_message_that_is_too_large_never_reaches_the_store(place: Path, client: bus.Client) -> None:
    stranger: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    with Serving(place) as serving, stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(bus.address(place))
        stranger.send_multipart([b"", bytes(bus.MOST_REQUEST + 1)])
        for _ in range(20):
            client.call(wire.Ping())

        assert {type(request) for request in serving.asked} == {wire.Ping}


def test_a_large_request_and_a_large_reply_that_are_allowed_arrive(place: Path) -> None:
    welcome = wire.HelloReply(settings={"large": "x" * bus.MOST_REQUEST * 2})
    patient = bus.Client(bus.address(place), stop=threading.Event(), timeout_s=FOREVER_S)
    with Serving(place, lambda _: welcome) as serving, patient as client:
        reply = client.call(wire.Hello(process="x" * (bus.MOST_REQUEST - 200)))

    assert reply == welcome
    assert len(serving.asked) == 1


def wait_outside(client: bus.Client, selector: selectors.BaseSelector, timeout_s: float) -> bool:
    """Wait for a client's descriptors, as a loop of the caller does. Return True if it has something to collect."""
    watched = {key.fd for key in selector.get_map().values()}
    if watched != set(client.descriptors):
        for descriptor in watched:
            selector.unregister(descriptor)
        for descriptor in client.descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
    return client.has_input or bool(selector.select(timeout_s)) or client.has_input


def test_a_caller_may_wait_for_the_descriptors_itself(place: Path, client: bus.Client) -> None:
    with Serving(place), selectors.DefaultSelector() as selector:
        client.call(wire.Ping())
        for number in range(300):
            expected = 1 + number % 3  # replies arrive while others are still being sent
            for _ in range(expected):
                client.submit(wire.Ping(), timeout_s=FOREVER_S)
            answered = 0
            while answered < expected:
                assert wait_outside(client, selector, FOREVER_S)  # a change that was missed would hang here
                answered += len(client.collect(wire.PING, 0.0))


def test_the_descriptors_are_others_after_a_reconnection(place: Path) -> None:
    with (
        bus.Client(bus.address(place), stop=threading.Event(), timeout_s=FOREVER_S) as client,
        selectors.DefaultSelector() as selector,
    ):
        with Serving(place, lambda _: None) as first:
            client.submit(wire.Ping())
            while not first.asked:
                client.collect(wire.PING, 0.05)
        with Serving(place):
            answered: list[object] = []
            while not answered:
                wait_outside(client, selector, client.patience_s)
                answered = [*client.collect(wire.PING, 0.0)]

    assert len(answered) == 1


def test_a_wake_shows_on_the_descriptors(place: Path, client: bus.Client) -> None:
    with Serving(place), selectors.DefaultSelector() as selector:
        client.call(wire.Ping())
        waker = threading.Timer(0.05, client.wake)
        waker.start()
        woken: list[int] = []
        while client.descriptors[-1] not in woken:
            wait_outside(client, selector, 0.0)
            woken = [key.fd for key, _ in selector.select(FOREVER_S)]
            if client.descriptors[-1] not in woken:
                client.collect(wire.PING, 0.0)
        waker.join()

        assert client.collect(wire.PING, FOREVER_S) == []


def test_a_reply_that_no_descriptor_shows_any_more_is_still_reported_as_input(place: Path, client: bus.Client) -> None:
    with Serving(place), selectors.DefaultSelector() as selector:
        client.call(wire.Ping())
        client.submit(wire.Ping(), timeout_s=FOREVER_S)
        while not client.has_input:  # each question consumes the change of the descriptor
            wait_outside(client, selector, 0.05)

        assert client.has_input
        assert len(client.collect(wire.PING, 0.0)) == 1
        assert not client.has_input
