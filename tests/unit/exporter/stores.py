"""A stand-in for the store on a real bus."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beacon import bus, wire
from beacon.bus import bus_server
from tests.unit.exporter import views


class Store:
    """Answers ping, hello and inspect from its attributes; tests change them while it serves."""

    def __init__(self) -> None:
        self.state = "ready"
        self.ledger = "ledger"
        self.settings = "settings"
        self.statistics = views.statistics()
        self.tree: dict[str, object] = {}
        self.asked: list[str] = []  # the verbs of all requests

    def answer(self, request: wire.AnyRequest) -> wire.Reply | wire.Refused:
        self.asked.append(wire.verb_of(request))
        if isinstance(request, wire.Ping):
            return wire.Pong(state=self.state, since_us=1)
        if self.state != "ready":
            return wire.Refused(code=wire.Refusal.STARTING, message=self.state)
        if isinstance(request, wire.Hello):
            return wire.HelloReply(settings=self.tree)
        return self.statistics


@contextmanager
def serving(run_dir: Path, store: Store | None = None) -> Iterator[Store]:
    store = store or Store()
    stop = threading.Event()

    def serve() -> None:
        with bus_server.BusServer(bus.address(run_dir)) as server:
            while not stop.is_set():
                for incoming in server.receive(0.02, limit=10):
                    request, _ = wire.decode_request(incoming.data)
                    reply = store.answer(request)
                    server.reply(incoming, wire.encode_reply(reply, ledger=store.ledger, settings=store.settings))

    thread = threading.Thread(target=serve)
    thread.start()
    yield store
    stop.set()
    thread.join()
