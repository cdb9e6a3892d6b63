"""A client of supervisord's XML-RPC on a unix socket: the states of its programs, start and stop.

The exporter and the CLI only read states; the sentinel alone stops and starts programs. supervisor's own transport is
not used: it has no timeout, so a supervisord that hangs would block its clients.
"""

import http.client
import socket
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any
from xml.parsers import expat

from beacon import errors

_TIMEOUT_S = 1.0
_LONGEST_ANSWER = 4 * 1024 * 1024
_SHUTTING_DOWN = 6  # supervisord's fault code SHUTDOWN_STATE
_AT_ONCE = False  # the argument `wait`: supervisord replies before the program has started or stopped


class ShuttingDown(errors.TransientError):
    """supervisord rejects requests, because it is shutting down."""


class ProgramState(StrEnum):
    """The state of a program, as supervisord names it."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"  # has run for less than startsecs
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"  # ended within startsecs; waits for its next start
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"  # failed to start too often; not started again
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program; `pid` is 0 while it does not run, the times are seconds since 1970 (0: never)."""

    name: str
    state: ProgramState
    pid: int
    started_at: int
    stopped_at: int
    why: str

    @property
    def alive(self) -> bool:
        """Return True if a process of the program exists."""
        return self.pid > 0


def socket_of(run_dir: Path) -> Path:
    """Return the path of supervisord's socket, which is next to Beacon's private directory."""
    return run_dir.parent / "supervisor.sock"


def programs(path: Path) -> tuple[Program, ...]:
    """Return the states of all programs of the supervisord at this socket.

    Raises:
        ShuttingDown: supervisord is shutting down.
        errors.TransientError: it does not answer, or not in time.
    """
    infos = _call(path, "getAllProcessInfo")
    return tuple(sorted(_parse(infos), key=lambda program: program.name))


def dropped_lines(path: Path) -> int:
    """Return the number of log lines that supervisord could not write since it started.

    Raises:
        errors.TransientError: it does not answer, or runs without Beacon's plugin.
    """
    return int(_call(path, "droppedLines", of="beacon"))


def start(path: Path, name: str) -> None:
    """Start a program; return before it runs.

    Raises:
        errors.TransientError: supervisord does not answer, or refuses because it runs already.
    """
    _call(path, "startProcess", name, _AT_ONCE)


def stop(path: Path, name: str) -> None:
    """Stop a program, which supervisord does not start again; return before it has ended.

    Raises:
        errors.TransientError: supervisord does not answer, or refuses because it does not run.
    """
    _call(path, "stopProcess", name, _AT_ONCE)


def _call(path: Path, method: str, *arguments: str | bool, of: str = "supervisor") -> Any:
    request = xmlrpc.client.dumps(arguments, methodname=f"{of}.{method}").encode()
    try:
        (answer,), _ = xmlrpc.client.loads(_post(path, request))
    except xmlrpc.client.Fault as fault:
        kind = ShuttingDown if fault.faultCode == _SHUTTING_DOWN else errors.TransientError
        raise kind(f"supervisord refuses: {fault.faultString}") from fault
    except (OSError, http.client.HTTPException) as error:
        raise errors.TransientError(f"supervisord does not answer: {error}") from error
    except (xmlrpc.client.Error, expat.ExpatError, ValueError) as error:
        raise errors.TransientError(f"the response of supervisord can't be read: {error}") from error
    return answer


def _parse(infos: Any) -> Iterable[Program]:
    for info in infos:
        yield Program(
            name=info["name"],
            state=ProgramState(info["statename"]),
            pid=info["pid"],
            started_at=info["start"],
            stopped_at=info["stop"],
            why=info["spawnerr"] or ("" if info["pid"] else _ended(info)),
        )


def _ended(info: Any) -> str:
    """Return supervisord's description of a program without a process: the time at which it ended, if it ever ran."""
    return f"it ended at {info['description']}" if info["stop"] else str(info["description"])


def _post(path: Path, body: bytes) -> bytes:
    connection = _Connection(path)
    try:
        connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        response = connection.getresponse()
        if response.status != HTTPStatus.OK:
            raise http.client.HTTPException(f"status {response.status}")
        body = response.read(_LONGEST_ANSWER)
        if response.length:  # the connection broke off, or the body is longer
            raise http.client.IncompleteRead(body, response.length)
        return body
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))
