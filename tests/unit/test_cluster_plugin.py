"""A credential plugin is limited in time and output, leaves no process behind, and its failure has a cause."""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from beacon.cluster import failures, plugin
from tests.interpreters import doors
from tests.unit import scripts

VERSION = "client.authentication.k8s.io/v1"
GOOD = {"apiVersion": VERSION, "kind": "ExecCredential", "status": {"token": "t0ken"}}
RUN = """
import os, sys
from beacon.cluster import plugin
one = plugin.Plugin(command=sys.argv[1], args=(), env={}, api_version="v1", hint="", name="it", cluster=None)
plugin.run(one, os.environ, limit_s=600)
"""


@pytest.fixture
def command(tmp_path: Path) -> "Command":
    return Command(tmp_path / "plugin")


class Command:
    """A plugin that is a shell script, and how it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, body: str, *, mode: int = 0o755) -> None:
        self.path.write_text(f"#!/bin/sh\n{body}\n")
        self.path.chmod(mode)

    def run(self, body: str, *, limit_s: float = 20.0, **more: Any) -> plugin.Credential:
        self.write(body)
        return plugin.run(self.made(**more), os.environ, limit_s=limit_s)

    def failure(self, body: str, **more: Any) -> str:
        with pytest.raises(failures.Unreachable) as caught:
            self.run(body, **more)
        return str(caught.value)

    def made(self, **more: Any) -> plugin.Plugin:
        given = {"args": (), "env": {}, "hint": "", "cluster": None, "command": str(self.path)} | more
        return plugin.Plugin(api_version=VERSION, name="the exec plugin 'it'", **given)


def printing(answer: Mapping[str, Any]) -> str:
    return f"cat <<'END'\n{json.dumps(answer)}\nEND"


def is_gone(pid: int) -> bool:
    """Return True if a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def pid_in(file: Path) -> int:
    until = time.monotonic() + 100
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < until
        time.sleep(0.02)
    return int(file.read_text())


def wait_until_gone(file: Path) -> None:
    pid, until = pid_in(file), time.monotonic() + 100
    while not is_gone(pid):
        assert time.monotonic() < until, "it lives on"
        time.sleep(0.02)


def test_arguments_environment_and_input_are_as_promised(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_AUTH_TOKEN", "endpoint")
    body = f"""
        token="$1 $2 $MORE $ENDPOINT_AUTH_TOKEN $(cat)"
        printf '{{"apiVersion":"{VERSION}","kind":"ExecCredential","status":{{"token":"%s"}}}}' "$token"
    """

    assert command.run(body, args=("a", "b c"), env={"MORE": "m"}).token == "a b c m"


def test_the_cluster_is_passed_to_a_plugin_that_requests_it(command: Command) -> None:
    body = 'printf \'%s\' "$KUBERNETES_EXEC_INFO" > "$0.info"; ' + printing(GOOD)

    command.run(body, cluster={"server": "https://x"})

    info = json.loads(command.path.with_suffix(".info").read_text())
    assert info == {
        "apiVersion": VERSION,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://x"}},
    }


def test_a_plugin_that_hangs_is_killed_with_its_children(command: Command, tmp_path: Path) -> None:
    body = (
        f"trap '' TERM; (trap '' TERM; echo $$ > {tmp_path}/parent; exec sleep 600) & echo $! > {tmp_path}/child; wait"
    )

    why = command.failure(body, limit_s=3.0)

    assert why == "the exec plugin 'it' returned no credentials: it did not end within 3 s and was killed"
    wait_until_gone(tmp_path / "child")
    wait_until_gone(tmp_path / "parent")


def test_processes_that_a_plugin_leaves_running_are_killed_without_delay(command: Command, tmp_path: Path) -> None:
    body = f"{printing(GOOD)}\nsleep 600 & echo $! > {tmp_path}/child"

    assert command.run(body).token == "t0ken"
    wait_until_gone(tmp_path / "child")


def test_a_plugin_does_not_outlive_the_process_that_waits_for_it(command: Command, tmp_path: Path) -> None:
    command.write(f"echo $$ > {tmp_path}/pid; exec sleep 600")
    parent = os.posix_spawn(sys.executable, [sys.executable, "-c", RUN, str(command.path)], os.environ)
    pid_in(tmp_path / "pid")

    os.kill(parent, 9)
    os.waitpid(parent, 0)

    wait_until_gone(tmp_path / "pid")


@pytest.mark.parametrize("stream", ["1", "2"])
def test_output_without_end_is_bounded(command: Command, stream: str) -> None:
    why = command.failure(f"exec yes hunter2 >&{stream}", limit_s=3.0)

    assert ("more than 1024 KiB" if stream == "1" else "did not end within") in why
    assert "hunter2" not in why


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("echo first >&2; echo 'not logged in' >&2; exit 7", "it ended with code 7: not logged in"),
        ("kill -9 $$", "it ended with signal 9"),
        ("exit 0", "its output is not JSON"),
        ("echo '[]'", "did not print an ExecCredential"),
        (printing({"kind": "ExecCredential", "status": {"token": "t"}}), "did not print an ExecCredential"),
        (printing(GOOD | {"kind": "Status"}), "its kind is another one"),
        (printing(GOOD | {"apiVersion": "client.authentication.k8s.io/v1beta1"}), "another apiVersion"),
        (printing(GOOD | {"status": None}), "without status"),
        (printing(GOOD | {"status": {}}), "neither a token nor a client certificate"),
        (printing(GOOD | {"status": {"token": ""}}), "neither a token nor a client certificate"),
        (printing(GOOD | {"status": {"token": 5}}), "did not print an ExecCredential"),
        (printing(GOOD | {"status": {"token": "hunter2\nhunter2"}}), "its token contains a line feed"),
        (printing(GOOD | {"status": {"clientCertificateData": "x"}}), "one is missing"),
        (printing(GOOD | {"status": {"token": "t", "expirationTimestamp": "2001-01-01T00:00:00Z"}}), "they expired at"),
        (printing(GOOD | {"status": {"token": "t", "expirationTimestamp": "soon"}}), "did not print an ExecCredential"),
    ],
)
def test_a_failure_is_reported_with_its_cause(command: Command, body: str, why: str) -> None:
    said = command.failure(body)

    assert said.startswith("the exec plugin 'it' returned no credentials: ")
    assert why in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "complaint",
    [
        "the password is: hunter2",
        '{"token": "hunter2"}',
        "Authorization: Bearer hunter2",
        "bad key hunter2Value",
        "eyJhbGciOiJub25lIn0.hunter2ABC.x is no token",
        "hunter2=" + "x" * 5000,
        "\x1b[31mred\x1b[0m \u202e hunter2Value",
    ],
)
def test_the_error_text_of_a_plugin_is_bounded_and_without_secrets(command: Command, complaint: str) -> None:
    said = command.failure(f"cat >&2 <<'END'\n{complaint}\nEND\nexit 1", env={"KEY": "hunter2Value", "H": "hunter2="})

    assert "hunter2" not in said
    assert len(said) < 400
    assert said.isprintable()


def test_a_missing_command_is_reported_with_its_hint(command: Command) -> None:
    for name in ("no-such-plugin", str(command.path / "x")):
        said = command.failure("", command=name, hint="Install it from x.example.")
        assert (
            said
            == "the exec plugin 'it' returned no credentials: there is no such executable. Install it from x.example"
        )


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_file_that_cannot_be_executed_is_reported(command: Command, mode: int) -> None:
    command.path.write_bytes(b"\x00\x01")
    command.path.chmod(mode)

    with pytest.raises(failures.Unreachable, match=r"no such executable|can't be executed"):
        plugin.run(command.made(), os.environ)


def in_kubeconfig(made: Command, **more: Any) -> dict[str, Any]:
    return {"exec": {"command": str(made.path), "apiVersion": VERSION, "interactiveMode": "Never", **more}}


def test_a_plugin_that_fails_does_not_make_an_anonymous_request(command: Command, tmp_path: Path) -> None:
    command.write("echo 'not logged in' >&2; exit 1")
    api = doors.open_api(doors.write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1", user=in_kubeconfig(command)))

    with pytest.raises(failures.Unreachable) as caught:
        api.get("/version")

    assert str(caught.value) == (
        "the exec plugin 'plugin' of user 'me' returned no credentials: it ended with code 1: not logged in"
    )


def expiring(in_s: float) -> str:
    """Return a plugin that counts its runs and prints credentials with this end."""
    expires = (datetime.now(UTC) + timedelta(seconds=in_s)).isoformat()
    return f"echo x >> $0.runs; {printing(GOOD | {'status': {'token': 't', 'expirationTimestamp': expires}})}"


def test_credentials_are_kept_until_they_end_and_expired_ones_not_used(command: Command, tmp_path: Path) -> None:
    command.write(expiring(3600))
    path = doors.write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1", user=in_kubeconfig(command))
    api = doors.open_api(path)
    for _ in range(3):
        with pytest.raises(failures.Unreachable, match="does not answer"):
            api.get("/version")
    assert command.path.with_suffix(".runs").read_text() == "x\n"

    command.write(expiring(2))
    api = doors.open_api(path)
    until = time.monotonic() + 100
    while True:
        with pytest.raises(failures.Unreachable) as caught:
            api.get("/version")
        if "they expired" in str(caught.value):
            break
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_certificate_that_a_plugin_returns_is_presented(command: Command, tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("me")
    status = {
        "clientCertificateData": issued.cert_chain_pems[0].bytes().decode(),
        "clientKeyData": issued.private_key_pem.bytes().decode(),
    }
    command.write(printing(GOOD | {"status": status}))
    path = doors.write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1", user=in_kubeconfig(command))

    with pytest.raises(failures.Unreachable, match="does not answer"):
        doors.open_api(path).get("/version")

    command.write(printing(GOOD | {"status": {"clientCertificateData": "x", "clientKeyData": "y"}}))
    with pytest.raises(failures.Unreachable, match="the certificate of the exec plugin can't be used for TLS"):
        doors.open_api(path).get("/version")


def test_a_relative_command_is_resolved_beside_the_kubeconfig(command: Command, tmp_path: Path) -> None:
    command.write(printing(GOOD))
    user = in_kubeconfig(command, command="./plugin")

    with pytest.raises(failures.Unreachable, match="does not answer"):
        doors.open_api(doors.write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1", user=user)).get("/version")


def test_the_reader_of_a_plugin_needs_no_more_than_the_watcher_has() -> None:
    done = scripts.run("import beacon.cluster.plugin, sys; print('requests' in sys.modules)")

    assert done.stdout == b"False\n"
