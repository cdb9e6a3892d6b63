"""Create objects through the API, in a separate process: `python -m tests.bench.writing --kubeconfig FILE ...`.

It sends a POST for each object over persistent connections, with the kubeconfig's credentials. It prints when each
request was sent and when its response arrived, in nanoseconds since 1970.
"""

import argparse
import itertools
import sys
import threading
import time
from pathlib import Path
from typing import Any

from beacon import codec
from beacon.cluster import credentials, library

_PATIENCE_S = 30.0
Json = dict[str, Any]


class Api:
    """A simple client of an API server."""

    def __init__(self, kubeconfig: Path, connections: int) -> None:
        load = credentials.source({"KUBECONFIG": str(kubeconfig)}, connections=connections)
        access = load()
        self._server = access.server
        self._pool = library.client(access).pool_manager
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **dict(access.headers)}

    def ask(self, method: str, path: str, body: Json | None = None) -> None:
        """Send a request and read its response. Raises OSError for an error status."""
        answer = self._pool.request(
            method,
            self._server + path,
            body=None if body is None else codec.encode(body),
            headers=self._headers,
            timeout=_PATIENCE_S,
            retries=False,
        )
        if answer.status >= 300:
            raise OSError(f"{method} {path} returned {answer.status}: {answer.data[:200].decode(errors='replace')}")


class Writer:
    """Creates ConfigMaps, at a steady rate or as fast as possible."""

    def __init__(self, api: Api, wanted: argparse.Namespace) -> None:
        self._api = api
        self._wanted = wanted
        self._path = f"/api/v1/namespaces/{wanted.namespace}/configmaps"
        self._numbers = itertools.count()
        self._began_s = time.monotonic()
        self.sent: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        self.failures: list[OSError] = []

    def run(self) -> None:
        """Create all objects."""
        threads = [threading.Thread(target=self._work) for _ in range(self._wanted.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        try:
            while (number := next(self._numbers)) < self._wanted.count and not self.failures:
                self._write(number)
        except OSError as error:
            self.failures.append(error)

    def _write(self, number: int) -> None:
        rate = self._wanted.rate
        if rate and (early_s := self._began_s + number / rate - time.monotonic()) > 0:
            time.sleep(early_s)
        name = f"load-{self._wanted.first + number:06d}"
        annotations = {self._wanted.annotation: "true"} if self._wanted.annotation else {}
        self.sent[name] = time.time_ns()
        self._api.ask("POST", self._path, {"metadata": {"name": name, "annotations": annotations}})
        self.answered[name] = time.time_ns()


def main() -> int:
    """Create the objects, and print the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--annotation", default="")
    parser.add_argument("--threads", type=int, default=16)
    wanted = parser.parse_args()
    writer = Writer(Api(wanted.kubeconfig, wanted.threads), wanted)
    writer.run()
    if writer.failures:
        sys.stderr.write(f"{writer.failures[0]}\n")
        return 1
    sys.stdout.write(codec.encode({"sent": writer.sent, "answered": writer.answered}).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
