"""The handlers of the paths, and their layout on ports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from beacon import codec
from beacon.configuration import settings
from beacon.exporter import answering, health, scrape, snapshot

_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port to listen on; `key` names it as the configuration does."""

    number: int
    key: str
    routes: Mapping[str, answering.Route]


class Routes:
    """Answers each request from a new snapshot."""

    def __init__(self, read_snapshot: Callable[[], snapshot.Snapshot], directory: Path, *, scopes: int) -> None:
        """Store the sources; `scopes` is the number of configured scopes, `directory` holds the metric files."""
        self._read_snapshot = read_snapshot
        self._directory = directory
        self._scopes = scopes
        self._history = health.History()

    def scraped(self, content_type: str) -> answering.HttpAnswer:
        """Return all metrics in the format that `scrape.content_type` chose."""
        seen = self._read_snapshot()
        checks = health.readiness(seen, scopes=self._scopes)
        body, content_type = scrape.scrape(self._directory, seen, checks, accept=content_type)
        return answering.HttpAnswer(status=HTTPStatus.OK, content_type=content_type, body=body)

    def liveness(self, _format: str) -> answering.HttpAnswer:
        """Return the verdict on liveness, with status 503 if a pod restart would help."""
        seen = self._read_snapshot()
        checks = self._history.stamp(health.liveness(seen), seen.now)
        return _verdict("live", checks)

    def readiness(self, _format: str) -> answering.HttpAnswer:
        """Return the verdict on readiness, with status 503 if changes might not be detected or sent."""
        seen = self._read_snapshot()
        checks = self._history.stamp(health.readiness(seen, scopes=self._scopes), seen.now)
        return _verdict("ready", checks)


def ports(tree: settings.Settings, routes: Routes) -> tuple[Port, ...]:
    """Return the configured ports with their routes: one port, or two."""
    probes = {
        tree.health.liveness_path: answering.Route(routes.liveness),
        tree.health.readiness_path: answering.Route(routes.readiness),
    }
    scraped = answering.Route(routes.scraped, choose=scrape.content_type)
    scrapes = {tree.metrics.path: scraped} if tree.metrics.enabled else {}
    if tree.health.port == tree.metrics.port:
        key = "metrics.port and health.port" if scrapes else "health.port"
        return (Port(number=tree.health.port, key=key, routes={**scrapes, **probes}),)
    own = Port(number=tree.health.port, key="health.port", routes=probes)
    return (own, Port(number=tree.metrics.port, key="metrics.port", routes=scrapes)) if scrapes else (own,)


def _verdict(name: str, checks: health.Checks) -> answering.HttpAnswer:
    passed = health.passed(checks)
    return answering.HttpAnswer(
        status=HTTPStatus.OK if passed else HTTPStatus.SERVICE_UNAVAILABLE,
        content_type=_JSON,
        body=codec.encode_pretty({name: passed, "checks": health.plain(checks)}),
    )
