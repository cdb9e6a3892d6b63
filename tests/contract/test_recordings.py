"""The embedded API server answers every recorded request as the real one did.

What must differ is named here and nowhere else. Everything not named is compared: statuses, headers, bodies field by
field, resourceVersions, continue tokens, watch lines, their order and the way the stream ends.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon.dev.api_server import server
from tests.contract.recordings import replay

Json = dict[str, Any]

# A new object has a new UID; the same one must replace the recorded one everywhere.
IDENTITIES = {"uid"}
# Times; both must be UTC in whole seconds.
TIMES = {"creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime"}
# Random names: `generateName` and five letters; the same ones must replace the recorded ones everywhere.
GENERATED = re.compile(r"gen-[a-z0-9]{5}")
# The server's address.
ADDRESSES = {"serverAddress"}
HEADERS = {"cache-control", "content-type", "transfer-encoding", "retry-after"}
# A marker in the file: this list was cut to its first items.
TRIMMED_LISTS = {"all namespaces with resourceVersion=0": 5}
# A marker in the file: this watch was cut to its first and last lines.
TRIMMED_WATCHES = {"watch from before the compaction": 20}
# A real server sends the bookmark before the timeout once or twice, depending on its one-second buckets.
REPEATED_BOOKMARKS = {"bookmark of a quiet watch"}

EXCHANGES = [(name, number, item) for name in replay.FILES for number, item in enumerate(replay.load(name))]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[replay.Replay]:
    ca_file: Path = tmp_path_factory.mktemp("recordings") / "ca.pem"
    for lasting_s in replay.WATCHES_LAST_S:
        with server.running(first_version=replay.FIRST_VERSION) as cluster, contextlib.suppress(replay.TooSlow):
            ca_file.write_bytes(cluster.ca_pem)
            session = replay.Replay(cluster, ca_file, watches_last_s=lasting_s)
            session.run()
            yield session
            return
    pytest.fail("this machine is too slow for the recorded watches")


@pytest.fixture(scope="module")
def twins() -> dict[str, str]:
    """Return the mapping of our random values to the recorded ones, over all exchanges."""
    return {}


@pytest.mark.parametrize(
    ("name", "number", "exchange"), EXCHANGES, ids=[f"{name[:2]}: {item['name']}" for name, _, item in EXCHANGES]
)
def test_the_response_is_the_recorded_one(
    played: replay.Replay, twins: dict[str, str], name: str, number: int, exchange: Json
) -> None:
    recorded, got = exchange["response"], played.answers[name, number]

    assert got.status == recorded["status"]
    assert {key: got.headers[key] for key in HEADERS if key in got.headers} == recorded["headers"]
    assert matched(got.body, trimmed(exchange, recorded.get("body"), got.body), twins) == recorded.get("body")
    if "lines" in recorded:
        events = [line["event"] for line in once(exchange, recorded["lines"])]
        lines = shortened(exchange, got.lines)
        assert [matched(line, event, twins) for line, event in zip(lines, events, strict=True)] == events
        assert got.ended == recorded["ended"]


def matched(ours: Any, theirs: Any, twins: dict[str, str], field: str = "") -> Any:
    """Return our value, with allowed differences replaced by the recorded values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {key: matched(value, theirs.get(key), twins, key) for key, value in ours.items()}
    if isinstance(ours, list) and isinstance(theirs, list):
        rest = [None] * (len(ours) - len(theirs))
        return [matched(mine, other, twins, field) for mine, other in zip(ours, [*theirs, *rest], strict=False)]
    if isinstance(ours, str) and isinstance(theirs, str) and may_differ(ours, theirs, twins, field):
        return theirs
    return ours


def may_differ(ours: str, theirs: str, twins: dict[str, str], field: str) -> bool:
    if field in TIMES:
        return all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) for text in (ours, theirs))
    if field in IDENTITIES or (GENERATED.fullmatch(ours) and GENERATED.fullmatch(theirs)):
        return twins.setdefault(theirs, ours) == ours and list(twins.values()).count(ours) == 1
    return field in ADDRESSES


def trimmed(exchange: Json, recorded: Any, got: Any) -> Any:
    if (kept := TRIMMED_LISTS.get(exchange["name"])) is not None:
        assert len(got["items"]) > kept
        del got["items"][kept:]
    return recorded


def shortened(exchange: Json, lines: list[Json]) -> list[Json]:
    if (kept := TRIMMED_WATCHES.get(exchange["name"])) is not None:
        assert len(lines) == 130
        return lines[:kept] + lines[-kept:]
    return lines


def once(exchange: Json, lines: list[Json]) -> list[Json]:
    """Remove a recorded bookmark that repeats the previous one."""
    if exchange["name"] not in REPEATED_BOOKMARKS:
        return lines
    pairs = zip([None, *lines], lines, strict=False)
    return [line for before, line in pairs if before is None or line["event"] != before["event"]]


def test_the_comparison_detects_a_difference_in_any_field() -> None:
    recorded = {"metadata": {"uid": "u1", "resourceVersion": "5"}, "items": [1]}

    assert matched({"metadata": {"uid": "x", "resourceVersion": "5"}, "items": [1]}, recorded, {}) == recorded
    assert matched({"metadata": {"uid": "x", "resourceVersion": "6"}, "items": [1]}, recorded, {}) != recorded
    assert matched({"metadata": {"uid": "x", "resourceVersion": "5"}, "items": [1, 2]}, recorded, {}) != recorded
    assert matched({"metadata": {"uid": "x", "resourceVersion": "5"}}, recorded, {}) != recorded
    assert matched({"metadata": {"uid": "x", "resourceVersion": "5"}, "items": [1]}, recorded, {"u1": "y"}) != recorded
