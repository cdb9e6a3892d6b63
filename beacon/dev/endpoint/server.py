"""A test endpoint as a Python object: start it, make it fail, read its record, stop and restart it.

Every method may be called from any thread; a separate thread serves requests. It uses uvicorn's protocol without
uvicorn's server, whose shutdown polls and waits: an outage must begin and end at a defined instant.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from beacon.dev import patience
from beacon.dev.endpoint import answers, app, options, record, tls

_BACKLOG = 1024
_IDLE_S = 600  # longer than any test: only the test closes connections
_POLL_S = 0.005
_WITHIN_S = 10.0

_Result = TypeVar("_Result")


class SinkServer:
    """A test endpoint; a context manager."""

    def __init__(self, settings: options.Options | None = None) -> None:
        self.settings = settings or options.Options()
        self._app = app.SinkApp(self.settings)
        self._state = ServerState()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._listening: asyncio.AbstractServer | None = None
        self._reserved: socket.socket | None = None
        self._authority: tls.SinkAuthority | None = None
        self._tls = self._tls_context()
        self.port = self.settings.port

    @property
    def url(self) -> str:
        """Return the address, such as `http://127.0.0.1:43210`."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def ca_pem(self) -> bytes:
        """Return the generated certificate authority; empty without one."""
        return self._authority.pem if self._authority else b""

    def write_client_files(self, directory: Path) -> tls.Written:
        """Write the authority's certificate, and a client's certificate and key, into a directory."""
        if self._authority is None:
            raise ValueError("this endpoint has no generated certificate authority")
        return self._authority.write(directory)

    def start(self) -> "SinkServer":
        """Accept connections, also again after `stop`. Raises OSError when the port can't be bound."""
        if self._listening is None:
            reserved = self._reserved = self._reserved or self._reserve()
            if self._thread is None:
                self._loop = uvloop.new_event_loop()
                self._thread = threading.Thread(target=self._run, name="beacon-dev-endpoint", daemon=True)
                self._thread.start()
            self._within(self._open(reserved))
            self._reserved = None  # the listening server owns it now
        return self

    def stop(self) -> None:
        """Begin an outage: reset every connection and refuse new ones. The port stays reserved, the record is kept."""
        if self._listening is not None:
            self._within(self._shut())
            self._reserved = self._reserve()

    def close(self) -> None:
        """Stop permanently and release the port."""
        self.stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_WITHIN_S * patience.factor)
            self._thread = None

    def cut(self) -> int:
        """Reset every open connection and continue to listen; return how many there were."""
        return self._within(self._abort()) if self._listening else 0

    def set(self, **changes: Any) -> None:
        """Change how requests are answered from now on; see `modes.Behavior`, `checks.Demands`, `rules=[...]`.

        Raises:
            ConfigError: with one line for every unknown key and invalid value; nothing is changed then.
        """
        self._app.change(changes)

    def stats(self) -> record.Stats:
        """Return the current statistics."""
        return self._app.stats()

    def events(self, after: int = 0) -> list[record.SinkAttempt]:
        """Return the accepted requests after an index, in order of arrival; at most `keep` are available."""
        return self._app.accepted(after)

    def attempts(self) -> list[record.SinkAttempt]:
        """Return the ended requests, in the order of their end; at most `keep` are available."""
        with self._app.lock:
            return list(self._app.record.attempts)

    def seen(self, event_id: str) -> bool:
        """Return True if an event with this id was accepted."""
        with self._app.lock:
            return self._app.record.seen(event_id)

    def reset(self) -> None:
        """Clear the record; the plan stays."""
        with self._app.lock:
            self._app.record.reset()

    def wait_for(self, condition: Callable[[record.Stats], bool], timeout: float = 10.0) -> record.Stats:
        """Wait until a condition holds for the statistics, and return them.

        Raises:
            TimeoutError: the condition did not hold in time; the message has the last statistics.
        """
        timeout *= patience.factor
        deadline = time.monotonic() + timeout
        while not condition(stats := self.stats()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition did not hold within {timeout:g} s: {stats}")
            time.sleep(_POLL_S)
        return stats

    def __enter__(self) -> "SinkServer":
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop permanently."""
        self.close()

    def _tls_context(self) -> ssl.SSLContext | None:
        wanted = self.settings
        if wanted.cert:
            return tls.SinkFiles(cert=wanted.cert, key=wanted.key, client_ca=wanted.client_ca).context()
        if wanted.tls or wanted.mutual:
            self._authority = tls.SinkAuthority(wanted.host, mutual=wanted.mutual)
            return self._authority.context()
        return None

    def _reserve(self) -> socket.socket:
        """Bind without listening: connections are refused, and no other process can bind the port."""
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        reserved = socket.socket(family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            reserved.bind((self.settings.host, self.port))
        except OSError:
            reserved.close()
            raise
        self.port = reserved.getsockname()[1]
        return reserved

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end_tasks())
        finally:
            self._loop.close()

    async def _end_tasks(self) -> None:
        """Wait for the handlers of reset connections to end, and cancel the rest."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, others = await asyncio.wait(others, timeout=1)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _open(self, reserved: socket.socket) -> None:
        # Tests send invalid requests on purpose, which uvicorn reports as warnings; errors must stay visible.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            timeout_keep_alive=_IDLE_S,
        )
        config.load()
        self._listening = await self._loop.create_server(
            lambda: _Protocol(config=config, server_state=self._state, app_state={}),
            sock=reserved,
            ssl=self._tls,
            backlog=_BACKLOG,
        )

    async def _shut(self) -> None:
        if self._listening is not None:
            self._listening.close()
            await self._abort()
            await self._listening.wait_closed()
            self._listening = None

    async def _abort(self) -> int:
        connections = list(self._state.connections)
        for connection in connections:
            answers.reset(connection.transport)
        while self._state.connections.intersection(connections):
            await asyncio.sleep(0)
        return len(connections)

    def _within(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN_S * patience.factor)


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, extended to pass the connection to the application."""

    def on_message_begin(self) -> None:
        """Add the transport to the scope."""
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[SinkServer]:
    """Run a test endpoint with these settings while the context is open.

    The settings are the fields of `options.Options`, `modes.Behavior` and `checks.Demands`.

    Raises:
        ConfigError: with one line for every unknown key and unusable value.
    """
    with SinkServer(options.parse(settings)) as server:
        yield server
