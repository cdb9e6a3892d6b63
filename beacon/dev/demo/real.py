"""The demo on somebody's own cluster: their configuration, their kubeconfig, no object touched.

It looks at what they gave before anything starts, so that what only they can change is said at once; what may get
better by itself is left to Beacon, which waits for it.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from beacon import errors
from beacon.codec import documents
from beacon.configuration import loading, settings
from beacon.dev import testkit
from beacon.dev.demo import console

_CONNECT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What to run Beacon with; `environ` is what of the caller's environment is meant for Beacon."""

    config: Path
    kubeconfig: str
    environ: Mapping[str, str]


def check_files(config: Path, kubeconfig: str) -> Given:
    """See that both files can be read.

    Raises:
        errors.ConfigError: one can't be.
    """
    problems = [_unreadable("configuration", config)]
    paths = [Path(part).expanduser() for part in kubeconfig.split(os.pathsep) if part]
    if not any(path.is_file() for path in paths):
        problems += [_unreadable("kubeconfig", path) for path in paths] or ["No kubeconfig is given."]
    else:
        problems += [_unreadable("kubeconfig", path) for path in paths if path.exists()]
    found = [problem for problem in problems if problem]
    if found:
        raise errors.ConfigError(found)
    kept = ("DB_PATH", "ENDPOINT_URL", "ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE")
    environ = {name: os.environ[name] for name in kept if os.environ.get(name)}
    return Given(config=config, kubeconfig=os.pathsep.join(map(str, paths)), environ=environ)


def names_endpoint(given: Given) -> bool:
    """Say whether the configuration or the environment says where events go."""
    if given.environ.get("ENDPOINT_URL"):
        return True
    try:
        plain = documents.load(given.config.read_text(encoding="utf-8"))
    except (ValueError, errors.BeaconError):
        return True  # the check of the whole says where it is wrong
    endpoint = plain.get("endpoint") if isinstance(plain, dict) else None
    return isinstance(endpoint, dict) and bool(endpoint.get("url"))


def check_settings(given: Given, environ: Mapping[str, str]) -> settings.Settings:
    """Load the configuration as the store will.

    Raises:
        errors.ConfigError: it is wrong; every problem in a line.
        errors.StartError: a port that it names is in use.
    """
    tree = loading.load({**environ, "CONFIG_PATH": str(given.config)}).settings
    ports = {"health.port": tree.health.port} | ({"metrics.port": tree.metrics.port} if tree.metrics.enabled else {})
    for key, port in ports.items():
        if not _free(port):
            message = f"Port {port} ({key}) is in use by another program; end that or name another port."
            raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY)
    return tree


def look_at_endpoint(url: str, shown: console.Screen) -> None:
    """Say when nobody listens at the endpoint; Beacon starts nevertheless."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        place = url.partition("?")[0]
        shown.trouble(f"The endpoint {place} can't be reached from here ({reason}). Beacon delivers as soon as it can.")


class Progress:
    """Words how much was found and delivered, from /metrics, for an endpoint whose record can't be seen."""

    def __init__(self, beacon: testkit.Beacon, shown: console.Screen) -> None:
        """Begin with nothing said."""
        self._beacon = beacon
        self._screen = shown
        self._last = ""

    def look(self) -> None:
        """Say the figures when they have changed."""
        try:
            text = self._beacon.metrics()
        except OSError:
            return
        found = testkit.sample(text, "beacon_events_total")
        delivered = testkit.sample(text, "beacon_deliveries_total", outcome="delivered")
        failed = testkit.sample(text, "beacon_deliveries_failed")
        waiting = testkit.sample(text, "beacon_deliveries_pending")
        said = f"{found:.0f} changes found, {delivered:.0f} delivered, {waiting:.0f} waiting, {failed:.0f} failed."
        if said != self._last:
            self._last = said
            self._screen.say(said)


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
