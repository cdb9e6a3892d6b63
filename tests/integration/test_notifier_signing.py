"""Standard Webhooks signatures on a real socket, verified by the reference library and by the examples of the pages."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from beacon.notifier.transport import answer, blocking_sender, route
from beacon.notifier.transport.auth import endpoint_auth, signing
from tests.unit.notifier import endpoints, running

PAGE = Path(__file__).parents[2] / "docs" / "receivers.md"
OLD, NEW, STRANGE = ("whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
BODY = json.dumps({"subject": "säule"}, ensure_ascii=False).encode()


@pytest.fixture
def receiver() -> Iterator[endpoints.Endpoint]:
    made = endpoints.Endpoint()
    yield made
    made.down()


def sender_of(url: str, *files: Path) -> blocking_sender.BlockingSender:
    auth = endpoint_auth.AuthConfig(signing_files=tuple(map(str, files)))
    return blocking_sender.BlockingSender(
        route.Target(url=url, method="POST", agent="b", width=2, auth=auth), token=lambda: ""
    )


def written(directory: Path, **secrets: str) -> list[Path]:
    for name, secret in secrets.items():
        (directory / name).write_text(f"{secret}\n")
    return [directory / name for name in secrets]


def send(sender: blocking_sender.BlockingSender, number: int = 1) -> answer.EndpointAnswer:
    return sender.send(BODY, event_id=f"event-{number}", timeout_s=60.0)


def accepts(secret: str, request: endpoints.Received) -> bool:
    """Return True if the reference library accepts a request."""
    try:
        standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


def test_the_reference_library_accepts_each_of_two_secrets_and_no_other(
    receiver: endpoints.Endpoint, tmp_path: Path
) -> None:
    sender = sender_of(receiver.url, *written(tmp_path, old=OLD, new=NEW))
    assert send(sender).status == 204

    (got,) = receiver.received
    assert [accepts(secret, got) for secret in (OLD, NEW, STRANGE)] == [True, True, False]
    assert got.headers["webhook-id"] == got.headers["x-beacon-event-id"] == "event-1"
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 100
    got.body += b" "
    assert not accepts(OLD, got)
    sender.close()


def test_a_secret_is_replaced_in_the_middle_of_a_burst_and_every_request_has_a_valid_signature(
    receiver: endpoints.Endpoint, tmp_path: Path
) -> None:
    (file,) = written(tmp_path, secret=OLD)
    sender = sender_of(receiver.url, file)
    receiver.behave = lambda request, _line: endpoints.Reply(
        204 if any(accepts(secret, request) for secret in (OLD, NEW)) else 401
    )
    for number in range(20):
        assert send(sender, number).status == 204
    (fresh,) = written(tmp_path, fresh=NEW)
    fresh.replace(file)

    running.wait_for(lambda: send(sender).status == 204 and accepts(NEW, receiver.received[-1]))

    assert not accepts(OLD, receiver.received[-1])
    assert sender._sender.secrets_version == 1
    sender.close()


def test_nothing_is_sent_with_an_invalid_secret(receiver: endpoints.Endpoint, tmp_path: Path) -> None:
    (file,) = written(tmp_path, secret="whsec_c2hvcnQ=")
    sender = sender_of(receiver.url, file)

    got = send(sender)

    problem = f"signing.secretFiles[0] {file} must contain whsec_ and the base64 of 24 to 64 bytes"
    assert (got.code, got.error) == (answer.NETWORK, problem)
    assert receiver.connections == 0
    sender.close()


@pytest.mark.parametrize("off_s", [-400, 400])
def test_the_reference_library_rejects_a_wrong_clock(off_s: int) -> None:
    lines = signing.header_lines([base64.b64decode(OLD[6:])], "event-1", int(time.time()) + off_s, BODY)
    headers = dict(line.split(": ") for line in lines.decode().splitlines())

    with pytest.raises(standardwebhooks.WebhookVerificationError, match="timestamp too"):
        standardwebhooks.Webhook(OLD).verify(BODY, headers)
    assert not example_of_python()(headers, BODY, [OLD])


def example(language: str) -> str:
    page = PAGE.read_text(encoding="utf-8").partition("### Signatures")[2]
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


def example_of_python() -> Any:
    names: dict[str, Any] = {}
    exec(compile(example("python"), "receivers.md", "exec"), names)
    return names["is_genuine"]


def test_the_examples_of_the_page_verify_what_is_sent(receiver: endpoints.Endpoint, tmp_path: Path) -> None:
    files = written(tmp_path, old=OLD, new=NEW)
    sender = sender_of(receiver.url, *files)
    assert send(sender).status == 204
    (got,) = receiver.received
    is_genuine = example_of_python()

    assert is_genuine(got.headers, got.body, [STRANGE, NEW])
    assert not is_genuine(got.headers, got.body, [STRANGE])
    assert not is_genuine(got.headers, got.body + b" ", [OLD, NEW])
    assert not is_genuine({**got.headers, "webhook-timestamp": "²"}, got.body, [OLD, NEW])
    assert not is_genuine({}, got.body, [OLD])
    (tmp_path / "body").write_bytes(got.body)
    identity, sent_at = got.headers["webhook-id"], got.headers["webhook-timestamp"]
    signatures = [
        subprocess.run(
            ["sh", "-c", example("sh"), "sign.sh", identity, sent_at, str(tmp_path / "body"), str(file)],
            check=True, capture_output=True, text=True,
        ).stdout
        for file in files
    ]  # fmt: skip
    assert got.headers["webhook-signature"].split() == signatures
    sender.close()
