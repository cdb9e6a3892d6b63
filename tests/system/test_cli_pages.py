"""The sample outputs of docs/cli.md and docs/operations.md have the form of real ones, and JSON has one style.

The scenario of the pages is run beside a real Beacon. In the comparison ids, instants and numbers are equal to others
of their kind, and a line `...` in a sample stands for any lines. With BEACON_SAMPLES=file the real outputs are written
there, for the pages.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from beacon import errors
from beacon.cli import __main__ as cli
from beacon.codec import documents
from beacon.dev import testkit
from tests.system import load, running

ROOT = Path(__file__).parents[2]
PAGES = ("cli.md", "operations.md")
NOT_RUN = ("beacon rbac --config config.yaml | kubectl apply -f -",)  # tests/integration/test_cli_rbac.py does
CONFIG: dict[str, Any] = {
    "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
    "events": {"updated": True},
    "endpoint": {
        "retry": {"initialBackoff": "50ms", "maxBackoff": "1s"},
        "breaker": {"failureThreshold": 3, "probeInterval": "1s"},
    },
}
PLANNED = {
    "resources": [
        {"apiVersion": "v1", "kind": "ConfigMap", "namespaces": ["default"]},
        {"apiVersion": "v1", "kind": "Secret"},
    ],
    "annotation": {"key": load.ANNOTATION},
    "endpoint": {"url": "http://127.0.0.1:9/"},
}
WIDGETS = "resources: [{apiVersion: example.com/v1, kind: Widget}]\nendpoint: {url: http://s/}\n"
# The keys that docs/cli.md calls deprecated, by command.
DEPRECATED = {
    "status": re.compile(r"\w+_\w+|label|position"),
    "tail": re.compile("seconds"),
    "test-event": re.compile("seconds"),
}
OF_OTHER_FORMATS = {"completion", "check-config", "rbac"}  # a script, the configuration, manifests
INSTANTS = {
    "at",
    "confirmed",
    "changed",
    "detected",
    "nextAttempt",
    "notBefore",
    "oldest",
    "parkedSince",
    "pausedSince",
    "removedSince",
    "settled",
    "since",
    "started",
    "until",
}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Sample:
    """A command of a page, the number of its earlier appearances there, and its printed output."""

    page: str
    command: str
    number: int
    lines: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.page, shape(self.command), self.number


def samples(page: str) -> Iterator[Sample]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    seen: dict[str, int] = {}
    for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.rstrip("\n").split("\n")
            command = re.sub(r"^kubectl exec .*? -- ", "", command)
            if command.startswith("beacon ") and lines:
                number = seen.get(shape(command), 0)
                seen[shape(command)] = number + 1
                yield Sample(page, command, number, tuple(lines))


def shape(line: str) -> str:
    """Return a line with the same text for each id, instant and number, and without alignment."""
    for pattern, name in (
        (UUID, "<id>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z", "<instant>"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8}\b", "<id>"),
        (r"(\d+ (min|h|d) )?\d+(\.\d+)? (s|min|h)\b", "<duration>"),
        (r"\b\d+(\.\d+)?\b", "<number>"),
    ):
        line = re.sub(pattern, name, line)
    return " ".join(line.split())


def matches(sample: tuple[str, ...], real: list[str]) -> bool:
    """Return True if the sample's lines are the real ones; `...` stands for any lines."""
    wanted, found = [shape(one) for one in sample], [shape(one) for one in real]
    if "..." not in wanted:
        return wanted == found
    pattern = "".join("(?:.*\n)?" if one == "..." else re.escape(one) + "\n" for one in wanted)
    return re.fullmatch(pattern, "\n".join([*found, ""]), re.DOTALL) is not None


@dataclass
class Scenario:
    """A running Beacon, and the outputs of the pages' commands there."""

    whole: running.Everything
    directory: Path
    outputs: dict[tuple[str, str, int], list[str]] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)

    def run(self, *arguments: str, **environ: str) -> str:
        command = [sys.executable, "-m", "beacon.cli", *arguments]
        done = subprocess.run(
            command, env=self.whole.beacon.environ | environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        found = json.loads(self.run(*arguments, "-o", "json"))
        self.documents.setdefault(arguments[0], []).append(found)
        return found

    def record(
        self, page: str, line: str, *arguments: str, number: int = 0, environ: Mapping[str, str] | None = None
    ) -> None:
        """Run a command as the page shows it."""
        self.outputs[page, shape(line), number] = self.run(*arguments, **(environ or {})).rstrip("\n").split("\n")

    def put(self, name: str, value: str = "gold", *, namespace: str = "shop", annotated: bool = True) -> None:
        annotations = {load.ANNOTATION: value} if annotated else {}
        metadata = {"name": name, "namespace": namespace, "annotations": annotations}
        self.whole.cluster.put("configmaps", {"metadata": metadata})

    def until(self, *arguments: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many events match."""
        testkit.until(lambda: len(self.json("events", *arguments)) == count, f"{arguments}", timeout=30)
        found: list[dict[str, Any]] = self.json("events", *arguments)
        return found

    def down(self) -> None:
        self.whole.sink.stop()
        self.put("o0", namespace="default")
        self.put("o0", "silver", namespace="default")
        self.put("cart")
        self.put("cart", "silver")
        self.until("--state", "ready", count=2)
        testkit.until(lambda: "down since" in self.run("status"), "the breaker to open", timeout=30)
        self.json("status")
        self.json("explain", "ConfigMap", "default/o0")
        self.record("operations.md", "beacon status", "status")
        self.record("operations.md", "beacon test-event", "test-event")
        self.record("cli.md", "beacon explain ConfigMap default/o0", "explain", "ConfigMap", "default/o0")

    def up(self) -> None:
        self.whole.sink.start()
        self.until("--state", "delivered", count=4)
        self.record("operations.md", "beacon events --limit 4", "events", "--limit", "4")

    def rejected(self) -> None:
        self.whole.sink.set(mode="failure", status=422)
        self.put("orders")
        self.put("stock")
        self.until("--state", "failed", count=2)
        self.whole.cluster.delete("configmaps", "stock", namespace="shop")
        self.put("billing", "bronze")
        self.until("--state", "failed", count=4)
        line = "beacon events --state failed --since 1h"
        for page in PAGES:
            self.record(page, line, *line.split()[1:])
        self.whole.sink.set(mode="failure", status=401)
        self.record("cli.md", "beacon test-event", "test-event")
        self.json("test-event")
        self.whole.sink.set(mode="success")
        self.put("billing", "silver")
        self.until("--state", "delivered", count=5)

    def corrected(self) -> None:
        self.record("operations.md", "beacon test-event", "test-event", number=1)
        (late,) = self.until("--state", "failed", "--name", "billing", count=1)
        line = "beacon redeliver --since 1h --yes"
        self.record("operations.md", line, *line.split()[1:])
        self.outputs["cli.md", shape(line), 0] = self.outputs["operations.md", shape(line), 0]
        self.until("--state", "delivered", count=8)
        self.json("redeliver", late["id"])
        arguments = ("discard", "--reason", "billing has silver already", late["id"])
        line = 'beacon discard --reason "billing has silver already" ' + late["id"]
        self.record("operations.md", line, *arguments)
        self.json("discard", "--reason", "x", late["id"])
        self.json("status")

    def follow(self, *options: str) -> list[str]:
        """Return the lines of `tail` for one change of an object."""
        path = self.directory / "tail"
        command = [sys.executable, "-m", "beacon.cli", "tail", *options]
        changes = iter(range(1000))
        with path.open("w") as out, subprocess.Popen(command, env=self.whole.beacon.environ, stdout=out) as process:

            def is_followed() -> bool:
                before = len(self.json("events", "--name", "cart", "--state", "delivered"))
                self.put("cart", f"{options} {next(changes)}")
                self.until("--name", "cart", "--state", "delivered", count=before + 1)
                return path.stat().st_size > 0

            try:
                testkit.until(is_followed, "the command to follow", timeout=60)
                testkit.until(lambda: "request" in path.read_text().splitlines()[-1], "the request", timeout=30)
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == errors.EXIT_OK
            finally:
                process.kill()
        return path.read_text().splitlines()[-2:]

    def several(self) -> dict[str, Any]:
        """Return the running configuration with a second endpoint."""
        current: dict[str, Any] = json.loads(self.whole.beacon.config_path.read_text())
        audit = {"name": "audit", "url": "http://127.0.0.1:9/", "select": {"namespaces": ["shop"]}}
        endpoints = [{"name": "default", **current.pop("endpoint")}, audit]
        return current | {"endpoints": endpoints}

    def others(self) -> None:
        self.outputs["cli.md", "beacon tail", 0] = self.follow()
        self.documents["tail"] = [json.loads(line) for line in self.follow("-o", "json")]
        self.put("plain", namespace="default", annotated=False)
        secret: dict[str, Any] = {"metadata": {"name": "s", "namespace": "default"}}
        self.whole.cluster.put(
            "secrets", secret | {"metadata": secret["metadata"] | {"annotations": {load.ANNOTATION: "x"}}}
        )
        config, widgets = self.directory / "planned.yaml", self.directory / "widgets.yaml"
        config.write_text(documents.dump(PLANNED), encoding="utf-8")
        widgets.write_text(WIDGETS, encoding="utf-8")
        self.record("cli.md", "beacon plan --config - < config.yaml", "plan", "--config", str(config))
        self.json("plan", "--config", str(config))
        several = self.directory / "several.yaml"
        several.write_text(documents.dump(self.several()), encoding="utf-8")
        self.record("cli.md", "beacon plan --config - < several.yaml", "plan", "--config", str(several))
        nothing = {"KUBECONFIG": "", "HOME": str(self.directory)}
        self.record("cli.md", "beacon rbac --config widgets.yaml", "rbac", "--config", str(widgets), environ=nothing)
        line = 'beacon pause --reason "billing is being upgraded"'
        self.record("cli.md", line, "pause", "--reason", "billing is being upgraded")
        self.json("pause")
        self.record("cli.md", "beacon resume", "resume")
        self.json("resume")
        self.json("version")
        self.json("verify")
        self.json("backup", str(self.directory / "copy.db"))
        self.json("restore", "--database", str(self.directory / "restored.db"), str(self.directory / "copy.db"))
        self.json("reload")
        self.json("adopt", self.json("plan", "--config", str(config))["cluster"], "--yes")


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    with running.everything(changes=CONFIG) as whole:
        whole.cluster.namespace("shop")
        made = Scenario(whole, tmp_path_factory.mktemp("pages"))
        for stage in (made.down, made.up, made.rejected, made.corrected, made.others):
            stage()
        if path := os.environ.get("BEACON_SAMPLES"):
            text = "\n".join(f"## {key}\n" + "\n".join(lines) for key, lines in made.outputs.items())
            Path(path).write_text(text, encoding="utf-8")
        yield made


SAMPLES = [sample for page in PAGES for sample in samples(page)]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda one: f"{one.page} {one.command[:40]} {one.number}")
def test_a_sample_has_the_form_of_a_real_output(sample: Sample, scenario: Scenario) -> None:
    if sample.command in NOT_RUN:
        return
    real = scenario.outputs[sample.key]

    assert matches(sample.lines, real), "\n".join(real)


def test_every_recorded_output_is_in_a_page(scenario: Scenario) -> None:
    assert set(scenario.outputs) == {sample.key for sample in SAMPLES if sample.command not in NOT_RUN}


def keys(value: object) -> Iterator[tuple[str, object]]:
    """Yield every key of a document with its value, but not those of maps whose keys are data."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from keys({} if key in ("rows", "checks") else inner)
    elif isinstance(value, list):
        for each in value:
            yield from keys(each)


def test_json_has_one_style(scenario: Scenario) -> None:
    assert set(scenario.documents) == set(cli.NAMES) - OF_OTHER_FORMATS
    for command, found in scenario.documents.items():
        for key, value in keys(found):
            if re.fullmatch(DEPRECATED.get(command, "(?!)"), key):
                continue
            assert re.fullmatch(r"[a-z][a-zA-Z]*", key), (command, key)
            if key in INSTANTS:
                assert value == "" or RFC_3339.fullmatch(str(value)), (command, key, value)


def test_the_deprecated_keys_are_still_there(scenario: Scenario) -> None:
    status = dict(keys(scenario.documents["status"]))

    assert {"position_us", "in_flight", "oldest_us", "up_s", "ended_s", "database_bytes", "label"} <= set(status)
    assert "seconds" in dict(keys(scenario.documents["tail"]))
    assert "seconds" in dict(keys(scenario.documents["test-event"]))


def test_every_delivery_has_its_endpoint(scenario: Scenario) -> None:
    for command, found in scenario.documents.items():
        for key, value in keys(found):
            if key == "delivery" and isinstance(value, Mapping):
                assert value["endpoint"] == "default", command
    refused = [one for found in scenario.documents["redeliver"] for one in found["refused"]]
    assert [one["endpoint"] for one in refused] == ["default"]


@pytest.mark.parametrize(
    ("sample", "real", "expected"),
    [
        (("a 1 2026-11-23 11:48:36Z",), ["a   2 2027-01-01 00:00:00Z"], True),
        (("a",), ["a", "b"], False),
        (("a", "..."), ["a", "b", "c"], True),
        (("a", "...", "c"), ["a", "c"], True),
        (("a", "...", "d"), ["a", "b", "c"], False),
        (("SEQUENCE  STATE",), ["SEQUENCE  ENDPOINT"], False),
    ],
)
def test_a_sample_of_another_form_is_detected(sample: tuple[str, ...], real: list[str], expected: bool) -> None:
    assert matches(sample, real) is expected
