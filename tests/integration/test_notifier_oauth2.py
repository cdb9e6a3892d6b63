"""OAuth2 client credentials on real sockets: renewal, refusals, and a token endpoint that answers anything."""

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from beacon.notifier.transport import answer, blocking_sender, endpoint_proxy, route
from beacon.notifier.transport.auth import endpoint_auth, oauth2
from tests.interpreters import relays
from tests.unit.notifier import endpoints, running

UNSENDABLE = "the token is empty, too long, or holds characters that can't be sent"
SECRET, OTHER = "cl!ent/s3cret one", "cl!ent-s3cret-two"


class Place:
    """A receiver that accepts the tokens of a token endpoint, which `answer` may replace; and a sender."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "secret"
        self.file.write_text(f"{SECRET}\n")
        self.secret = SECRET
        self.life: object = 3600
        self.reply: endpoints.Reply | None = None
        self.valid: set[str] = set()
        self.checks_token = True
        self.login = endpoints.Endpoint(self._issue)
        self.receiver = endpoints.Endpoint(self._receive)
        self.secrets: list[str] = []
        self.sender: blocking_sender.BlockingSender | None = None

    @property
    def issued(self) -> int:
        return len(self.login.received)

    def open(self, *, proxy: str = endpoint_proxy.NONE, use: str = "form", **config: Any) -> None:
        given: dict[str, Any] = {"client": "me:too", "timeout_s": 60.0} | config
        way = endpoint_proxy.ProxyConfig(url=proxy)
        secret = endpoint_auth.AuthConfig(
            username=given["client"], password_file=str(self.file), password_use=endpoint_auth.PasswordUse(use)
        )
        login = route.Target(
            url=self.login.url, method="POST", agent="b", width=1, auth=secret, asks_for_token=True, proxy=way
        )
        target = route.Target(
            url=self.receiver.url, method="POST", agent="b", width=2, proxy=way,
            token=route.TokenTarget(target=login, **given),
        )  # fmt: skip
        listener = route.RouteListener(secrets=self.secrets.extend)
        self.sender = blocking_sender.BlockingSender(target, token=lambda: "", listener=listener)

    @property
    def source(self) -> oauth2.TokenSource:
        assert self.sender is not None
        found = self.sender._sender._tokens
        assert found is not None
        return found

    def send(self, timeout_s: float = 60.0) -> answer.EndpointAnswer:
        assert self.sender is not None
        return self.sender.send(b"{}", event_id="1", timeout_s=timeout_s)

    def close(self) -> None:
        if self.sender is not None:
            self.sender.close()
        self.login.down()
        self.receiver.down()

    def _issue(self, _request: endpoints.Received, _line: object) -> endpoints.Reply:
        if self.reply is not None:
            return self.reply
        token = f"t0ken-{self.issued}"
        self.valid.add(token)
        return answered({"access_token": token, "token_type": "bearer", "expires_in": self.life})

    def _receive(self, request: endpoints.Received, _line: object) -> endpoints.Reply:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        is_valid = scheme == "Bearer" and token in self.valid
        return endpoints.Reply(204 if is_valid else 401, f"refused {token}".encode())


def answered(content: Mapping[str, object], status: int = 200) -> endpoints.Reply:
    return endpoints.Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_a_token_is_fetched_once_and_sent(place: Place) -> None:
    place.open(scopes=("a", "b"), params={"audience": "säule&x"})

    assert [place.send().status for _ in range(5)] == [204] * 5

    (asked,) = place.login.received
    user, _, password = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert (user, password) == ("me%3Atoo", "cl%21ent%2Fs3cret+one")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["a b"],
        "audience": ["säule&x"],
    }
    assert {"t0ken-1", SECRET} <= {*place.secrets}


def test_the_client_may_be_in_the_body_and_the_proxy_of_the_endpoint_is_used(place: Place) -> None:
    with relays.Socks5() as relay:
        place.open(use="body", proxy=f"socks5://127.0.0.1:{relay.port}")
        assert place.send().status == 204

        assert {port for _, port in relay.targets} == {place.login.port, place.receiver.port}
    (asked,) = place.login.received
    assert "authorization" not in asked.headers
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me:too"],
        "client_secret": [SECRET],
    }


def test_a_token_is_renewed_before_its_end_while_the_old_one_goes_on(place: Place) -> None:
    place.open()
    clock = [1000.0]
    place.source._clock = lambda: clock[0]
    assert place.send().status == 204
    clock[0] += 0.79 * 3600
    assert place.send().status == 204
    assert place.issued == 1
    place.reply = endpoints.Reply(500)
    clock[0] += 0.02 * 3600

    assert place.send().status == 204, "with the old token"
    running.wait_for(lambda: place.send().status == 204 and place.issued == 2)
    assert {one.headers["authorization"] for one in place.receiver.received} == {"Bearer t0ken-1"}
    place.reply = None
    clock[0] += 2.0
    running.wait_for(
        lambda: place.send().status == 204 and place.receiver.received[-1].headers["authorization"] == "Bearer t0ken-3"
    )
    clock[0] += 3600
    assert place.send().status == 204, "after the end it waits for a new one"
    assert place.receiver.received[-1].headers["authorization"] == "Bearer t0ken-4"


def test_a_revoked_token_is_renewed_within_the_same_request(place: Place) -> None:
    place.open()
    assert place.send().status == 204
    place.valid.clear()

    assert place.send().status == 204

    assert [one.headers["authorization"] for one in place.receiver.received] == [
        "Bearer t0ken-1",
        "Bearer t0ken-1",
        "Bearer t0ken-2",
    ]


def test_an_endpoint_that_refuses_every_token_does_not_cause_a_token_request_for_each_event(place: Place) -> None:
    place.open()
    assert place.send().status == 204
    place.receiver.behave = lambda request, _line: endpoints.Reply(
        401, f"refused {request.headers['authorization']}".encode()
    )

    got = [place.send() for _ in range(5)]

    assert [(one.code, one.status, one.error) for one in got] == [("401", 401, "refused Bearer ***")] * 5
    assert place.issued == 2


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (endpoints.Reply(500, b"oops"), "500: oops"),
        (endpoints.Reply(307, headers={"Location": "http://far/"}), "307: redirect to http://far/ not followed"),
        (endpoints.Reply(200, b"<html>log in</html>"), "the answer is not a JSON object"),
        (endpoints.Reply(200, b"access_token=a"), "the answer is not a JSON object"),
        (endpoints.Reply(200, b"[]"), "the answer is not a JSON object"),
        (endpoints.Reply(204), "the answer is not a JSON object"),
        (endpoints.Reply(200, b"x" * 70_000), "the answer is larger than 64 KiB"),
        (answered({"token_type": "bearer"}), "the answer holds no usable token (MissingTokenError)"),
        (answered({"access_token": "a\nX-More: 1"}), UNSENDABLE),
        (answered({"access_token": "abc\n"}), UNSENDABLE),
        (answered({"access_token": ""}), UNSENDABLE),
        (answered({"access_token": 7}), UNSENDABLE),
        (answered({"access_token": "a" * 20_000}), UNSENDABLE),
        (answered({"access_token": "abcd", "token_type": "mac"}), "the token is not of the type Bearer"),
        (answered({"error": "temporarily_unavailable"}), "temporarily_unavailable"),
    ],
)  # fmt: skip
def test_a_token_endpoint_without_a_usable_token_is_an_outage_with_a_clear_cause(
    reply: endpoints.Reply, cause: str, place: Place
) -> None:
    place.reply = reply
    place.open()

    got = [place.send() for _ in range(3)]

    assert [(one.code, one.status, one.error) for one in got] == [(answer.TOKEN, 0, f"token endpoint: {cause}")] * 3
    assert place.receiver.connections == 0
    assert place.issued < 3, "it is not asked for each event"
    place.reply = None
    running.wait_for(lambda: place.send().status == 204)


@pytest.mark.parametrize("status", [400, 401, 200])
def test_an_unknown_client_is_a_refusal_until_its_secret_changes(status: int, place: Place) -> None:
    place.reply = answered({"error": "invalid_client", "error_description": f"not {SECRET}"}, status)
    place.open()

    got = place.send()

    assert (got.code, got.status) == ("401", 401)
    assert got.error.startswith("token endpoint: ")
    assert "invalid_client" in got.error
    assert "s3cret" not in got.error
    place.reply = None
    place.file.write_text(OTHER)
    running.wait_for(lambda: place.send().status == 204)
    assert place.sender is not None
    assert place.sender._sender.secrets_version == 1, "what was refused is restored"


def test_a_token_endpoint_that_drips_or_is_down_ends_with_the_deadline(place: Place) -> None:
    def drip(_request: object, line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
        with contextlib.suppress(OSError):  # until the notifier closes the connection
            while not over.wait(0.02):
                line.sendall(b" ")

    over = threading.Event()
    place.login.behave = drip
    place.open(timeout_s=0.2)
    got = place.send()
    assert (got.code, got.error) == (answer.TOKEN, "token endpoint: timeout: no complete answer in time")
    over.set()
    place.login.down()

    running.wait_for(lambda: place.send().error.startswith("token endpoint: network: "))


def test_nothing_is_requested_before_the_secret_of_the_client_can_be_read(place: Place) -> None:
    place.file.unlink()
    place.open()

    assert place.send().code == answer.TOKEN

    assert place.sender is not None
    assert "can't be read: No such file or directory" in place.sender._sender.missing
    assert place.login.connections == place.receiver.connections == 0


@pytest.mark.parametrize("life", [None, "soon", 0, -1, True, "3600", 1e300, [3]])
def test_any_life_of_a_token_is_survived(life: object, place: Place) -> None:
    place.life = life
    place.open()

    assert place.send().code in ("204", answer.TOKEN)
    assert place.issued == 1


def test_replaced_tokens_are_forgotten_by_the_log(place: Place) -> None:
    forgotten: list[str] = []
    place.open()
    source = place.source
    source._listener = route.RouteListener(secrets=place.secrets.extend, forgotten=forgotten.extend)
    for _ in range(6):
        assert place.send().status == 204
        place.valid.clear()

    assert "t0ken-1" in forgotten
    assert not {"t0ken-3", "t0ken-6"} & {*forgotten}
