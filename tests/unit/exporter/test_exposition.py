"""What a scrape shows is what prometheus_client would make of the same files and statistics."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, exposition, multiprocess

from beacon.exporter import exposition as ours
from beacon.runtime import metrics
from tests.unit import scripts

WORK = """
import sys
from pathlib import Path
from beacon.runtime import metrics
metrics.start(sys.argv[2], Path(sys.argv[1]))
for number in range(30):
    metrics.EVENTS.labels(kind=f"Kind{number % 3}", type="created", source="watch").inc(number)
    metrics.DELIVERY_LATENCY.labels(endpoint='with "quotes" and \\\\ and \\n').observe(number / 7)
    metrics.DB_COMMIT_SECONDS.observe(number / 1000)
    metrics.DB_OPERATION_SECONDS.labels(verb=f"verb{number % 5}").observe(1e9)
metrics.BREAKER_OPENINGS.labels(endpoint="e").inc(123456789)
metrics.WATCH_CONNECTED.labels(scope="pods").set(sys.argv[2] == "store")
metrics.LAST_EVENT_TIMESTAMP.labels(kind="Pod").set(1.8e9 if sys.argv[2] == "store" else 7)
"""
ASKED = metrics.family("gauge", "db_rows", "Rows.", [({"table": "objects", "state": ""}, 8.0), ({"table": "b"}, 1e-7)])


class Given:
    """A collector of what was made before."""

    def __init__(self, families: list[metrics.Family]) -> None:
        self._families = families

    def collect(self) -> list[metrics.Family]:
        return self._families


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_it_is_the_text_that_the_library_makes(tmp_path: Path, accept: str) -> None:
    for role in ("store", "watcher"):
        assert scripts.run(WORK, str(tmp_path), role).returncode == 0
    paths = metrics.files(tmp_path, ["store", "watcher"])
    registry = CollectorRegistry()
    merged = multiprocess.MultiProcessCollector.merge([str(path) for path in paths])  # type: ignore[no-untyped-call]
    registry.register(Given([*merged, ASKED]))
    theirs = exposition.choose_encoder(accept)[0](registry)

    body, _ = ours.render([*ours.merge(paths), ours.exposed(ASKED)], accept)

    assert sorted(body.splitlines()) == sorted(theirs.splitlines())
    assert body.splitlines()[-1] == theirs.splitlines()[-1]


def test_each_metrics_lines_stand_together_and_buckets_in_their_order(tmp_path: Path) -> None:
    scripts.run(WORK, str(tmp_path), "store")

    lines = ours.render(ours.merge(metrics.files(tmp_path, ["store"])), "")[0].decode().splitlines()

    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    bounds = [
        line.split('le="')[1].split('"')[0] for line in lines if line.startswith("beacon_db_commit_seconds_bucket")
    ]
    assert [float(bound) for bound in bounds] == sorted(float(bound) for bound in bounds)
    assert bounds[-1] == "+Inf"
