"""The credentials of one endpoint on real sockets: bearer, basic, header files, changed files, masked answers."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from beacon.notifier.transport import answer, blocking_sender, route
from beacon.notifier.transport.auth import endpoint_auth
from tests.unit.notifier import endpoints, running

SECRET, OTHER = "s3cret-one", "s3cret-two"


class Sending:
    """A sender with credentials, and what it reports."""

    def __init__(self, url: str, auth: endpoint_auth.AuthConfig) -> None:
        self.secrets: list[str] = []
        self.problems: list[str] = []
        self.sender = blocking_sender.BlockingSender(
            route.Target(url=url, method="POST", agent="b", width=2, auth=auth),
            token=lambda: "",
            listener=route.RouteListener(auth_error=self.problems.append, secrets=self.secrets.extend),
        )

    def send(self) -> answer.EndpointAnswer:
        return self.sender.send(b"{}", event_id="1", timeout_s=60.0)


@pytest.fixture
def receiver() -> Iterator[endpoints.Endpoint]:
    made = endpoints.Endpoint()
    yield made
    made.down()


class Senders:
    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url, self._stack = url, stack

    def open(self, **config: object) -> Sending:
        made = Sending(self._url, endpoint_auth.AuthConfig(**config))  # type: ignore[arg-type]
        self._stack.callback(made.sender.close)
        return made


@pytest.fixture
def senders(receiver: endpoints.Endpoint) -> Iterator[Senders]:
    with ExitStack() as stack:
        yield Senders(receiver.url, stack)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return mounted(tmp_path, SECRET + "\n")


def mounted(directory: Path, text: str) -> Path:
    """Write a secret as Kubernetes mounts it: the file is a link into a directory that a link names."""
    (directory / "..first").mkdir()
    (directory / "..first" / "secret").write_text(text)
    (directory / "..data").symlink_to("..first")
    (directory / "secret").symlink_to("..data/secret")
    return directory / "secret"


def swap(file: Path, text: str) -> None:
    """Replace a mounted secret as Kubernetes does: the link to the directory is renamed."""
    directory = file.parent
    new = directory / f"..{text.strip() or 'empty'}"
    new.mkdir()
    (new / "secret").write_text(text)
    (directory / "..new").symlink_to(new.name)
    (directory / "..new").rename(directory / "..data")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_each_kind_of_credentials_is_sent(receiver: endpoints.Endpoint, senders: Senders, file: Path) -> None:
    path = str(file)
    doors = {
        f"Bearer {SECRET}": senders.open(token_file=path),
        basic("säule", SECRET): senders.open(username="säule", password_file=path),
        SECRET: senders.open(header_files={"Authorization": path}),
    }
    for door in doors.values():
        assert door.send().status == 204
    assert senders.open(token_file=path, header_files={"X-API-Key": path, "X-Two": path}).send().status == 204

    assert [one.headers["authorization"] for one in receiver.received[:3]] == [*doors]
    last = receiver.received[-1].headers
    assert (last["authorization"], last["x-api-key"], last["x-two"]) == (f"Bearer {SECRET}", SECRET, SECRET)


def test_a_swapped_mount_is_read_and_a_bad_one_leaves_the_previous_secret(
    receiver: endpoints.Endpoint, senders: Senders, file: Path
) -> None:
    door = senders.open(token_file=str(file), header_files={"X-API-Key": str(file)})
    sender = door.sender._sender
    assert door.send().status == 204
    connection, version = receiver.received[0].connection, sender.secrets_version

    for bad, problem in (("", "is empty"), ("two\nlines", "contains a line feed or another control character")):
        swap(file, bad)
        running.wait_for(lambda text=problem: door.send().status == 204 and text in "".join(door.problems[-2:]))  # type: ignore[misc]
        assert {one.headers["authorization"] for one in receiver.received} == {f"Bearer {SECRET}"}
    assert sender.secrets_version == version
    swap(file, OTHER)
    running.wait_for(lambda: door.send().status == 204 and receiver.received[-1].headers["x-api-key"] == OTHER)

    assert receiver.received[-1].headers["authorization"] == f"Bearer {OTHER}"
    assert receiver.received[-1].connection == connection, "the connection is kept"
    assert sender.secrets_version == version + 1, "what the old secret was refused is restored"
    assert {SECRET, OTHER} <= {*door.secrets}


def test_a_changed_secret_is_noticed_while_nothing_is_sent(senders: Senders, file: Path) -> None:
    sender = senders.open(token_file=str(file)).sender._sender
    swap(file, OTHER)

    def checked() -> bool:
        sender.check_secrets()
        return sender.secrets_version == 1

    running.wait_for(checked)


def test_nothing_is_sent_before_every_file_can_be_read(
    receiver: endpoints.Endpoint, senders: Senders, file: Path, tmp_path: Path
) -> None:
    later = tmp_path / "later"
    later.mkdir()
    door = senders.open(token_file=str(file), header_files={"X-API-Key": str(later)})

    got = [door.send() for _ in range(3)]

    problem = f"auth.headerFiles.X-API-Key {later} can't be read: Is a directory"
    assert [(one.code, one.status, one.error) for one in got] == [(answer.NETWORK, 0, problem)] * 3
    assert door.problems == [problem]
    assert door.sender._sender.missing == problem
    assert receiver.connections == 0
    later.rmdir()
    later.write_text(OTHER)
    running.wait_for(lambda: door.send().status == 204)
    assert receiver.received[0].headers["x-api-key"] == OTHER
    assert (door.sender._sender.missing, door.sender._sender.secrets_version) == ("", 0)


@pytest.mark.parametrize("form", [SECRET, basic("me", SECRET), f"me:{SECRET}", basic("me", SECRET).split()[1]])
def test_no_answer_that_repeats_a_secret_is_kept_with_it(
    form: str, receiver: endpoints.Endpoint, senders: Senders, file: Path
) -> None:
    receiver.behave = lambda _request, _line: endpoints.Reply(401, f"rejected {form} here".encode())

    door = senders.open(username="me", password_file=str(file))
    got = door.send()

    assert (got.status, got.error) == (401, "rejected *** here")
    assert SECRET not in repr((door.sender._sender.__dict__, endpoint_auth.AuthConfig(token_file=str(file))))
