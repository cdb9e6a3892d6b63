"""Streams against lists that are none, objects that can't be read, and numbers that fit nowhere: nothing false is sent.

One object never stops another, and one scope's trouble is its own.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from beacon import codec
from tests.integration import watcher_world
from tests.integration.test_watcher_scripted import LIST, Script, bookmark, line, scripted
from tests.integration.watcher_world import ON, World

DEEP = "[" * 5000 + "]" * 5000
MANY = [line("ADDED", f"o{number}", 5)["object"] for number in range(7)]


def list_of(*entries: object, version: str = "50", **more: Any) -> bytes:
    head: dict[str, Any] = {**LIST}
    return codec.encode({**head, "metadata": {"resourceVersion": version, **more}, "items": entries})


def deep(kind: str, name: str, version: int, **metadata: Any) -> bytes:
    """Return a line whose object is nested deeper than the limit of recursion."""
    text = json.dumps(line(kind, name, version, managedFields="DEEP", **metadata))
    return text.replace('"DEEP"', DEEP).encode()


def begin(script: Script, w: World) -> None:
    """Send many objects, and wait until they are received."""
    script.items = script.later = MANY
    w.start()
    w.await_received(*(("created", f"o{number}") for number in range(7)))
    w.await_state("watching")


NO_LISTS = [
    b'{"kind":"Status","metadata":{"resourceVersion":"50"},"status":"Failure"}',
    b'{"kind":"ConfigMap","metadata":{"resourceVersion":"50","name":"a","uid":"u"}}',
    b'{"kind":"ConfigMapList","metadata":{"resourceVersion":"50"},"items":null}',
    list_of(remainingItemCount=7),
    list_of(version="9" * 5000),
]


def test_a_response_that_is_no_list_deletes_nothing_and_ends_nothing() -> None:
    # The watch ends with an ERROR line, and what should be a list then is none, until it is one again.
    expired = {"type": "ERROR", "object": {"message": "too old", "code": 410}}
    with scripted([bookmark(20), expired], [line("DELETED", "o3", 61)]) as (script, w):
        script.items = script.later = MANY
        script.odd = NO_LISTS[0]
        w.start()
        watcher_world.await_(lambda: script.odd_lists > 0, explain=w.explain)
        script.odd = None
        w.await_received(*(("created", f"o{number}") for number in range(7)))
        for odd in NO_LISTS:
            script.odd, seen = odd, script.odd_lists
            watcher_world.await_(lambda seen=seen: script.odd_lists > seen, explain=w.explain)  # type: ignore[misc]

        script.odd = None

        w.await_received(*(("created", f"o{number}") for number in range(7)), ("deleted", "o3"))


def test_an_empty_list_must_be_read_twice_before_many_objects_are_deleted() -> None:
    expired = {"type": "ERROR", "object": {"message": "too old", "code": 410}}
    with scripted([expired], []) as (script, w):
        script.items = MANY
        w.start()

        w.await_received(*(("created", f"o{number}") for number in range(7)), *(("deleted", f"o{n}") for n in range(7)))
        assert script.lists == 3


def test_an_empty_list_that_a_second_one_contradicts_deletes_nothing() -> None:
    expired = {"type": "ERROR", "object": {"message": "too old", "code": 410}}
    with scripted([bookmark(20), expired], [line("DELETED", "o3", 61)]) as (script, w):
        script.items = script.later = MANY
        script.first = [MANY, [], MANY]
        w.start()

        w.await_received(*(("created", f"o{number}") for number in range(7)), ("deleted", "o3"))
        assert script.lists == 4


def test_deeply_nested_objects_are_emitted_from_lists_and_watches_like_others() -> None:
    with scripted([deep("ADDED", "b", 11), deep("DELETED", "a", 12)]) as (script, w):
        listed = json.loads(deep("ADDED", "a", 5).replace(DEEP.encode(), b'"DEEP"'))["object"]
        body = list_of(listed, version="10").replace(b'"DEEP"', DEEP.encode())
        script.odd = body
        w.start()

        w.await_received(("created", "a"), ("created", "b"), ("deleted", "a"))


def test_an_object_that_cannot_be_read_is_reported_by_name_and_hides_no_other() -> None:
    bad = {**line("ADDED", "bad", 5)["object"]["metadata"], "annotations": {**ON, "x": 1}}
    with scripted([line("ADDED", "b", 11)]) as (script, w):
        script.items = [{"metadata": bad}, line("ADDED", "a", 5)["object"]]
        w.start()

        w.await_received(("created", "a"), ("created", "b"))
        report = w.await_state("watching")
        assert report["unreadable"] == 1
        assert "ns/bad" in str(report["unreadable_objects"])


def test_a_tracked_object_that_becomes_unreadable_stays_tracked_and_its_deletion_is_emitted() -> None:
    too_long = codec.encode(line("MODIFIED", "a", 12, annotations={**ON, "x": "x" * 5_000_000}))
    gone = codec.encode(line("DELETED", "a", 14, annotations={**ON, "x": "x" * 5_000_000}))
    lines = [line("ADDED", "a", 11), too_long, line("ADDED", "b", 13)]
    with scripted(lines, [gone]) as (script, w):
        script.later = [line("ADDED", "b", 13)["object"]]
        w.start()

        w.await_received(("created", "a"), ("created", "b"), ("deleted", "a"))
        assert script.lists == 1
        watcher_world.await_(lambda: (found := w.report()) is not None and "unreadable" not in found.fields)


def test_an_object_without_a_uid_keeps_a_list_from_deleting_any() -> None:
    expired = {"type": "ERROR", "object": {"message": "too old", "code": 410}}
    with scripted([line("ADDED", "a", 11), expired], [line("ADDED", "c", 55)]) as (script, w):
        script.later = [{"metadata": {"name": "a", "namespace": "ns"}}, line("ADDED", "b", 13)["object"]]
        w.start()

        w.await_received(("created", "a"), ("created", "b"), ("created", "c"))


def test_versions_that_fit_nowhere_and_odd_error_lines_cost_a_list_and_nothing_else() -> None:
    statuses = [b'{"message":"\xff","code":410}', b'{"code":429,"details":{"retryAfterSeconds":-5}}', DEEP.encode()]
    errors = [b'{"type":"ERROR","object":' + status + b"}" for status in statuses]
    versions = [odd("ADDED", "9" * 20), odd("BOOKMARK", "9" * 5000), odd("ADDED", "-7")]
    lines = [*errors, *versions]
    watches = [[line("ADDED", f"a{number}", 11 + number * 200), last] for number, last in enumerate(lines)]
    with scripted(*watches, [line("ADDED", "b", 2000)]) as (script, w):
        script.seen = True
        w.start()

        w.await_received(*(("created", f"a{number}") for number in range(len(lines))), ("created", "b"))


def odd(kind: str, version: str) -> dict[str, Any]:
    bad = line(kind, "bad", 12)
    bad["object"]["metadata"]["resourceVersion"] = version
    return bad


@pytest.mark.parametrize(
    "foreign",
    [
        {"kind": "Status", "metadata": {"uid": "u", "name": "x", "resourceVersion": "12"}},
        {"kind": "Secret", "metadata": {"uid": "u", "name": "x", "resourceVersion": "12", "annotations": ON}},
    ],
)
def test_a_line_about_something_else_is_got_past_by_a_list(foreign: dict[str, Any]) -> None:
    lines = [line("ADDED", "a", 11), {"type": "ADDED", "object": foreign}]
    with scripted(lines, [line("ADDED", "b", 34)]) as (script, w):
        script.later = [line("ADDED", "a", 11)["object"]]
        w.start()

        w.await_received(("created", "a"), ("created", "b"))
        assert script.lists == 2


def test_foreign_annotations_reach_neither_store_nor_receiver() -> None:
    foreign = {**ON, "x": "x" * 3_000_000}
    lines = [line("ADDED", f"a{number}", 11 + number, annotations=foreign) for number in range(20)]
    with scripted(lines) as (_, w):
        before_kb = peak_kb(w)
        w.start()

        w.await_received(*(("created", f"a{number}") for number in range(20)))
        assert peak_kb(w) - before_kb < 30_000


def test_labels_larger_than_an_object_may_be_are_not_emitted() -> None:
    large = {"l": "x" * 2_000_000}
    lines = [line("ADDED", "large", 11, labels=large), line("ADDED", "b", 12), line("DELETED", "b", 13, labels=large)]
    with scripted(lines) as (script, w):
        script.items = script.later = [line("ADDED", "listed", 5, labels=large)["object"]]
        w.start()

        w.await_received(("created", "b"), ("deleted", "b"))
        watcher_world.await_(lambda: (found := w.report()) is not None and found.fields.get("unreadable") == 2)


def peak_kb(w: World) -> int:
    status = Path(f"/proc/{w.store.pid}/status").read_text()
    return int(next(text for text in status.splitlines() if text.startswith("VmHWM")).split()[1])
