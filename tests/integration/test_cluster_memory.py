"""A list of millions of objects costs the client a bounded amount of memory, and is a failure of that list alone."""

import http.server
import json
import subprocess
import sys
import threading
from typing import Any

import pytest

HEAD = b'{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"50"},"items":['
EMPTY = b'{"metadata":{"uid":"","name":"","resourceVersion":""}}'
MIB = 1024 * 1024
# Prints the reason of the failure, and by how many MiB the peak of the resident memory grew.
CLIENT = """
import json, pathlib, sys
from beacon.boundary import tls
from beacon.cluster import connection, credentials, discovery, failures, items, lists
def peak():
    # Not getrusage: its peak begins with that of the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024
configmaps = discovery.ServedResource(group="", version="v1", plural="configmaps", namespaced=True)
api = connection.Connection(lambda: credentials.Access(server=sys.argv[1], context=tls.bare(verify=False)))
before, reason = peak(), ""
try:
    for page in lists.pages(api, configmaps, ""):
        pass
except (failures.ApiRefused, failures.Unreachable, failures.Malformed, failures.Unsuitable) as error:
    reason = f"{type(error).__name__}: {error}"
print(json.dumps({"reason": reason, "grown": peak() - before}))
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    item = b"{}"
    count = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(HEAD) + self.count * (len(self.item) + 1) + 1))
        self.end_headers()
        try:
            self.wfile.write(HEAD)
            left = self.count
            while left > 0:
                some = min(left, 10_000)
                left -= some
                text = b",".join([self.item] * some)
                self.wfile.write(text + (b"," if left else b"]}"))
        except OSError:
            self.close_connection = True  # the client has given up

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def outcome(item: bytes, count: int) -> dict[str, Any]:
    handler = type("ItemsHandler", (Handler,), {"item": item, "count": count})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, f"http://127.0.0.1:{server.server_address[1]}"],
                capture_output=True,
                check=False,
                timeout=120,
            )
        finally:
            server.shutdown()
            thread.join()
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("item", "count", "reason"),
    [
        pytest.param(b"{}", 10_000_000, "TooBig", id="10 million in 30 MB"),
        pytest.param(b"{}", 1_300_000, "Malformed", id="objects within the bound of a page"),
        pytest.param(EMPTY, 290_000, "Malformed", id="objects with empty fields"),
        pytest.param(b"0", 2_000_000, "Malformed", id="numbers within the bound of a page"),
    ],
)
def test_a_list_of_millions_of_objects_costs_bounded_memory(item: bytes, count: int, reason: str) -> None:
    found = outcome(item, count)

    assert found["reason"].partition(":")[0] == reason
    assert found["grown"] < 96
