"""A FIFO, a device, a socket or a directory in place of a file is refused at once, wherever Beacon reads a path.

A reader that opens a FIFO hangs, and one that reads a device to its end fills the memory.
"""

import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from beacon import errors
from beacon.boundary import files
from beacon.cluster import credentials
from beacon.configuration import loading, named_files
from beacon.notifier.transport import auth_token, tls_context
from beacon.runtime import metric_files, parent_death, run_directory, text_log
from beacon.sentinel import causes, restart_state
from beacon.store.ledger import database
from beacon.store.recovery import integrity
from tests.interpreters import doors

PATIENCE_S = 60.0
POD = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))  # a socket's address is short


KINDS: dict[str, Callable[[Path], None]] = {
    "FIFO": os.mkfifo,
    "directory": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": bind,
    "link to itself": lambda path: path.symlink_to(path),
}

Read = Callable[[Path], object]


def kubeconfig(user: dict[str, str] | None = None, **cluster: str) -> Read:
    """Return a function that loads credentials by a kubeconfig that names the odd file."""

    def read(path: Path) -> object:
        named = {name.replace("_", "-"): str(path) for name in cluster}
        config = doors.write_kubeconfig(
            path.with_name("kubeconfig"),
            "https://127.0.0.1:1",
            cluster=named,
            user={name: str(path) if value == "odd" else value for name, value in (user or {}).items()},
        )
        return credentials.source({"KUBECONFIG": str(config)}, connections=1)()

    return read


def account(odd: str) -> Read:
    def read(path: Path) -> object:
        directory = path.with_name("account")
        directory.mkdir()
        for name in ("token", "ca.crt"):
            if name == odd:
                (directory / name).symlink_to(path)
            else:
                (directory / name).write_bytes(b"t" if name == "token" else trustme.CA().cert_pem.bytes())
        return credentials.source(POD, connections=1, service_account=directory)()

    return read


def identity(odd: str) -> Read:
    """Return a function that makes the endpoint's TLS context; one of certificate and key is the odd file."""

    def read(path: Path) -> object:
        issued = trustme.CA().issue_cert("localhost")
        paths = {"certificate": path.with_name("c"), "key": path.with_name("k")}
        issued.cert_chain_pems[0].write_to_path(str(paths["certificate"]))
        issued.private_key_pem.write_to_path(str(paths["key"]))
        paths[odd] = path
        chosen = tls_context.TlsFiles(certificate=str(paths["certificate"]), key=str(paths["key"]))
        return tls_context.make_context(chosen)

    return read


REFUSED: dict[str, Read] = {
    "kubeconfig": lambda path: credentials.source({"KUBECONFIG": str(path)}, connections=1),
    "certificate-authority": kubeconfig(certificate_authority="odd"),
    "client-certificate": kubeconfig({"client-certificate": "odd", "client-key": "odd"}),
    "client-key": kubeconfig({"client-certificate-data": "Yw==", "client-key": "odd"}),
    "tokenFile": kubeconfig({"tokenFile": "odd"}),
    "the pod's token": account("token"),
    "the pod's authority": account("ca.crt"),
    "CONFIG_PATH": lambda path: loading.load({"CONFIG_PATH": str(path)}),
    "endpoint.tls.caFile": lambda path: tls_context.make_context(tls_context.TlsFiles(ca=str(path))),
    "endpoint.tls.certFile": identity("certificate"),
    "endpoint.tls.keyFile": identity("key"),
    "storage.dbPath": database.Database,
    "a ledger to verify": database.Database.to_read,
}

PLAIN = "resources: [{kind: ConfigMap, apiVersion: v1}]\nendpoint: {url: http://sink/}\n"


def checked(path: Path) -> list[str]:
    config = path.with_name("beacon.yaml")
    config.write_text(PLAIN)
    environ = {"CONFIG_PATH": str(config), "ENDPOINT_AUTH_TOKEN_FILE": str(path)}
    return list(named_files.problems(loading.load(environ).settings, environ))


def in_run_directory(name: str, read: Callable[[Path], object]) -> Read:
    """Return a function that reads a run directory in which a file is the odd one."""

    def read_it(path: Path) -> object:
        run_dir = path.with_name("run")
        for directory in (run_directory.reports_directory(run_dir), run_directory.metrics_directory(run_dir)):
            directory.mkdir(parents=True)
        (run_dir / name).symlink_to(path)
        return read(run_dir)

    return read_it


def marker(path: Path) -> object:
    ledger = path.with_name("e.db")
    integrity._marker_path(ledger).symlink_to(path)
    return integrity.read_marker(ledger)


def orphaned(run_dir: Path) -> bool:
    return parent_death._orphaned({"SUPERVISOR_ENABLED": "1", run_directory.VARIABLE: str(run_dir)}, 1)


IGNORED: dict[str, tuple[Read, object]] = {
    "ENDPOINT_AUTH_TOKEN_FILE": (lambda path: auth_token.AuthToken(file=str(path)).token(), ""),
    "the format of the log": (lambda path: text_log.expected_format({"CONFIG_PATH": str(path)}), "json"),
    "the marker of a ledger": (marker, integrity.ShutdownMarker.NONE),
    "supervisord's pid": (in_run_directory("supervisord.pid", orphaned), False),
    "supervisord's log": (
        in_run_directory("../supervisord.log", lambda run: causes.last_end(run, "store")),
        causes.End(),
    ),
    "a report": (in_run_directory("state/a.b.json", run_directory.read_reports), ()),
    "the sentinel's state": (
        in_run_directory("state/sentinel.memory", lambda run: restart_state.RestartState(run, "s").held()),
        {},
    ),
    "a metric file": (
        in_run_directory("metrics/counter_x.db", lambda run: metric_files.sound(run / "metrics" / "counter_x.db")),
        False,
    ),
}


def outcome(read: Read, path: Path) -> object:
    """Return what a reader returns, or the error that it raises; fail if it hangs."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(read(path))
        except errors.BeaconError as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it hangs"
    return found[0]


@pytest.fixture(params=list(KINDS))
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd"
    KINDS[request.param](path)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_a_path_that_is_no_file_is_refused_at_once(name: str, odd: Path) -> None:
    error = outcome(REFUSED[name], odd)

    assert isinstance(error, errors.BeaconError)
    assert {str(odd), str(odd.with_name("account"))} & set(re.split(r"[:;, ]|/(?:token|ca.crt)\b", str(error)))


@pytest.mark.parametrize("mode", [0o600, 0o700])
def test_an_exec_plugin_that_is_no_file_is_refused_at_once(odd: Path, mode: int) -> None:
    if not odd.is_symlink():
        odd.chmod(mode)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(odd), "interactiveMode": "Never"}
    config = doors.write_kubeconfig(odd.with_name("kubeconfig"), "https://127.0.0.1:1", user={"exec": plugin})

    error = outcome(lambda _: credentials.source({"KUBECONFIG": str(config)}, connections=1)(), odd)

    assert isinstance(error, errors.BeaconError)
    assert "the exec plugin 'odd' of user 'me' returned no credentials: " in str(error)


def test_a_token_file_that_is_none_is_reported_by_check_config(odd: Path) -> None:
    assert str(odd) in str(outcome(checked, odd))


@pytest.mark.parametrize("name", IGNORED)
def test_a_path_of_its_own_that_is_no_file_is_ignored_at_once(name: str, odd: Path) -> None:
    read, expected = IGNORED[name]

    assert outcome(read, odd) == expected


def test_the_end_of_a_file_is_read_however_large_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"much more and the end")

    assert files.tail(path, count=7) == b"the end"
    assert files.tail(path, count=100) == b"much more and the end"
