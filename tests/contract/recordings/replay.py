"""Replay the recorded requests on the embedded API server, in the same order and at the same resourceVersions.

The recordings leave out what else went on in that cluster (leases, objects made beforehand). `Replay` makes it up: it
creates those objects and lets the resourceVersion move on, so that even resourceVersions and continue tokens must come
out the same. It compares nothing.
"""

import dataclasses
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from beacon.dev.api_server import server

Json = dict[str, Any]

HERE = Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("0*.json"))
AGENT = "python-requests/2.32.5"
# The watch cache of the recorded server began here, before its first object was written.
FIRST_VERSION = 98747
# The seconds for which watches last, instead of the recorded ones: the next value if this machine was too busy.
WATCHES_LAST_S = (1, 5, 20)


class TooSlow(Exception):
    """A watch ended, or its next bookmark was due, before what the recording did meanwhile was done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Got:
    """The embedded server's response to one recorded request."""

    status: int
    headers: dict[str, str]
    body: Any
    lines: list[Json]
    ended: str


def load(name: str) -> list[Json]:
    """Return the exchanges of one file."""
    found: list[Json] = json.loads((HERE / name).read_text())
    return found


class Replay:
    """One pass through all recordings; it stores the responses in `answers`, by file and position."""

    def __init__(self, cluster: server.ApiServer, ca_file: Path, *, watches_last_s: int) -> None:
        self._lasting_s = watches_last_s
        self.answers: dict[tuple[str, int], Got] = {}
        self._server = cluster
        self._http = urllib3.PoolManager(ca_certs=str(ca_file), maxsize=16, retries=False)
        self._name = ""
        self._exchanges: list[Json] = []

    def run(self) -> None:
        """Replay every file. Raises TooSlow."""
        plays = [self._discovery, self._errors, self._lists, self._watches, self._custom, self._compaction]
        for name, play in zip(FILES, plays, strict=True):
            self._name, self._exchanges = name, load(name)
            play()

    def _discovery(self) -> None:
        self._server.define("things", "bench.example.com", "Thing")
        self._play(*range(9))

    def _errors(self) -> None:
        # Objects of another namespace, which a later list of all namespaces contains.
        self._server.namespace("bench")
        names = {108750: "b-000001", 108751: "b-000003", 108753: "b-000004", 108759: "b-000000", 108760: "b-000002"}
        wanted = load("03-lists.json")[8]["response"]["body"]["items"]
        assert {item["metadata"]["resourceVersion"]: item["metadata"]["name"] for item in wanted} == {
            str(version): name for version, name in names.items()
        }
        for version, name in names.items():
            labels, annotations = {"app": "web", "bench": "load"}, {"bakerapps.net/maas": "true"}
            metadata = {"name": name, "labels": labels, "annotations": annotations}
            self._create("bench", version, {"metadata": metadata, "data": {"payload": "x"}}, agent="")
        self._play(*range(20))

    def _lists(self) -> None:
        for number in range(7):
            labels = {"parity": "odd" if number % 2 else "even"}
            annotated = {"annotations": {"bakerapps.net.maas": "true"}} if number % 2 else {}
            metadata = {"name": f"l{number}", "labels": labels, **annotated}
            self._create("rec", 110910 + number, {"metadata": metadata, "data": {"k": "v"}})
        self._play(*range(12))

    def _watches(self) -> None:
        self._play(0)
        self._tune(bookmark_interval_s=60.0 * self._lasting_s, bookmark_before_timeout_s=0.3 * self._lasting_s)
        self._play_under(9, lambda: self._play(*range(1, 9)))
        self._play(10)
        self._play_under(13, lambda: self._play(11, 12))
        # These short watches end before their first bookmark.
        self._tune(bookmark_before_timeout_s=float(self._lasting_s))
        self._advance(110929)
        self._together(*range(14, 20))
        self._tune(bookmark_interval_s=0.4 * self._lasting_s, bookmark_before_timeout_s=0.3 * self._lasting_s)
        self._advance(110938)
        self._play_under(20, lambda: None, on_bookmark=lambda: self._advance(110946))
        lines = self.answers[self._name, 20].lines
        versions = {line["object"]["metadata"]["resourceVersion"] for line in lines if line["type"] == "BOOKMARK"}
        if len(versions) < 2:  # the second bookmark was due before the first one was sent
            raise TooSlow

    def _custom(self) -> None:
        self._play(0, 1, 2, 3, 4)
        self._play_under(6, lambda: self._play(5))
        self._play(7)

    def _compaction(self) -> None:
        self._play(0)
        for number in range(130):
            if number == 60:
                self._server.cluster.state.tick()
            body = {"metadata": {"annotations": {"n": str(number)}}}
            self._send("PATCH", "/api/v1/namespaces/rec/configmaps/l0", body, "application/merge-patch+json")
        self._play(1, 2)
        self._together(3, 4)

    def _tune(self, **settings: float) -> None:
        cluster = self._server.cluster
        cluster.settings = dataclasses.replace(cluster.settings, **settings)  # type: ignore[arg-type]

    def _advance(self, version: int) -> None:
        while self._server.version < version:
            self._server.cluster.state.tick()

    def _create(self, namespace: str, version: int, body: Json, *, agent: str = AGENT) -> None:
        self._advance(version - 1)
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._send("POST", path, {"kind": "ConfigMap", "apiVersion": "v1", **body}, "application/json", agent=agent)

    def _play(self, *numbers: int) -> None:
        for number in numbers:
            exchange = self._exchanges[number]
            self._catch_up(exchange)
            self.answers[self._name, number] = self._ask(exchange)

    def _together(self, *numbers: int) -> None:
        threads = [threading.Thread(target=self._play, args=[number]) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _play_under(
        self, number: int, meanwhile: Callable[[], None], *, on_bookmark: Callable[[], None] = lambda: None
    ) -> None:
        """Open a watch, execute a step, and read the watch to its end."""
        opened = threading.Event()
        exchange = self._exchanges[number]

        def watch() -> None:
            self.answers[self._name, number] = self._ask(exchange, opened=opened, on_bookmark=on_bookmark)

        thread = threading.Thread(target=watch)
        thread.start()
        opened.wait()
        meanwhile()
        in_time = thread.is_alive()
        thread.join()
        if not in_time:
            raise TooSlow

    def _catch_up(self, exchange: Json) -> None:
        """Advance the resourceVersion to that of the recorded response."""
        body = exchange["response"].get("body")
        version = int((body.get("metadata") or {}).get("resourceVersion") or 0) if isinstance(body, dict) else 0
        if exchange["request"]["method"] == "GET":
            listed = version if isinstance(body, dict) and "items" in body else 0
            self._advance(listed)
        elif version:
            self._advance(version - 1)

    def _ask(
        self,
        exchange: Json,
        *,
        opened: threading.Event | None = None,
        on_bookmark: Callable[[], None] = lambda: None,
    ) -> Got:
        request = exchange["request"]
        path = re.sub(r"timeoutSeconds=\d+", f"timeoutSeconds={self._lasting_s}", request["path"])
        headers = {"Accept": request["accept"], "User-Agent": AGENT}
        tokens = {"admin": self._server.token, "other": "wrong", None: self._server.token}
        if (auth := request.get("auth")) != "none":
            headers["Authorization"] = f"Bearer {tokens[auth]}"
        if "content_type" in request:
            headers["Content-Type"] = request["content_type"]
        body = json.dumps(request["body"]) if "body" in request else None
        response = self._http.request(
            request["method"], self._server.url + path, headers=headers, body=body, preload_content=False, timeout=100
        )
        if opened:
            opened.set()
        lines = self._lines(response, on_bookmark) if "lines" in exchange["response"] and response.status == 200 else []
        raw = response.read()
        response.release_conn()
        kept = {name.lower(): value for name, value in response.headers.items()}
        ended = "clean end of stream" if response.status == 200 else "no stream"
        return Got(status=response.status, headers=kept, body=_decoded(raw, kept), lines=lines, ended=ended)

    def _lines(self, response: urllib3.BaseHTTPResponse, on_bookmark: Callable[[], None]) -> list[Json]:
        """Read a watch to its end. Raises if the connection is cut."""
        lines, rest = [], b""
        for piece in response.stream():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                lines.append(json.loads(line))
                if lines[-1]["type"] == "BOOKMARK":
                    on_bookmark()
        assert rest == b""
        return lines

    def _send(self, method: str, path: str, body: Json, content_type: str, *, agent: str = AGENT) -> None:
        headers = {"Authorization": f"Bearer {self._server.token}", "Content-Type": content_type}
        headers["User-Agent"] = agent or urllib3.util.SKIP_HEADER
        response = self._http.request(method, self._server.url + path, headers=headers, body=json.dumps(body))
        assert response.status in {200, 201}, response.data


def _decoded(raw: bytes, headers: dict[str, str]) -> Any:
    if not raw:
        return None
    return json.loads(raw) if headers["content-type"].startswith("application/json") else raw.decode()
