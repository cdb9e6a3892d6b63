"""The demo on the user's cluster, with the user's configuration and kubeconfig. It must not change objects.

It checks the files before anything starts, so that errors which only the user can correct are reported at once.
Temporary errors are left to Beacon, which retries.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from beacon import errors
from beacon.codec import documents
from beacon.configuration import loading, settings
from beacon.dev import testkit
from beacon.dev.demo import console

_CONNECT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFiles:
    """The user's files; `environ` has the environment variables for Beacon."""

    config: Path
    kubeconfig: str
    environ: Mapping[str, str]


def check_files(config: Path, kubeconfig: str) -> ClusterFiles:
    """Check that both files can be read.

    Raises:
        errors.ConfigError: a file can't be read.
    """
    problems = [_unreadable("configuration", config)]
    paths = [Path(part).expanduser() for part in kubeconfig.split(os.pathsep) if part]
    if not any(path.is_file() for path in paths):
        problems += [_unreadable("kubeconfig", path) for path in paths] or [
            "No kubeconfig is set; use --kubeconfig or KUBECONFIG."
        ]
    else:
        problems += [_unreadable("kubeconfig", path) for path in paths if path.exists()]
    found = [problem for problem in problems if problem]
    if found:
        raise errors.ConfigError(found)
    kept = ("DB_PATH", "ENDPOINT_URL", "ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE")
    environ = {name: os.environ[name] for name in kept if os.environ.get(name)}
    return ClusterFiles(config=config, kubeconfig=os.pathsep.join(map(str, paths)), environ=environ)


def choose_context(files: ClusterFiles, context: str, directory: Path) -> ClusterFiles:
    """Return the files with a first kubeconfig that only chooses the context: of several files, the first counts."""
    path = directory / "context"
    path.write_text(documents.dump({"current-context": context}), encoding="utf-8")
    return replace(files, kubeconfig=os.pathsep.join((str(path), files.kubeconfig)))


def names_endpoint(files: ClusterFiles) -> bool:
    """Return True if the configuration or the environment has the endpoint's URL, or there are several endpoints."""
    if files.environ.get("ENDPOINT_URL"):
        return True
    try:
        plain = documents.load(files.config.read_text(encoding="utf-8"))
    except (ValueError, errors.BeaconError):
        return True  # `check_settings` reports the error
    if isinstance(plain, dict) and "endpoints" in plain:
        return True
    endpoint = plain.get("endpoint") if isinstance(plain, dict) else None
    return isinstance(endpoint, dict) and bool(endpoint.get("url"))


def check_settings(files: ClusterFiles, environ: Mapping[str, str]) -> settings.Settings:
    """Load the configuration as the store does.

    Raises:
        errors.ConfigError: the configuration is invalid; one line for each problem.
        errors.StartError: a configured port is in use.
    """
    tree = loading.load({**environ, "CONFIG_PATH": str(files.config)}).settings
    ports = {"health.port": tree.health.port} | ({"metrics.port": tree.metrics.port} if tree.metrics.enabled else {})
    for key, port in ports.items():
        if not _free(port):
            message = f"Port {port} ({key}) is in use by another program; stop that program or set another port."
            raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY)
    return tree


def check_endpoint(url: str, shown: console.Console) -> None:
    """Write a warning if the endpoint does not accept connections; Beacon starts nevertheless."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        place = url.partition("?")[0]
        shown.trouble(f"The endpoint {place} can't be reached from here ({reason}). Beacon delivers as soon as it can.")


class Progress:
    """Writes the numbers of found and delivered events, from /metrics, for an endpoint without a readable record."""

    def __init__(self, beacon: testkit.Beacon, shown: console.Console) -> None:
        """Initialize with no numbers written."""
        self._beacon = beacon
        self._console = shown
        self._last = ""

    def report(self) -> None:
        """Write the numbers if they have changed."""
        try:
            text = self._beacon.metrics()
        except OSError:
            return
        found = testkit.sample(text, "beacon_events_total")
        delivered = testkit.sample(text, "beacon_deliveries_total", outcome="delivered")
        failed = testkit.sample(text, "beacon_deliveries_failed")
        waiting = testkit.sample(text, "beacon_deliveries_pending")
        line = f"{found:.0f} changes found, {delivered:.0f} delivered, {waiting:.0f} waiting, {failed:.0f} failed."
        if line != self._last:
            self._last = line
            self._console.say(line)


def _unreadable(what: str, path: Path) -> str:
    try:
        path.read_bytes()
    except OSError as error:
        return f"The {what} {path} can't be read: {error.strerror}."
    return ""


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
