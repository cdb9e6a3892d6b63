"""Streams against an API server that sends exactly the lines of the test, however wrong they are."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.integration import watcher_world
from tests.integration.watcher_world import KEY, ON, World, entry

CONFIGMAPS = {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["list", "watch"]}
RESOURCES = {"kind": "APIResourceList", "groupVersion": "v1", "resources": [CONFIGMAPS]}
LIST = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}


def line(kind: str, name: str, version: int, *, accepted: bool = True, **metadata: Any) -> dict[str, Any]:
    known = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"type": kind, "object": {"metadata": {**known, "annotations": ON if accepted else {}, **metadata}}}


def bookmark(version: int) -> dict[str, Any]:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


EXPIRED = {"type": "ERROR", "object": {"message": "too old resource version", "reason": "Expired", "code": 410}}


def added(line: dict[str, Any]) -> bool:
    return line["type"] == "ADDED" and version_of(line) > 0


def raw(line: dict[str, Any] | bytes) -> bytes:
    if isinstance(line, bytes):
        return line
    return line["raw"].encode() if "raw" in line else json.dumps(line).encode()


def version_of(line: dict[str, Any]) -> int:
    text = str(line["object"].get("metadata", {}).get("resourceVersion", "0"))
    return int(text) if text.isdigit() and len(text) < 10 else 0


class Script:
    """What the server says: the items and version of every list, and the lines of each watch in turn."""

    def __init__(self) -> None:
        self.version: int | str = 10
        self.items: list[dict[str, Any]] = []
        self.seen = False  # lists show what lines have added, instead of `later`
        self.later: list[dict[str, Any]] = []
        self.url = ""
        self.watches: list[list[dict[str, Any] | bytes]] = []
        self.first: list[list[dict[str, Any]]] = []  # what the next lists show instead of `items`
        self.odd: bytes | None = None  # what every list is answered with instead, while it is set
        self.odd_lists = 0
        self.lists = 0
        self.positions: list[int] = []
        self.ended = threading.Event()

    def kubeconfig(self, path: Path, **_: Any) -> Path:
        cluster = {"name": "c", "cluster": {"server": self.url}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        users = [{"name": "u", "user": {}}]
        path.write_text(
            json.dumps({"clusters": [cluster], "users": users, "contexts": [context], "current-context": "c"})
        )
        return path

    def move_on(self, lines: list[dict[str, Any] | bytes]) -> None:
        """Make lists consistent with the watch: they have a later version, and contain `later`."""
        versions = [version_of(line) for line in lines if isinstance(line, dict) and "object" in line]
        if isinstance(self.version, int) and versions:
            self.version = max(self.version, *versions) + 10
        if self.seen:
            self.items = [*self.items, *(line["object"] for line in lines if isinstance(line, dict) and added(line))]
        else:
            self.items = self.later


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: ClassVar[Script]

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        asked = urlsplit(self.path)
        query = parse_qs(asked.query)
        if asked.path == "/api/v1":
            self.say(RESOURCES)
        elif asked.path.endswith("/kube-system"):
            self.say({"metadata": {"uid": "cluster"}})
        elif "watch" in query:
            self.watch(int(query["resourceVersion"][0]))
        elif self.script.odd is not None:
            self.say_bytes(self.script.odd)
            self.script.odd_lists += 1
        else:
            whole = query["limit"] != ["1"]
            self.script.lists += whole
            items = self.script.first.pop(0) if whole and self.script.first else self.script.items
            metadata = {"resourceVersion": str(self.script.version)}
            self.say({**LIST, "metadata": metadata, "items": items})

    def say(self, body: dict[str, Any]) -> None:
        self.say_bytes(json.dumps(body).encode())

    def say_bytes(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def watch(self, position: int) -> None:
        self.script.positions.append(position)
        lines = self.script.watches.pop(0) if self.script.watches else []
        self.script.move_on(lines)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = b"".join(raw(line) + b"\n" for line in lines)
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if not self.script.watches:
            self.script.ended.wait(300)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def scripted(
    *watches: list[Any],
    version: int | str = 10,
    entries: list[dict[str, Any]] | None = None,
    handler: type[Handler] = Handler,
) -> Iterator[tuple[Script, World]]:
    """Serve these watches one after another, and then none."""
    script = Script()
    script.version = version
    script.watches = [*watches]
    saying = type("ScriptHandler", (handler,), {"script": script})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), saying) as server:
        server.daemon_threads = True
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        world: Any = World(script, entries or [entry()])  # type: ignore[arg-type]
        try:
            yield script, world
            assert not world.context or not world.context.errors
        finally:
            world.close()
            script.ended.set()
            server.shutdown()
            thread.join()


def test_events_before_an_error_event_are_emitted() -> None:
    lines = [line("ADDED", "a", 11), line("DELETED", "a", 12), EXPIRED]
    with scripted(lines, []) as (script, w):
        w.start()

        received = w.await_received(("created", "a"), ("deleted", "a"))
        watcher_world.await_(lambda: script.lists == 2)
        assert [t.source for t in received] == ["watch", "watch"]


def test_a_line_without_identity_is_got_past_by_a_list() -> None:
    bad = line("ADDED", "bad", 12, uid="")
    with scripted([line("ADDED", "a", 11), bad], [line("ADDED", "b", 34)]) as (script, w):
        script.later = [line("ADDED", "a", 11)["object"]]
        w.start()

        w.await_received(("created", "a"), ("created", "b"))
        assert script.lists == 2
        assert script.positions[:2] == [10, 22]


def test_a_version_that_goes_backwards_is_not_followed() -> None:
    with scripted([line("ADDED", "a", 20), line("ADDED", "b", 15)], [line("ADDED", "c", 31)], version=10) as (
        script,
        w,
    ):
        script.later = [line("ADDED", name, version)["object"] for name, version in (("a", 20), ("b", 25))]
        w.start()

        watcher_world.await_(lambda: len(w.received()) == 3, explain=w.explain)
        assert set(w.received()) == {("created", "a"), ("created", "b"), ("created", "c")}


def test_versions_that_are_not_decimal_refuse_the_scope_in_plain_words() -> None:
    with scripted(version="a1b2") as (_, w):
        w.start()

        assert "decimal" in str(w.await_state("refused")["reason"])


def test_a_watch_goes_on_from_the_last_bookmark_after_a_proper_end() -> None:
    with scripted([line("ADDED", "a", 11), bookmark(40)], [line("ADDED", "b", 41)]) as (script, w):
        w.start()

        w.await_received(("created", "a"), ("created", "b"))
        assert script.lists == 1
        assert script.positions[:2] == [10, 40]


def test_content_that_must_stay_inside_is_never_sent() -> None:
    hidden: dict[str, Any] = {
        "managedFields": [{"manager": "hidden-manager"}],
        "annotations": {KEY: "v", "kubectl.kubernetes.io/last-applied-configuration": "hidden-config", "x": "hidden-x"},
    }
    with scripted([line("ADDED", "a", 11, **hidden)]) as (_, w):
        w.start()

        (received,) = w.await_received(("created", "a"))
        assert received.value == "v"
        assert "hidden" not in received.delivery.data
