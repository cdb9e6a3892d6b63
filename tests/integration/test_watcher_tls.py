"""TLS to the API server: handshakes that never end, and authorities that are wrong, half-written or rotated."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from beacon.runtime import heartbeat, run_directory
from tests.integration import watcher_world
from tests.integration.watcher_world import ON, entry, object_, world


class Door:
    """A TCP forwarder in front of an API server that can hold every new connection without a byte."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.silent = False
        self.held = 0
        self._target = target
        self._lines: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Break all connections, and hold the next ones."""
        self.silent = True
        self._break()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._break()

    def _break(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._server.accept()
                self._lines.append(line)
                if self.silent:
                    self.held += 1
                    continue
                onward = socket.create_connection(self._target)
                self._lines.append(onward)
                for ends in ((line, onward), (onward, line)):
                    threading.Thread(target=_forward, args=ends, daemon=True).start()


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Return a function that changes the cluster of a kubeconfig."""

    def edit(path: Path) -> None:
        document = json.loads(path.read_text(encoding="utf-8"))
        change(document["clusters"][0]["cluster"])
        path.write_text(json.dumps(document), encoding="utf-8")

    return edit


@contextmanager
def door_of(w: watcher_world.World) -> Iterator[Door]:
    host, _, port = w.api.url.removeprefix("https://").rpartition(":")
    door = Door((host, int(port)))
    w.edit = edited(lambda cluster: cluster.update(server=f"https://127.0.0.1:{door.port}"))
    try:
        yield door
    finally:
        door.close()


def await_reason(w: watcher_world.World, text: str, scope: str = "ConfigMap") -> None:
    """Wait for the reason why a scope is unreachable; the first one may be that its connection was closed."""
    watcher_world.await_(lambda: text in str(w.await_state("unreachable", scope)["reason"]), explain=w.explain)


def test_a_handshake_that_never_ends_is_reported_and_survived() -> None:
    with world(entry(), entry("Secret")) as w, door_of(w) as door:
        w.api.create("configmaps", object_("a", ON))
        w.start()
        w.await_received(("created", "a"))

        door.silence()
        for scope in ("ConfigMap", "Secret"):
            await_reason(w, "no response in time", scope)
        watcher_world.await_(lambda: door.held >= 6, explain=w.explain)
        beats = heartbeat.read(run_directory.heartbeats_directory(w.run_dir))
        assert all(beat.age_s < heartbeat.HUNG_S for beat in beats)
        w.api.create("secrets", object_("s", ON))

        door.silent = False
        w.await_received(("created", "a"), ("created", "s"))
        w.stop()  # before the door closes


def half(right: bytes) -> bytes:
    return right[: len(right) // 2]


def wrong(_right: bytes) -> bytes:
    return trustme.CA().cert_pem.bytes()


def empty(_right: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("broken", [half, wrong, empty], ids=lambda broken: broken.__name__)
def test_a_broken_certificate_authority_costs_no_event_and_its_repair_is_noticed(
    broken: Callable[[bytes], bytes],
) -> None:
    with world() as w:
        authority, right = w.directory / "ca.crt", w.api.ca_pem
        authority.write_bytes(right)

        def by_file(cluster: dict[str, Any]) -> None:
            del cluster["certificate-authority-data"]
            cluster["certificate-authority"] = str(authority)

        w.edit = edited(by_file)
        w.api.create("configmaps", object_("a", ON))
        w.start()
        w.await_received(("created", "a"))

        authority.write_bytes(broken(right))
        w.api.faults.refuse(times=1)
        w.api.faults.drop()
        if broken is wrong:  # an unreadable file leaves the previous one in use
            await_reason(w, "certificate")
        w.api.create("configmaps", object_("b", ON))
        authority.write_bytes(right)

        w.await_received(("created", "a"), ("created", "b"))
        w.await_state("watching")


def test_a_watcher_that_starts_with_a_wrong_authority_waits_for_the_right_one() -> None:
    with world() as w:
        authority = w.directory / "ca.crt"
        authority.write_bytes(wrong(b""))

        def by_file(cluster: dict[str, Any]) -> None:
            del cluster["certificate-authority-data"]
            cluster["certificate-authority"] = str(authority)

        w.edit = edited(by_file)
        w.api.create("configmaps", object_("a", ON))
        w.start()
        assert "certificate" in str(w.await_state("unreachable")["reason"])

        authority.write_bytes(w.api.ca_pem)
        w.await_received(("created", "a"))


class MountedAccount:
    """The volume of a service account, which the kubelet replaces as a whole by renaming a link."""

    def __init__(self, directory: Path, token: str) -> None:
        self.path = directory / "serviceaccount"
        self.path.mkdir()
        self._token = token
        self._written = 0

    def write(self, authorities: bytes) -> None:
        self._written += 1
        content = self.path / f"..{self._written}"
        content.mkdir()
        (content / "ca.crt").write_bytes(authorities)
        (content / "token").write_text(self._token, encoding="utf-8")
        (self.path / "..new").symlink_to(content.name)
        (self.path / "..new").replace(self.path / "..data")
        for name in ("ca.crt", "token"):
            if self._written == 1:
                (self.path / name).symlink_to(f"..data/{name}")


@contextmanager
def pod() -> Iterator[tuple[watcher_world.World, MountedAccount]]:
    """Run a watcher with a mounted service account that has received its first event."""
    with world() as w:
        account = MountedAccount(w.directory, w.api.token)
        account.write(w.api.ca_pem)
        w.service_account = account.path
        w.api.create("configmaps", object_("a", ON))
        w.start()
        w.await_received(("created", "a"))
        yield w, account


def test_an_authority_that_is_rotated_before_its_file_is_named_and_its_successor_is_used() -> None:
    with pod() as (w, account):
        w.api.rotate_authority(trustme.CA())
        watcher_world.await_(lambda: f"trusted: {account.path}/ca.crt" in reason_of(w), w.explain)
        w.api.create("configmaps", object_("b", ON))

        account.write(w.api.ca_pem)

        w.await_received(("created", "a"), ("created", "b"))
        w.await_state("watching")


def test_an_authority_that_is_announced_in_the_file_is_used_when_the_server_changes_to_it() -> None:
    with pod() as (w, account):
        successor = trustme.CA()
        account.write(w.api.ca_pem + successor.cert_pem.bytes())
        w.api.create("configmaps", object_("b", ON))
        w.await_received(("created", "a"), ("created", "b"))
        w.api.rotate_authority(successor)
        w.api.create("configmaps", object_("c", ON))

        w.await_received(("created", "a"), ("created", "b"), ("created", "c"))
        assert w.context is not None
        assert "certificate" not in "".join(str(state["reason"]) for state in w.context.fields)


def reason_of(w: watcher_world.World) -> str:
    found = w.report()
    return str(found.fields.get("reason", "")) if found else ""
