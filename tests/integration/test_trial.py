"""The test event uses the notifier's transport, with the same configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon.cli.commands import test_event as words
from beacon.configuration import settings
from beacon.dev import endpoint as endpoints
from beacon.notifier import test_event


@pytest.fixture
def sink() -> Iterator[endpoints.SinkServer]:
    with endpoints.running() as served:
        yield served


def tree(url: str, **endpoint: Any) -> settings.Settings:
    given = {"url": url, "timeout_s": 60.0, **endpoint}
    return settings.from_plain({"resources": [{"api_version": "v1", "kind": "Pod"}], "endpoints": [given]})


def test_it_sends_the_token_and_the_headers(sink: endpoints.SinkServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-token\n")

    result = test_event.send(
        tree(sink.url, headers={"X-Team": "billing"}), {"ENDPOINT_AUTH_TOKEN_FILE": str(tmp_path / "token")}
    )

    assert result.status == 200
    headers = dict(sink.events()[-1].request.headers)
    assert headers[b"authorization"] == b"Bearer s3cret-token"
    assert headers[b"x-team"] == b"billing"


def test_a_missing_token_file_is_reported_and_nothing_is_sent(sink: endpoints.SinkServer) -> None:
    result = test_event.send(tree(sink.url), {"ENDPOINT_AUTH_TOKEN_FILE": "/nowhere/token"})

    assert (result.code, result.error) == ("", "no token can be read from /nowhere/token: not sent")
    assert sink.events() == []


def test_an_unknown_host_is_a_network_error() -> None:
    result = test_event.send(tree("http://nowhere.invalid/"), {})

    assert result.code == "network"
    assert "name" in result.error.lower()


def test_plain_http_where_tls_is_expected_is_a_tls_error(sink: endpoints.SinkServer) -> None:
    result = test_event.send(tree(sink.url.replace("http://", "https://")), {})

    assert result.code == "tls"
    assert result.error != ""


@pytest.mark.parametrize("code", ["", "network", "tls", "timeout", "400", "401", "307", "418", "503"])
def test_every_code_has_a_meaning(code: str) -> None:
    assert words.meaning(code).endswith(".")
