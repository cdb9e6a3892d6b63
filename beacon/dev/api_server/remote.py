"""Client of an embedded API server that runs in another process.

For tests that kill the server, or in which it must not share this interpreter's lock. The methods of
`server.ApiServer` are HTTP requests here.
"""

import contextlib
import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]

COMMAND = (sys.executable, "-m", "beacon.dev.api_server")
_END_WITHIN_S = 60


class Remote:
    """An embedded API server in another process."""

    def __init__(self, ready: Json, process: "subprocess.Popen[bytes]") -> None:
        self.url: str = ready["url"]
        self.token: str = ready["token"]
        self.ca: str = ready["ca"]
        self.kubeconfig = Path(ready["kubeconfig"])
        self.process = process
        self._context = ssl.create_default_context(cadata=ready["ca"]) if ready["ca"] else None

    def request(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Json:
        """Send a request as the administrator. Raises `urllib.error.HTTPError`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        asked = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own server
        with urllib.request.urlopen(asked, context=self._context, timeout=60) as response:  # noqa: S310
            answer: Json = json.loads(response.read())
            return answer

    def call(self, command: str, **arguments: Any) -> Any:
        """Call a method of the server's `control.Control` and return its result."""
        return self.request("POST", f"/beacon-dev/{command}", arguments)["result"]

    def status(self) -> Json:
        """Return the current resourceVersion, the paths of the open watches and the requests answered so far."""
        return self.request("GET", "/beacon-dev/status")


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[Remote]:
    """Run a server process while the context is open; `options` are command-line options of the program."""
    command = [*COMMAND, "--kubeconfig", str(directory / "kubeconfig"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own program
        try:
            line = process.stdout.readline() if process.stdout else b""
            yield Remote(json.loads(line), process)
        finally:
            process.terminate()
            try:
                process.wait(timeout=_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
