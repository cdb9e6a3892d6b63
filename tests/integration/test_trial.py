"""The test event uses the notifier's transport, with the same configuration."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.cli.commands import test_event as words
from beacon.configuration import settings
from beacon.dev import endpoint as endpoints
from beacon.dev import testkit
from beacon.notifier import test_event
from tests.unit.notifier import endpoints as requests


@pytest.fixture
def sink() -> Iterator[endpoints.SinkServer]:
    with endpoints.running() as served:
        yield served


def tree(url: str, **endpoint: Any) -> settings.Settings:
    return tree_of({"url": url, **endpoint})


def tree_of(*given: dict[str, Any]) -> settings.Settings:
    endpoints_ = [{"timeout_s": 60.0, **one} for one in given]
    return settings.from_plain({"resources": [{"api_version": "v1", "kind": "Pod"}], "endpoints": endpoints_})


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

    assert (result.code, result.error) == (
        "",
        "the token file /nowhere/token is missing, empty or unreadable: not sent",
    )
    assert sink.events() == []


def test_the_placeholder_of_the_examples_is_reported_and_never_sent(sink: endpoints.SinkServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("replace-me\n")

    result = test_event.send(tree(sink.url), {"ENDPOINT_AUTH_TOKEN_FILE": str(tmp_path / "token")})

    assert "contains `replace-me`, the placeholder of the examples, which is never sent" in result.error
    assert sink.events() == []


def test_of_several_endpoints_the_named_one_gets_it_with_its_own_method_and_headers_and_no_token() -> None:
    served = requests.Endpoint()
    other = {"name": "other", "url": "http://127.0.0.1:9/"}
    billing = {"name": "billing", "url": served.url, "method": "PUT", "headers": {"X-Team": "billing"}}

    result = test_event.send(tree_of(other, billing), {"ENDPOINT_AUTH_TOKEN": "s3cret-token"}, "billing")
    served.down()

    assert (result.status, result.endpoint) == (204, "billing")
    (request,) = served.received
    assert (request.method, request.headers["x-team"], request.headers.get("authorization")) == ("PUT", "billing", None)


@pytest.mark.parametrize(("name", "why"), [("gone", "endpoint gone is not configured"), ("", "no endpoint is named")])
def test_without_a_configured_endpoint_nothing_is_sent(sink: endpoints.SinkServer, name: str, why: str) -> None:
    result = test_event.send(tree_of({"name": "a", "url": sink.url}, {"name": "b", "url": sink.url}), {}, name)

    assert (result.code, result.error, result.endpoint) == ("", f"{why}: not sent", name)
    assert sink.events() == []


class Store:
    """Hands out requested test events as the store does, and keeps the reports."""

    def __init__(self, *requested: wire.TakenTestEvent) -> None:
        self.requested = {one.id: one for one in requested}
        self.reports: dict[str, wire.TestEventResult] = {}

    def __call__(self, request: wire.Request[Any]) -> Any:
        if isinstance(request, wire.ReportTestEvent):
            self.reports[request.id] = request.result
            return wire.ReportedTestEvent()
        assert isinstance(request, wire.TakeTestEvent)
        left = [one for one in self.requested.values() if one.id not in {*request.under_way, *self.reports}]
        return left[0] if left else wire.TakenTestEvent(id="")

    def wait_for_a_report(self, sender: test_event.TestEventSender) -> None:
        def is_reported() -> bool:
            sender.step()
            return bool(self.reports)

        testkit.until(is_reported, "a result", timeout=50)


def test_an_endpoint_that_hangs_does_not_delay_the_test_event_of_another_one(sink: endpoints.SinkServer) -> None:
    with endpoints.running(mode="hang") as hanging:
        store = Store(wire.TakenTestEvent(id="1", endpoint="slow"), wire.TakenTestEvent(id="2", endpoint="quick"))
        both = tree_of({"name": "slow", "url": hanging.url}, {"name": "quick", "url": sink.url})
        sender = test_event.TestEventSender(store, both, {})

        store.wait_for_a_report(sender)

    assert {name: one.endpoint for name, one in store.reports.items()} == {"2": "quick"}
    assert sender.is_busy


def test_an_unexpected_error_is_reported_and_ends_no_other_test_event(
    sink: endpoints.SinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    unchecked: dict[str, Any] = {"url": 5}
    broken = replace(tree(sink.url).endpoint, **unchecked)
    store = Store(wire.TakenTestEvent(id="1"))
    sender = test_event.TestEventSender(store, replace(tree(sink.url), endpoints=(broken,)), {})

    store.wait_for_a_report(sender)

    assert store.reports["1"].error == "an unexpected error, see the log: not sent"
    assert not sender.is_busy


def test_an_unknown_host_is_a_network_error() -> None:
    result = test_event.send(tree("http://nowhere.invalid/"), {})

    assert result.code == "network"
    assert "name" in result.error.lower()


def test_plain_http_where_tls_is_expected_is_a_tls_error(sink: endpoints.SinkServer) -> None:
    result = test_event.send(tree(sink.url.replace("http://", "https://")), {})

    assert result.code == "tls"
    assert result.error != ""


@pytest.mark.parametrize("code", ["", "network", "tls", "timeout", "token", "400", "401", "307", "418", "503"])
def test_every_code_has_a_meaning(code: str) -> None:
    for several in (False, True):
        assert words.meaning(code, several=several).endswith(".")
        assert "ENDPOINT_AUTH_TOKEN" not in words.meaning(code, several=True)


@pytest.mark.parametrize(
    ("date", "offset_s"),
    [
        ("Thu, 01 Jan 1970 00:16:40 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:38 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:35 GMT", -5.5),
        ("Thu, 01 Jan 1970 00:23:20 GMT", 399.5),
        ("", None),
        ("yesterday", None),
        ("Thu, 99 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_the_clock_of_the_endpoint_is_compared(date: str, offset_s: float | None) -> None:
    assert test_event.clock_offset_s(date, 1000.5, 2.0) == offset_s


def test_a_clock_that_is_wrong_is_stated() -> None:
    response = {"status": 401, "code": "401", "error": "", "seconds": 0.1, "id": "e"}

    lines = words._lines(response | {"clockOffsetSeconds": -400.0}, "")

    assert lines[-1] == "The endpoint's clock is 400 s behind Beacon's."
    assert len(words._lines(response | {"clockOffsetSeconds": 0.0}, "")) == 2


def test_the_date_of_the_endpoint_is_reported() -> None:
    epoch = {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}
    served = requests.Endpoint(lambda _request, _line: requests.Reply(401, headers=epoch))

    result = test_event.send(tree(served.url), {})

    assert result.clock_offset_s is not None
    assert result.clock_offset_s < -1e9
    served.down()


def test_a_missing_secret_and_a_token_endpoint_that_fails_are_named(tmp_path: Path) -> None:
    served = requests.Endpoint()
    login = requests.Endpoint(lambda _request, _line: requests.Reply(503, b"under repair"))
    (tmp_path / "secret").write_text("s3cret")
    client = {"token_url": login.url, "client_id": "me", "client_secret_file": str(tmp_path / "secret")}

    missing = test_event.send(tree(served.url, auth={"bearer": {"token_file": "/nowhere/t"}}), {})
    failed = test_event.send(tree(served.url, auth={"oauth2": client}), {})

    problem = "auth.bearer.tokenFile /nowhere/t can't be read: No such file or directory"
    assert (missing.code, missing.error) == ("", f"{problem}: not sent")
    assert (failed.code, failed.error) == ("token", "token endpoint: 503: under repair")
    assert served.received == []
    served.down()
    login.down()
