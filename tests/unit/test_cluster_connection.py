"""Responses that are endless, compressed or built to break the parser fail one request, and nothing else."""

import contextlib
import gzip
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from beacon import codec
from beacon.cluster import connection, credentials, failures

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(answer: Answer, *, read: bool = True) -> Iterator[str]:
    """Read each connection's first request, unless `answer` does, and let `answer` write whatever it wants."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError), listener.accept()[0] as client:
                    client.settimeout(20)
                    with contextlib.suppress(OSError):
                        if read:
                            client.recv(65536)
                        answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def connected(directory: Path, url: str) -> connection.Connection:
    path = directory / "kubeconfig"
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    clusters, users = [{"name": "c", "cluster": {"server": url}}], [{"name": "u", "user": {}}]
    content = {"clusters": clusters, "users": users, "contexts": [context], "current-context": "c"}
    path.write_bytes(codec.encode(content))
    return connection.Connection(credentials.source({"KUBECONFIG": str(path)}, connections=1), connect_s=60, read_s=60)


def peak_kb() -> int:
    """Return the most memory that this process has had; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(next(text for text in status.splitlines() if text.startswith("VmHWM")).split()[1])


def whole(data: bytes) -> Answer:
    return lambda client: client.sendall(data)


def endless(head: bytes) -> Answer:
    """Send a body until the other side has had enough, at most 300 MB."""

    def answer(client: socket.socket) -> None:
        client.sendall(head)
        for _ in range(300):
            client.sendall(b" " * 1_000_000)

    return answer


def bomb(client: socket.socket) -> None:
    """Answer with 0.3 MB that unpack to 300."""
    packer = zlib.compressobj(wbits=31)
    packed = b"".join(packer.compress(b" " * 1_000_000) for _ in range(300)) + packer.flush()
    client.sendall(OK + b"Content-Encoding: gzip\r\n\r\n" + packed)


OK = b"HTTP/1.1 200 OK\r\n"
ODD_HEADS = [
    OK + b"Content-Type: multipart/x; boundary*=a; boundary*0=b\r\nContent-Length: 2\r\n\r\n{}",
    OK + b"Content-Type: multipart/x; boundary*0*=\xff''%zz; boundary*1=b\r\nContent-Length: 2\r\n\r\n{}",
    OK + b"Content-Type: text/plain; charset*=\0''x\r\nContent-Length: 2\r\n\r\n{}",
    OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    OK + b"Content-Length: -1\r\n\r\n{}",
    OK + b"Content-Length: 2, 3\r\n\r\n{}",
    OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nxx\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxx",
    OK + b"X: y\r\n" * 300 + b"\r\n",
    OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    OK + b"\xff\xfe: \0\r\n\r\n",
    b"HTTP/1.1 2_00 OK\r\n\r\n",
    b"HTTP/1.1 999999999999 OK\r\n\r\n",
    b"HTTP/9 200\r\n\r\n",
    b"\xff" * 100,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 401 No\r\nContent-Type: multipart/x; boundary*=a; boundary*0=b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://[::\r\nContent-Length: 0\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("data", ODD_HEADS, ids=range(len(ODD_HEADS)))
def test_whatever_reading_an_answer_raises_is_an_error_of_that_request(tmp_path: Path, data: bytes) -> None:
    with serving(whole(data)) as url, contextlib.suppress(failures.Unreachable, failures.ApiRefused, failures.TooBig):
        connected(tmp_path, url).get("/api/v1")


def test_a_head_that_the_library_trips_over_is_no_missing_token(tmp_path: Path) -> None:
    with serving(whole(ODD_HEADS[0])) as url, pytest.raises(failures.Unreachable, match="does not answer"):
        connected(tmp_path, url).get("/api/v1")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP, identity"])
def test_a_response_in_a_coding_that_was_not_requested_is_refused(tmp_path: Path, encoding: str) -> None:
    body = gzip.compress(b" " * 1_000_000)
    head = OK + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    with serving(whole(head + body)) as url, pytest.raises(failures.Broken, match="compressed"):
        connected(tmp_path, url).get("/api/v1")


def test_no_coding_is_requested(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def answer(client: socket.socket) -> None:
        client.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as client:
                asked.append(client.recv(65536))
                answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        connected(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}").get("/api/v1")
        thread.join()

    assert b"accept-encoding: identity\r\n" in asked[0].lower()


def test_an_answer_without_an_end_is_left(tmp_path: Path) -> None:
    with serving(endless(OK + b"\r\n")) as url, pytest.raises(failures.TooBig):
        connected(tmp_path, url).get("/api/v1")


def test_of_a_refusal_without_an_end_the_status_counts(tmp_path: Path) -> None:
    answer = endless(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n")

    with serving(answer) as url, pytest.raises(failures.ApiRefused) as caught:
        connected(tmp_path, url).get("/api/v1")

    assert (caught.value.status, caught.value.delay_s) == (503, 7.0)


SPENT = """
import sys
from pathlib import Path
from beacon.cluster import failures
from tests.unit import test_cluster_connection as tests
api = tests.connected(Path(sys.argv[1]), sys.argv[2])
before = tests.peak_kb()
for _ in range(3):
    try:
        api.get("/api/v1")
    except (failures.ApiRefused, failures.Malformed, failures.Broken):
        pass
print(tests.peak_kb() - before)
"""


@pytest.mark.parametrize(
    "answer",
    [
        endless(OK + b"\r\n"),
        endless(b"HTTP/1.1 500 No\r\n\r\n"),
        pytest.param(bomb, marks=pytest.mark.slow),
    ],
    ids=["a list", "a refusal", "a bomb"],
)
def test_answers_of_300_mb_cost_little_memory(tmp_path: Path, answer: Answer) -> None:
    with serving(answer) as url:
        command = [sys.executable, "-c", SPENT, str(tmp_path), url]
        spent_kb = int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)

    assert spent_kb < 30_000


LISTED = """
import sys
from pathlib import Path
from beacon.cluster import discovery, lists
from tests.unit import test_cluster_connection as tests
api = tests.connected(Path(sys.argv[1]), sys.argv[2])
configmaps = discovery.ServedResource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")
before = tests.peak_kb()
count = sum(len(page.items) for page in lists.pages(api, configmaps, ""))
print(count, tests.peak_kb() - before)
"""
BIG = 200


def listing_of_big_objects(client: socket.socket) -> None:
    """Answer as a server of 200 objects with foreign annotations of 250 KB each: 50 MB, if asked for in one page."""
    query = parse_qs(urlsplit(client.recv(65536).split()[1].decode()).query)
    begin, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
    end = min(begin + limit, BIG)
    rest = b"%d" % end if end < BIG else b""
    head = b'{"kind":"ConfigMapList","metadata":{"resourceVersion":"9","continue":"%b"},"items":[' % rest
    client.sendall(OK + b"Connection: close\r\n\r\n" + head)
    for number in range(begin, end):
        known = b'{"metadata":{"uid":"u%d","name":"n","resourceVersion":"3","annotations":{"foreign":"' % number
        client.sendall((b"," if number > begin else b"") + known + b"x" * 250_000 + b'"}}}')
    client.sendall(b"]}")


def test_a_page_of_big_objects_costs_little_memory(tmp_path: Path) -> None:
    with serving(listing_of_big_objects, read=False) as url:
        command = [sys.executable, "-c", LISTED, str(tmp_path), url]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    count, spent_kb = map(int, said.split())
    assert count == BIG
    assert spent_kb < 30_000
