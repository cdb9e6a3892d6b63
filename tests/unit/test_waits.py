"""Tests wait for conditions: no test needs a quick machine, and none only passes time without a reason."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MEASURING = {"bench", "soak"}  # directories whose programs measure time or inject faults for a while
CLOCKS = {"monotonic", "perf_counter"}
LIMITS_S = 30.0  # a shorter limit of a wait can pass on a machine that is only busy
LIMITED = {"run", "wait", "communicate", "urlopen", "HTTPConnection", "create_connection", "result", "join"}

# The functions that let time pass outside a loop that waits for a condition, by the reason.
PAUSES = {
    "an absence can't be waited for": (
        "test_auth_token::test_a_file_that_is_briefly_missing_or_empty_leaves_the_previous_token_in_use",
        "test_auth_token::test_a_file_with_an_invalid_token_leaves_the_previous_one_in_use",
        "test_notifier_channel::test_a_broken_authority_file_leaves_the_previous_one_in_use_and_is_logged_once",
        "test_process::test_under_supervisord_a_process_waits_for_the_store_before_it_leaves_anything",
        "test_sentinel::test_a_freeze_of_all_processes_kills_none",
    ),
    "the length of a silence or freeze is what is tested": (
        "test_cluster_watching::test_time_between_reads_does_not_count_as_silence",
        "test_notifier_answers::test_a_connection_that_was_dropped_silently_does_not_cost_the_next_event",
        "test_notifier_answers::test_a_connection_that_was_idle_for_too_long_is_not_used_again",
        "test_process::test_a_process_that_was_frozen_for_long_continues",
        "test_proxies::hang",
    ),
    "a fault may come at any moment": ("load::pause",),
    "the arrival in a socket can't be seen, and the result does not depend on it": (
        "test_bus_faults::test_replies_that_arrived_before_a_refusal_are_returned_first",
    ),
}


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Return the parsed tests by their paths."""
    paths = (path for path in sorted(TESTS.rglob("*.py")) if path.relative_to(TESTS).parts[0] not in MEASURING)
    return {path.relative_to(TESTS): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def name_of(call: ast.Call) -> str:
    """Return the last part of the name of a called function."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def reads_clock(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Call) and name_of(one) in CLOCKS for one in ast.walk(node))


def pauses(tree: ast.AST, *, function: str = "", loops: bool = False) -> Iterator[str]:
    """Yield the functions that call `time.sleep` outside a `while` loop."""
    for child in ast.iter_child_nodes(tree):
        name = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call) and ast.unparse(child.func) == "time.sleep" and not loops:
            yield name
        yield from pauses(child, function=name, loops=loops or isinstance(child, ast.While))


def durations(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of assertions on the difference between a clock and an earlier instant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            for part in ast.walk(node.test):
                if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) and reads_clock(part):
                    yield node.lineno


def short_limits(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of waits that give up early; less than a second is a pause, or a wait that must fail."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node) in LIMITED:
            given = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
            given += node.args[:1] if name_of(node) in {"wait", "result", "join"} else []
            for limit in given:
                value = limit.value if isinstance(limit, ast.Constant) else None
                if isinstance(value, int | float) and 1 <= value < LIMITS_S:
                    yield node.lineno


def test_time_passes_only_where_the_reason_is_known() -> None:
    found = {f"{path.stem}::{name}" for path, tree in trees().items() for name in pauses(tree)}

    assert found == {name for names in PAUSES.values() for name in names}


def test_no_assertion_is_about_a_duration_on_this_machine() -> None:
    found = [f"{path}:{line}" for path, tree in trees().items() for line in durations(tree)]

    assert found == []


def test_no_wait_gives_up_early() -> None:
    found = [f"{path}:{line}" for path, tree in trees().items() for line in short_limits(tree)]

    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f():\n    time.sleep(1)\n", ["f"]),
        ("def f():\n    while not x():\n        time.sleep(1)\n", []),
        ("def f():\n    for _ in range(3):\n        time.sleep(1)\n", ["f"]),
    ],
)
def test_a_pause_is_detected(code: str, found: list[str]) -> None:
    assert list(pauses(ast.parse(code))) == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("assert time.monotonic() - began < 5", [1]),
        ("assert 3 <= time.monotonic() - began", [1]),
        ("assert time.monotonic() < deadline", []),
        ("assert later - earlier > 1", []),
    ],
)
def test_an_assertion_on_a_duration_is_detected(code: str, found: list[int]) -> None:
    assert list(durations(ast.parse(code))) == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("process.wait(3)", [1]),
        ("subprocess.run([], timeout=20)", [1]),
        ("future.result(10)", [1]),
        ("process.wait(100)", []),
        ("stop.wait(0.5)", []),
        ("testkit.until(x, 'it', timeout=20)", []),  # multiplied in tests
    ],
)
def test_a_short_limit_is_detected(code: str, found: list[int]) -> None:
    assert list(short_limits(ast.parse(code))) == found
