"""The JSON examples of the pages have the fields and the types of what Beacon really sends and prints."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from beacon.dev import testkit
from beacon.domain import model
from tests.system import documents, load, running

DOCS = documents.ROOT / "docs"
TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Everything]:
    """Yield a Beacon that has sent a `created` and an `updated` event of the Deployment shop/web, with a token."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    kinds = [{"apiVersion": "apps/v1", "kind": "Deployment"}]
    environ = {"ENDPOINT_AUTH_TOKEN_FILE": str(token)}
    with running.everything(changes={"resources": kinds}, environ=environ) as made:
        made.cluster.namespace("shop")
        metadata = {"name": "web", "namespace": "shop", "labels": {"tier": "web"}}
        made.cluster.put("deployments", {"metadata": metadata | {"annotations": {load.ANNOTATION: "silver"}}})
        made.cluster.annotate("deployments", "web", {load.ANNOTATION: "gold"}, namespace="shop")
        made.sink.wait_for(lambda stats: stats.distinct == 2, timeout=60)
        yield made


def shape(value: object) -> object:
    """Return the names of the fields with the types of their values; labels and annotations are the user's."""
    if isinstance(value, dict):
        return {key: "map" if key in ("labels", "annotations") else shape(item) for key, item in value.items()}
    return type(value).__name__


def example(page: str, begin: str) -> Any:
    """Return the JSON example of a page whose block begins with a text."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) if block.startswith(begin))
    return json.loads(block)


def test_the_event_on_the_page_on_receivers_is_like_one_that_beacon_sends(whole: running.Everything) -> None:
    *_, sent = whole.sink.events()
    real, shown = json.loads(sent.request.body), example("receivers.md", "{")

    assert shape(real) == shape(shown)
    same = ("specversion", "source", "type", "subject", "datacontenttype", "partitionkey")
    assert {name: real[name] for name in same} == {name: shown[name] for name in same}
    for name in ("id", "time", "sequence", "previous", "ledgerid"):
        assert re.sub(r"[0-9a-f]", "0", real[name]) == re.sub(r"[0-9a-f]", "0", shown[name]), name
    assert real["data"]["detection"].keys() == shown["data"]["detection"].keys()
    assert real["data"]["detection"]["source"] == shown["data"]["detection"]["source"]
    assert real["data"]["detection"]["cause"] == shown["data"]["detection"]["cause"]


def test_the_headers_on_the_page_on_receivers_are_those_that_beacon_sends(whole: running.Everything) -> None:
    *_, sent = whole.sink.events()
    text = (DOCS / "receivers.md").read_text(encoding="utf-8").partition("| header |")[2].partition("\n\n")[0]
    named = {name.lower() for name in re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)}
    transport = {"host", "content-length", "accept-encoding", "accept", "connection"}

    assert named == {name.decode() for name, _ in sent.request.headers} - transport
    assert sent.request.header("Authorization") == f"Bearer {TOKEN}"


def test_the_page_on_receivers_lists_every_source_and_cause() -> None:
    text = (DOCS / "receivers.md").read_text(encoding="utf-8")

    sources, causes = (
        re.findall(r"^\| `([\w-]+)`", text.partition(f"| `detection.{name}` |")[2].partition("\n\n")[0], re.MULTILINE)
        for name in ("source", "cause")
    )

    assert sources == list(model.Source)
    assert sorted(causes) == sorted([*model.Cause, "test"])


def test_the_json_of_events_on_the_page_on_the_command_line_is_like_what_it_prints(whole: running.Everything) -> None:
    testkit.until(lambda: "delivered" in events(whole), "the deliveries to be settled", timeout=60)
    real = json.loads(events(whole))[0]

    assert shape(example("cli.md", '{"sequence"')) == shape(real)


def events(whole: running.Everything) -> str:
    """Return the output of `beacon events -o json`."""
    command = [sys.executable, "-m", "beacon.cli", "events", "-o", "json"]
    environ = {**os.environ, **whole.beacon.environ}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def test_every_kubectl_command_names_beacons_namespace() -> None:
    verbs = r"exec|logs|port-forward|rollout|scale|wait|describe|get pods?\b|create secret"
    ours = re.compile(rf"kubectl(?: -n beacon)? (?:{verbs})[^`\n]*")
    texts = {page: page.read_text(encoding="utf-8") for page in documents.PAGES}

    found = {(page.name, command) for page, text in texts.items() for command in ours.findall(text)}

    whole_commands = {(page, command) for page, command in found if len(command.split()) > 2}
    assert len(whole_commands) > 15
    assert {(page, command) for page, command in whole_commands if "-n beacon" not in command} == set()
