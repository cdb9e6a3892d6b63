"""What each process has loaded once it can work: nothing that it doesn't use. A megabyte here is seven in the pod."""

import json
from importlib import metadata

import pytest

import beacon
from tests.unit import scripts

EVERYWHERE = {"click", "zmq.asyncio", "asyncio", "rich"}
HEAVY = {
    "sentinel": {"zmq", "msgspec", "orjson", "structlog", "prometheus_client", "yaml"},
    "store": {"ssl", "http.client", "email", "pydantic", "yaml", "kubernetes", "requests", "urllib3"},
    "exporter": {"kubernetes", "requests", "urllib3", "pydantic", "yaml"},
    "notifier": {"kubernetes", "apsw", "pydantic", "yaml", "oauthlib"},
    "watcher": {"apsw", "pydantic", "yaml", "requests", "oauthlib", "kubernetes.client.models"},
    "reconciler": {"apsw", "pydantic", "yaml", "requests", "oauthlib", "kubernetes.client.models"},
}
LOADED = """
import importlib, json, sys
importlib.import_module(f"beacon.{sys.argv[1]}.__main__")
deferred = sys.modules.get('beacon.boundary.lazy_import')
print(json.dumps(sorted(set(sys.modules) - (deferred.deferred() if deferred else frozenset()))))
"""


@pytest.mark.parametrize("process", sorted(HEAVY))
@pytest.mark.slow
def test_a_process_loads_nothing_that_it_does_not_use(process: str) -> None:
    loaded = set(json.loads(scripts.run(LOADED, process).stdout))

    assert loaded >= {"beacon", f"beacon.{process}.__main__"}
    assert loaded & (HEAVY[process] | EVERYWHERE) == set()


def test_the_version_is_the_one_that_is_installed() -> None:
    assert metadata.version("beacon") == beacon.VERSION
