"""A simple API client for tests: requests, and watches that are read line by line."""

import json
import queue
import threading
from pathlib import Path
from typing import Any

import urllib3

from beacon.dev.api_server import server

Json = dict[str, Any]

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
MERGE = "application/merge-patch+json"
_END = object()


class Client:
    """Sends requests to one server, as the administrator or with another token."""

    def __init__(self, cluster: server.ApiServer, directory: Path, *, token: str | None = None) -> None:
        ca_file = directory / "ca.pem"
        ca_file.write_bytes(cluster.ca_pem)
        self._server = cluster
        self._token = cluster.token if token is None else token
        self._http = urllib3.PoolManager(ca_certs=str(ca_file), retries=False, maxsize=8)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
        timeout_s: float = 100.0,
    ) -> tuple[int, Any]:
        """Send a request; return the status and the decoded body of the response."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = self._headers(accept) | {"Content-Type": content_type}
        response = self._http.request(method, self._server.url + path, headers=headers, body=data, timeout=timeout_s)
        plain = not response.headers["content-type"].startswith("application/json")
        return response.status, response.data.decode() if plain else json.loads(response.data)

    def get(self, path: str, *, accept: str = "application/json") -> tuple[int, Any]:
        """Send a GET request."""
        return self.ask("GET", path, accept=accept)

    def watch(self, path: str, *, accept: str = METADATA) -> "Watch":
        """Open a watch of a path with a query."""
        url = f"{self._server.url}{path}{'&' if '?' in path else '?'}watch=true"
        response = self._http.request("GET", url, headers=self._headers(accept), preload_content=False, timeout=100)
        return Watch(response)

    def _headers(self, accept: str) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return {"Accept": accept, **authorization}


class Watch:
    """An open watch, read by a separate thread."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self.status = response.status
        self.error: Exception | None = None
        self.rest = b""
        self._response = response
        self._lines: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout_s: float = 100.0) -> Json:
        """Return the next line. Raises `EOFError` at the end and `queue.Empty` after the timeout."""
        line = self._lines.get(timeout=timeout_s)
        if line is _END:
            raise EOFError
        found: Json = line
        return found

    def next_summary(self, timeout_s: float = 100.0) -> str:
        """Return a summary of the next line: `ADDED a`."""
        line = self.next(timeout_s)
        return f"{line['type']} {line['object']['metadata'].get('name', '')}".strip()

    def all(self) -> list[str]:
        """Return summaries of all lines until the end."""
        lines = []
        while True:
            try:
                lines.append(self.next_summary())
            except EOFError:
                return lines

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    def _read(self) -> None:
        try:
            for piece in self._response.stream():
                *whole, self.rest = (self.rest + piece).split(b"\n")
                for line in whole:
                    self._lines.put(json.loads(line))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self.error = error
        self._lines.put(_END)
