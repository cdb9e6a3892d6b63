"""A cluster, a Beacon, and three endpoints: one always works, one is in trouble, and one changes between restarts."""

import contextlib
import fnmatch
import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon import codec
from beacon.codec import documents
from beacon.dev import endpoint, testkit
from beacon.dev.api_server import server
from tests.soak import truth

HEALTHY, TROUBLED, CHANGING = NAMES = ("healthy", "troubled", "changing")
_KEEP = 50_000
_CONFIG = {
    "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
    "annotation": {"key": truth.ANNOTATION},
    "events": {"updated": True},
    "reconciliation": {"interval": "3s"},
    "retention": {"retentionPeriod": "20s", "cleanupInterval": "5s"},
}
# Processes are killed very often here; a restart that the sentinel delays would test nothing.
_ENVIRON = {"BEACON_SENTINEL_FREE_DEATHS": "1000000"}
_PATTERNS = ((), ("o1*",), ("o[0-4]", "o2*"), ("*",), ("o?", "o3*"))
_EXCLUDED = ((), ("o1?",), ("*5",))
_TYPES = ((), (), ("created", "deleted"))


@dataclass(frozen=True, slots=True)
class Choice:
    """What the changing endpoint gets; not `present`: its name is not in the file."""

    present: bool = True
    names: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    @classmethod
    def random(cls, chance: random.Random) -> "Choice":
        """Return another choice; one in four is a removal."""
        return cls(
            present=chance.random() < 0.75,
            names=chance.choice(_PATTERNS),
            excluded=chance.choice(_EXCLUDED),
            types=chance.choice(_TYPES),
        )

    def selects(self, name: str) -> bool:
        """Return True if the endpoint gets the events of an object."""
        is_named = not self.names or any(fnmatch.fnmatchcase(name, one) for one in self.names)
        return is_named and not any(fnmatch.fnmatchcase(name, one) for one in self.excluded)

    @property
    def has_values(self) -> bool:
        """Return True if the endpoint gets changes of values."""
        return not self.types or "updated" in self.types


@dataclass(frozen=True, slots=True)
class Place:
    """The running parts."""

    cluster: server.ApiServer
    sinks: Mapping[str, endpoint.SinkServer]
    beacon: testkit.Beacon

    def configure(self, choice: Choice, chance: random.Random) -> None:
        """Write the endpoints into the file, in any order; the caller has stopped Beacon."""
        config = documents.load(self.beacon.config_path.read_text(encoding="utf-8"))
        config["endpoints"] = entries(self.sinks, choice)
        chance.shuffle(config["endpoints"])
        self.beacon.config_path.write_bytes(codec.encode_pretty(config))


def entries(sinks: Mapping[str, endpoint.SinkServer], choice: Choice) -> list[dict[str, Any]]:
    """Return the list `endpoints` of the file."""
    found: list[dict[str, Any]] = [{"name": name, "url": sinks[name].url} for name in (HEALTHY, TROUBLED)]
    if choice.present:
        select = {"names": list(choice.names), "types": list(choice.types)}
        exclude = {"names": list(choice.excluded)}
        found.append({"name": CHANGING, "url": sinks[CHANGING].url, "select": select, "exclude": exclude})
    return found


@contextlib.contextmanager
def running() -> Iterator[Place]:
    """Start everything; Beacon is ready then."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="b")))
        cluster = stack.enter_context(server.running(bookmark_interval_s=1.0))
        sinks = {name: stack.enter_context(endpoint.running(keep=_KEEP)) for name in NAMES}
        kubeconfig = cluster.kubeconfig(directory / "kubeconfig")
        config = {**_CONFIG, "endpoints": entries(sinks, Choice())}
        beacon = stack.enter_context(testkit.Beacon(directory, config=config, kubeconfig=kubeconfig, environ=_ENVIRON))
        beacon.wait_ready()
        yield Place(cluster, sinks, beacon)
