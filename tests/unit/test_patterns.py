"""Every regular expression, and the loops that read foreign text, fed 64 KiB of their worst.

A match holds the interpreter's lock until it has ended. A pattern that is not listed here fails the first test. The
list has what is worst for it: (begin, repeat, end).
"""

import ast
import importlib
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import beacon
from beacon import errors
from beacon.cluster import framing
from beacon.configuration import tree, values
from beacon.domain import selectors
from beacon.exporter import request, scrape
from beacon.notifier.delivery import retry_after
from beacon.notifier.transport import answer, masking
from beacon.runtime import log
from beacon.sentinel import causes, protocol

ROOT = Path(beacon.__file__).parent
SIZE = 65_536
HANGS_S = (
    0.5  # of processor time: fifty times what a linear pattern takes, a fifth of what the quickest quadratic one does
)
FUNCTIONS = {"compile", "findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn"}
LOCALS = {"name": "notifier", "dots": ".", "longest": 253, "pattern": r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"}
LOCALS |= {"shell": "*a*aa*[a-z]*?*b"}
ANYWHERE = ("a", "0", " ", "-", ".", "/", "a.", "a-", "a, ", "1s", "é", "\n", "@", ":")

LOOPS: dict[str, Callable[[], object]] = {
    "an accept header": lambda: scrape.content_type("application/openmetrics-text;version=1.0;" * (SIZE // 40)),
    "a chunk header": lambda: drip(framing.Chunks().feed, b"0" * SIZE),
    "a chunk's trailers": lambda: drip(framing.Chunks().feed, b"0\r\n" + b"a\r\n" * (SIZE // 3)),
    "a comparison of integers": lambda: selectors.parse("a>" + "1" * SIZE),
    "a duration": lambda: values.duration("1h" * (SIZE // 2)),
    "a duration without a unit": lambda: values.duration("1" * SIZE),
    "a line of the log": lambda: log._render_json(
        None, "", {"event": "x", "body": '"' * SIZE, "more": ["é" * 64] * 1000}
    ),
    "a line of a watch": lambda: drip(framing.Lines().feed, b"a" * SIZE),
    "a request": lambda: drip(request.HeadReader().feed, b"GET / HTTP/1.1\r\nA: " + b" " * SIZE),
    "a request's lines": lambda: drip(request.HeadReader().feed, b"\n" * SIZE),
    "a selector of many terms": lambda: selectors.parse("a," * (SIZE // 2)),
    "a selector of many values": lambda: selectors.parse("a in (" + "a, " * (SIZE // 3) + ")"),
    "an answer that repeats secrets": lambda: answer.clean("abcd" * (SIZE // 4), secrets=["abcd", "bcda" * 64]),
    "an answer that is blank": lambda: answer.clean(" \0" * (SIZE // 2), secrets=["abcd"]),
    "an end in supervisord's log": lambda: causes.parse_end("exited: x (exit status 1\n" * (SIZE // 24), "x"),
    "an event of supervisord": lambda: protocol.parse_pairs("a:" * (SIZE // 2) + " a:b" * (SIZE // 4)),
    "secrets of a request": lambda: masking.of_request(
        "http://a/?" + "a=b&" * (SIZE // 4), {"Authorization": "Bearer " + "a b " * (SIZE // 4)}, []
    ),
    "a delay in the head of an answer": lambda: [
        retry_after.delay_s(text, now=datetime.now(tz=UTC)) for text in ("1" * SIZE, "Mon, " * SIZE, " " * SIZE)
    ],
    "a URL": lambda: values.url("http://" + "a." * (SIZE // 2)),
    "a URL with user info": lambda: tree._masked("a" * SIZE + "@" + "/" * SIZE),
}

Worst = tuple[str, str, str]
WORST: dict[str, tuple[Worst, ...]] = {
    "cli/filters.py _AGO": (("", "1", ""), ("", "1s", "x")),
    "cli/filters.py f'(?:{_AGO.pattern})+'": (("", "1s", "x"), ("", "1", "")),
    "cluster/plugin.py _LONG_WORD": (("", "a", ""), ("", "a" * 19 + " ", "")),
    "cluster/plugin.py _NAMED_SECRET": (
        ("bearer", " ", ""),
        ("", "bearer ", ""),
        ("key", " ", "x"),
        ("", "key is", ""),
        ("", "tokens ", "="),
    ),
    "reconciler/backup_names.py": (("beacon-", "1", ""), ("beacon-12345678-", "1", "")),
    "cluster/refusals.py '[0-9]+(?:\\\\.[0-9]+)?(?:[eE]\\\\+?[0-9]{1,4})?'": (
        ("", "1", "x"),
        ("1.", "1", "x"),
        ("1e", "1", "x"),
    ),
    "cluster/parsing.py _ITEMS": (
        ("", '"items"', ""),
        ('"items"', " ", ""),
        ('"items":', " ", ""),
        ("", '"items":', ""),
    ),
    "cluster/scanning.py _COMMA": (("", " ", ""), ("", " ,", "")),
    "cluster/scanning.py _END_OF_ARRAY": (("", " ", ""),),
    "cluster/scanning.py _END_OF_OBJECT": (("", " ", ""),),
    "cluster/scanning.py _MEMBER": (
        ("", " ", ""),
        ('"', "a", ""),
        ('"', "\\\\", ""),
        ('"a"', " ", ""),
        ('"a":', " ", ""),
    ),
    "cluster/scanning.py _SCALAR": (("", "1", ""),),
    "cluster/scanning.py _START_OF_ARRAY": (("", " ", ""),),
    "cluster/scanning.py _START_OF_OBJECT": (("", " ", ""),),
    "cluster/scanning.py _TOKEN": (('"', "a", ""), ("", '"', ""), ('"', "\\\\", ""), ("", "[", ""), ("", '["', "")),
    "cli/commands/rbac.py f'[a-z0-9]([-a-z0-9{dots}]{{0,{longest - 2}}}[a-z0-9])?'": (("a", "-", ""), ("a", "a", "-")),
    "codec/documents.py '[yYnN]$'": (("", "y", ""),),
    "codec/documents.py '[-+]?(\\\\.?[0-9][0-9_.]*[eE][-+]?[0-9]+|0o[0-7]+)$'": (
        ("", "1", ""),
        ("1e", "1", "x"),
        ("1", "_.", ""),
        ("0o", "7", "8"),
    ),
    "configuration/checks.py ANNOTATION": (("a", ".", ""), ("", "a/", ""), ("a", "_", "")),
    "configuration/checks.py API_VERSION": (("", "a", ""), ("", "v", "-"), ("a/v", "1", "-")),
    "configuration/checks.py CLUSTER_NAME": (("", "a", "!"),),
    "configuration/checks.py KIND": (("A", "-", ""),),
    "configuration/checks.py PLURAL": (("a", "-", ""),),
    "configuration/checks.py SOURCE": (("", "a", "\0"),),
    "configuration/checks.py TYPE_PREFIX": (("", ".", "!"),),
    "configuration/checks.py VERSION": (("", "a", " "),),
    "configuration/tree.py '[a-zA-Z]*:?/{0,2}'": (("", "a", ""), ("a", "/", "")),
    "configuration/values.py _HOST": (("a", "-", ""), ("", "a.", "-"), ("", "0", "%"), ("0%", "a", "-")),
    "configuration/values.py _PART": (("", "1", "x"), ("1.", "1", "x"), ("", "1.", "")),
    "configuration/values.py '([0-9]{1,15})(k|M|G|T|Ki|Mi|Gi|Ti)?'": (("", "1", "k"),),
    "configuration/values.py '[0-9]{1,5}'": (("", "1", ""),),
    "configuration/values.py '[^\\\\x21-\\\\x7e]'": (("", "a", ""),),
    "configuration/values.py GROUP_KIND": (("A", "-", ""), ("A.a", "-", ""), ("A", "a", ".")),
    "configuration/values.py STATUS": (("", "4", ""), ("40", "8", "")),
    "configuration/values.py PATTERN": (("", "a", " "),),
    "configuration/values.py HEADER_NAME": (("", "a", ":"),),
    "configuration/values.py HEADER_VALUE": (("", " ", "\0"),),
    "configuration/values.py LABEL": (("a", "-", ""),),
    "configuration/values.py NAMESPACE": (("a", "-", ""),),
    "configuration/values.py PATH": (("", "/", "?"),),
    "exporter/request.py _BARE_LF": (("", "\n", ""), ("", "\r", ""), ("", "\r\n", "")),
    "exporter/request.py _METHOD": (("", "A", ""), ("", " ", "")),
    "notifier/transport/answer.py _UNCLEAN": (("", " ", "x"), ("", " x", ""), ("", "\u2028\0", "")),
    "notifier/transport/masking.py _AUTHORITY_END": (("", "/", ""),),
    "notifier/transport/masking.py _ESCAPE": (("", "%", ""), ("", "%A", "")),
    "notifier/transport/response_parser.py _HEAD_END": (("", "\n", ""), ("", "\r", ""), ("", "\n\r", "")),
    "boundary/proxies.py '[,\\\\s]+'": (("", " ", ""), ("", ",", "")),
    "boundary/proxies.py '\\\\[(.+)\\\\](?::(\\\\d{1,5}))?|([^:]+):(\\\\d{1,5})'": (
        ("[", "]", ""),
        ("", "a", ":"),
        ("[", "]:", ""),
        ("", ":1", ""),
    ),
    "boundary/proxies.py _CONTROL": (("", "a", ""),),
    "boundary/proxies.py _HOST": (("", "a", "!"), ("", "a.", "!"), ("", "-", "")),
    "boundary/proxies.py _UNSENDABLE": (("", "a", ""),),
    "domain/selection.py fnmatch.translate(shell)": (("", "a", ""), ("", "ab", "a"), ("", "aa", "c")),
    "domain/selectors.py _BLANKS": (("", " ", "x"),),
    "domain/selectors.py _TERM": (
        ("a in (", ", ", "!"),
        ("a in (", " ", "!"),
        ("a in (", "a , ", "!"),
        ("a in (", "a" * 63 + ",", ""),
        ("a", " ", "!"),
        ("!", " ", "!"),
        ("a=", " ", "!"),
        ("", "a.", "/"),
        ("", "a-", "/a"),
        ("a/", "a-", ""),
    ),
    "domain/selectors.py '[0-9]{1,63}'": (("", "1", ""),),
    "runtime/text_log.py _BARE": (("", "a", " "),),
    "runtime/text_log.py _KEY": (
        ("", "logFormat", ""),
        ("logFormat", " ", ""),
        ("logFormat:", "\n", ""),
        ("", "logFormat:\n\n'", "'"),
        ("", "a#", ""),
        ("", "\n", ""),
    ),
    "boundary/secret.py _CONTROL": (("", "a", ""),),
    "sentinel/causes.py f'exited: {name} \\\\((exit status (\\\\d+)|terminated by \\\\w+)'": (
        ("", "exited: notifier (", ""),
        ("exited: notifier (terminated by ", "A", ""),
        ("", "exited: notifier (exit status 1", ""),
        ("exited: notifier (exit status ", "1", ""),
    ),
    "sentinel/causes.py 'spawnerr: (.+)'": (("", "spawnerr: ", ""), ("", "spawnerr: \n", "")),
    "store/server/ownership.py _PLAIN": (("", "a", "!"),),
    "store/ledger/migrating.py '\\\\d{4}'": (("", "1", ""),),
    "boundary/visible.py _UNSAFE": (("", "\u202e", ""), ("", "a", "")),
    # Development only.
    "dev/api_server/objects.py pattern": (("a", "-", ""), ("", "a.", "-")),
    "dev/api_server/routing.py": (("/api/", "a", ""), ("/apis/", "a/", ""), ("/apis/a", "/", "\n")),
    "dev/api_server/selectors.py _TOKEN": (("", " ", ""), ("", "a", "")),
    "dev/api_server/selectors.py '([^=!]+?)(==|!=|=)(.*)'": (("", "a", ""), ("", "a!", ""), ("a", "=", "\n")),
    "dev/endpoint/checks.py _ATTRIBUTE_NAME": (("", "a", "!"),),
    "dev/endpoint/checks.py _MEDIA": (("", "a", ""), ("a/", "a", "!"), ("a/a", " ", ""), ("a/a;", " ", "\n")),
    "dev/endpoint/checks.py _RFC3339": (("2026-01-01T00:00:00.", "1", ""),),
    "dev/endpoint/checks.py _SEQUENCE": (("", "1", ""),),
    "dev/endpoint/checks.py _URI_REFERENCE": (("", "a", "\0"),),
}
ELSEWHERE = {
    "notifier/delivery/retry_after.py",  # its forms are tried one after another: a loop above
    "dev/api_server/faults.py",  # the pattern is the test's own
}


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A pattern as the source has it: `method` is how it is applied, `source` an expression of its module."""

    path: str
    method: str
    source: str
    key: str

    def compiled(self) -> re.Pattern[Any]:
        module = importlib.import_module("beacon." + self.path.removesuffix(".py").replace("/", "."))
        return re.compile(eval(self.source, {**LOCALS, **vars(module)}))

    def worst(self) -> tuple[Worst, ...]:
        return WORST.get(self.key) or WORST[self.path]


def test_each_pattern_is_listed_with_its_worst_input() -> None:
    keys = {pattern.key for pattern in PATTERNS} | {pattern.path for pattern in PATTERNS}

    assert [pattern.key for pattern in PATTERNS if not {pattern.key, pattern.path} & set(WORST)] == []
    assert set(WORST) - keys == set()


def test_only_re_compiles_patterns_so_that_the_list_is_complete() -> None:
    odd = []
    for path, module in sources():
        for node in ast.walk(module):
            names = [alias.name for alias in node.names if alias.asname] if isinstance(node, ast.Import) else []
            origin = node.module if isinstance(node, ast.ImportFrom) else None
            if "re" in names or origin in ("re", "fnmatch", "regex", "glob"):
                odd.append(path)

    assert odd == []


def found() -> Iterator[Pattern]:
    for path, module in sources():
        for node in ast.walk(module):
            if path not in ELSEWHERE and isinstance(node, ast.Call) and (function := function_of(node)):
                source = ast.unparse(node.args[0])
                name = next((name for name, value in assigned(module) if value is node), source)
                for method in used(module, name) or {"match"} if function == "compile" else {function}:
                    yield Pattern(path=path, method=method, source=source, key=f"{path} {name}")


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def function_of(call: ast.Call) -> str:
    """Return the function of `re` that is called, or nothing."""
    function = call.func
    ours = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re"
    return function.attr if ours and isinstance(function, ast.Attribute) and function.attr in FUNCTIONS else ""


def assigned(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def used(module: ast.Module, name: str) -> set[str]:
    """Return the methods of a compiled pattern that its module calls."""
    attributes = (node for node in ast.walk(module) if isinstance(node, ast.Attribute) and node.attr in FUNCTIONS)
    return {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == name}


PATTERNS = sorted(found(), key=lambda pattern: (pattern.key, pattern.method))


def applied(pattern: re.Pattern[Any], method: str) -> Callable[[Any], object]:
    if method == "sub":
        return lambda text: pattern.sub(text[:0], text)
    if method == "finditer":
        return lambda text: list(pattern.finditer(text))
    apply: Callable[[Any], object] = getattr(pattern, method)
    return apply


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: f"{pattern.key} {pattern.method}"[:60])
def test_64_kib_of_its_worst_keep_no_pattern_busy(pattern: Pattern) -> None:
    compiled = pattern.compiled()
    apply = applied(compiled, pattern.method)
    slow = {}

    for begin, repeat, end in (*pattern.worst(), *(("", repeat, end) for repeat in ANYWHERE for end in ("", "\0"))):
        text: Any = begin + repeat * (SIZE // len(repeat)) + end
        text = text.encode() if isinstance(compiled.pattern, bytes) else text
        if (took := seconds_of(partial(apply, text))) > HANGS_S:
            slow[begin, repeat, end] = took

    assert slow == {}


def seconds_of(act: Callable[[], object]) -> float:
    """Return the processor time of the quickest of up to three calls: a busy machine makes each of them longer."""
    took = math.inf
    for _ in range(3):
        started = time.thread_time()
        act()
        took = min(took, time.thread_time() - started)
        if took <= HANGS_S:
            break
    return took


def drip(feed: Callable[[bytes], object], data: bytes) -> None:
    """Feed byte after byte, as a client may that means harm, until it is refused."""
    for byte in data:
        if feed(bytes([byte])) is True:
            return


@pytest.mark.parametrize("what", sorted(LOOPS))
def test_64_kib_of_its_worst_keep_no_loop_busy(what: str) -> None:
    def refuse_or_read() -> None:
        with suppress(ValueError, errors.BeaconError):  # refused is well, too
            LOOPS[what]()

    assert seconds_of(refuse_or_read) < HANGS_S
