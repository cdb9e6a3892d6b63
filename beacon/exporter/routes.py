"""What each path answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from beacon import codec, settings
from beacon.exporter import endpoint, health, scrape, view

_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port to listen on; `key` names it as the configuration does."""

    number: int
    key: str
    routes: Mapping[str, endpoint.Route]


class Routes:
    """Answers from a fresh look at everything."""

    def __init__(self, look: Callable[[], view.View], directory: Path, *, scopes: int) -> None:
        """Answer about a configuration of so many scopes; `directory` holds the metric files."""
        self._look = look
        self._directory = directory
        self._scopes = scopes
        self._history = health.History()

    def metrics(self, accept: str) -> endpoint.Answer:
        """Answer a scrape."""
        seen = self._look()
        checks = health.readiness(seen, scopes=self._scopes)
        body, content_type = scrape.scrape(self._directory, seen, checks, accept=accept)
        return endpoint.Answer(status=HTTPStatus.OK, content_type=content_type, body=body)

    def liveness(self, _accept: str) -> endpoint.Answer:
        """Answer whether a restart of the pod would help."""
        seen = self._look()
        checks = self._history.stamp(health.liveness(seen), seen.now)
        return _verdict("live", checks)

    def readiness(self, _accept: str) -> endpoint.Answer:
        """Answer whether all is told."""
        seen = self._look()
        checks = self._history.stamp(health.readiness(seen, scopes=self._scopes), seen.now)
        return _verdict("ready", checks)


def ports(tree: settings.Settings, routes: Routes) -> tuple[Port, ...]:
    """Lay the routes out as configured: on one port, or on two."""
    probes = {tree.health.liveness_path: routes.liveness, tree.health.readiness_path: routes.readiness}
    scrapes = {tree.metrics.path: routes.metrics} if tree.metrics.enabled else {}
    if tree.health.port == tree.metrics.port:
        key = "metrics.port and health.port" if scrapes else "health.port"
        return (Port(number=tree.health.port, key=key, routes={**scrapes, **probes}),)
    own = Port(number=tree.health.port, key="health.port", routes=probes)
    return (own, Port(number=tree.metrics.port, key="metrics.port", routes=scrapes)) if scrapes else (own,)


def _verdict(name: str, checks: health.Checks) -> endpoint.Answer:
    passed = health.passed(checks)
    return endpoint.Answer(
        status=HTTPStatus.OK if passed else HTTPStatus.SERVICE_UNAVAILABLE,
        content_type=_JSON,
        body=codec.encode_pretty({name: passed, "checks": health.plain(checks)}),
    )
