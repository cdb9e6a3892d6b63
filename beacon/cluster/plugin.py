"""Runs the exec plugin of a kubeconfig, which prints credentials, within limits and without leaving processes behind.

The official client's own runner has no time limit, and its loader continues without credentials if a plugin fails.
The protocol is that of `client.authentication.k8s.io` (KEP-541). Known secrets are masked in messages.
"""

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from beacon import codec, errors
from beacon.boundary import secret
from beacon.cluster import failures

_LIMIT_S = 20.0
_LONGEST_OUTPUT = 1024 * 1024
_LONGEST_ERRORS = 64 * 1024
_LONGEST_CAUSE = 300
_SHORTEST_SECRET = 4  # shorter ones occur in ordinary words by chance
_CHECK_EVERY_S = 0.05
_PIECE = 65536
_NEVER_PASSED = ("ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE")
_NAMED_SECRET = re.compile(r"""(?i)(bearer\s+|(?:token|password|passwd|secret|key)s?(?:\s+is)?["']?\s*[:=]\s*)\S+""")
_LONG_WORD = re.compile(r"[A-Za-z0-9+=_.-]{20,}")
# Makes the kernel kill the plugin when the thread that waits for it ends, then executes the plugin.
_BETWEEN = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
try:
    os.execv(sys.argv[2], sys.argv[3:])
except OSError as error:
    sys.exit(f"it can't be executed: {error.strerror}")
"""


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """The command to run. `command` with a slash is a path; `cluster` is passed to the plugin unless it is None."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    api_version: str
    hint: str
    name: str
    cluster: Mapping[str, object] | None


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a plugin: a token, a certificate with its key as PEM, or both; `expires_at` is in Unix time."""

    token: str
    pem: str
    expires_at: float | None


class _Status(msgspec.Struct, rename="camel", kw_only=True):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _Answer(msgspec.Struct, rename="camel", kw_only=True):
    api_version: str
    kind: str
    status: _Status | None = None


def run(plugin: Plugin, environ: Mapping[str, str], *, limit_s: float = _LIMIT_S) -> Credential:
    """Run a plugin and return its credentials.

    Raises:
        failures.Unreachable: it returned none; the message contains the plugin's name and the cause.
    """
    try:
        return _credential(_output(plugin, environ, limit_s), plugin.api_version)
    except errors.TransientError as error:
        raise failures.Unreachable(f"{plugin.name} returned no credentials: {_cut(str(error))}") from None


def _output(plugin: Plugin, environ: Mapping[str, str], limit_s: float) -> bytes:
    env = {name: value for name, value in environ.items() if name not in _NEVER_PASSED} | dict(plugin.env)
    spec: dict[str, object] = {"interactive": False}
    if plugin.cluster is not None:
        spec["cluster"] = plugin.cluster
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    env["KUBERNETES_EXEC_INFO"] = codec.encode(info).decode()
    path = shutil.which(plugin.command, path=env.get("PATH", os.defpath))
    if path is None:
        raise errors.TransientError(f"there is no such executable. {plugin.hint}".rstrip(". "))
    argv = [sys.executable, "-I", "-S", "-c", _BETWEEN, str(os.getpid()), path, plugin.command, *plugin.args]
    try:
        child = subprocess.Popen(  # noqa: S603  configured in the kubeconfig
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise errors.TransientError(getattr(error, "strerror", None) or "it can't be started") from error
    with _Reader(child, tuple(plugin.env.values())) as reader:
        return reader.read(time.monotonic() + limit_s, limit_s)


class _Reader:
    """Reads the output of a child until it ends, and then kills its whole process group."""

    def __init__(self, child: "subprocess.Popen[bytes]", secrets: Sequence[str]) -> None:
        self._child = child
        self._secrets = secrets
        self._pieces: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        for pipe in (child.stdout, child.stderr):
            assert pipe is not None  # noqa: S101  both are pipes
            os.set_blocking(pipe.fileno(), False)
            self._pieces[pipe.fileno()] = b""
            self._selector.register(pipe.fileno(), selectors.EVENT_READ)

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        # The child has not been waited for yet, so its process group id can't have been reused.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._selector.close()
        with self._child:  # closes the pipes and waits
            pass

    def read(self, until: float, limit_s: float) -> bytes:
        """Return the child's standard output.

        Raises:
            errors.TransientError: the child failed, did not end in time, or printed too much.
        """
        ended = False
        while not ended:
            if time.monotonic() >= until:
                raise errors.TransientError(f"it did not end within {limit_s:g} s and was killed")
            ended = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            for key, _ in self._selector.select(0 if ended else _CHECK_EVERY_S):
                self._take(key.fd)
        # Processes that the child left behind may still hold the pipes: only their current content is read.
        output, complaints = self._pieces
        for fd in self._pieces:
            for _ in range(_LONGEST_OUTPUT // _PIECE + 1):
                if not self._take(fd):
                    break
        found = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code != os.CLD_EXITED or found.si_status != 0:
            raise errors.TransientError(_ending(found, _complaint(self._pieces[complaints], self._secrets)))
        return self._pieces[output]

    def _take(self, fd: int) -> bool:
        """Read the available bytes of a pipe; return True if there were any."""
        try:
            piece = os.read(fd, _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)
            return False
        assert self._child.stderr is not None  # noqa: S101  it is a pipe
        self._pieces[fd] += piece
        if fd == self._child.stderr.fileno():
            self._pieces[fd] = self._pieces[fd][-_LONGEST_ERRORS:]
        elif len(self._pieces[fd]) > _LONGEST_OUTPUT:
            raise errors.TransientError(f"it printed more than {_LONGEST_OUTPUT // 1024} KiB and was killed")
        return True


def _ending(found: "os.waitid_result | None", complaint: str) -> str:
    how = "it failed"
    if found is not None:
        exited = found.si_code == os.CLD_EXITED
        how = f"it ended with {'code' if exited else 'signal'} {found.si_status}"
    return f"{how}: {complaint}" if complaint else how


def _complaint(output: bytes, secrets: Iterable[str]) -> str:
    """Return the last line of a plugin's standard error, with everything masked that is or looks like a secret."""
    lines = output.decode("utf-8", "replace").strip().splitlines() or [""]
    text = lines[-1].strip()
    for value in sorted((value for value in secrets if len(value) >= _SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(value, "***")
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_CAUSE]).split())
    text = _NAMED_SECRET.sub(r"\1***", text)
    return _LONG_WORD.sub(lambda found: "***" if _looks_secret(found[0]) else found[0], text)


def _credential(output: bytes, api_version: str) -> Credential:
    try:
        answer = msgspec.convert(codec.decode(output), _Answer)
    except codec.DecodeError:
        raise errors.TransientError("its output is not JSON") from None
    except msgspec.ValidationError as error:
        raise errors.TransientError(f"it did not print an ExecCredential: {error}") from None
    if answer.kind != "ExecCredential":
        raise errors.TransientError("it did not print an ExecCredential: its kind is another one")
    if answer.api_version != api_version:
        raise errors.TransientError(f"it printed an ExecCredential of another apiVersion than {api_version}")
    if answer.status is None:
        raise errors.TransientError("it printed an ExecCredential without status")
    return _checked(answer.status)


def _checked(status: _Status) -> Credential:
    certificate, key = status.client_certificate_data, status.client_key_data
    if bool(certificate) != bool(key):
        raise errors.TransientError("its clientCertificateData and clientKeyData go together, and one is missing")
    if not status.token and not certificate:
        raise errors.TransientError("its status has neither a token nor a client certificate")
    expires = status.expiration_timestamp
    if expires is not None and expires.tzinfo is None:
        raise errors.TransientError("its expirationTimestamp names no time zone")
    if expires is not None and expires <= datetime.now(UTC):
        raise errors.TransientError(f"they expired at {expires.isoformat()}")
    return Credential(
        token=secret.token(status.token, "its token") if status.token else "",
        pem=f"{certificate}\n{key}\n" if certificate else "",
        expires_at=expires.timestamp() if expires else None,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_CAUSE else text[: _LONGEST_CAUSE - 1] + "…"


def _looks_secret(word: str) -> bool:
    return any(c.isdigit() for c in word) and any(c.isupper() for c in word) and any(c.islower() for c in word)
