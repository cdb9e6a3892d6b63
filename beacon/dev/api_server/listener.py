"""The listening server: uvicorn in its own thread, which can be restarted on the same port.

It handles connections and must not know requests. The thread's event loop outlives restarts, so that work scheduled in
it is not lost.
"""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

import trustme
import uvicorn
import uvloop
from starlette.types import ASGIApp

from beacon.dev import patience
from beacon.dev.api_server import service, tls

_READY_WITHIN_S = 20.0
_IDLE_S = 180
_BACKLOG = 512


class SocketListener:
    """Accepts connections for an application until it is stopped."""

    def __init__(self, settings: service.ApiSettings, application: ASGIApp, attach: Callable[..., None]) -> None:
        self._settings = settings
        self._application = application
        self._attach = attach
        self._authority = tls.ApiAuthority(settings.host) if settings.tls else None
        self._thread = threading.Thread(target=self._run, name="beacon-dev-cluster", daemon=True)
        self._uvicorn: uvicorn.Server | None = None
        self._changed = threading.Condition()
        self._starts = 0
        self._stopping = False
        self._downtime_s = 0.0
        self._failure: BaseException | None = None
        self.port = settings.port

    @property
    def ca_pem(self) -> bytes:
        """Return the certificate authority; empty without TLS."""
        return self._authority.pem if self._authority else b""

    def rotate_authority(self, successor: trustme.CA) -> None:
        """Use a certificate of another authority from the next start on."""
        if self._authority:
            self._authority.rotate(successor)

    def start(self) -> None:
        """Listen; return when connections are accepted. Raises OSError when the port can't be bound."""
        self._thread.start()
        self._await_start(1)

    def restart(self, downtime_s: float, between: Callable[[], None]) -> None:
        """Break every connection, call `between`, wait `downtime_s`, and return when connections are accepted again."""
        starts = self._starts
        self._downtime_s = downtime_s
        self._between = between
        self._halt()
        self._await_start(starts + 1)

    def stop(self) -> None:
        """Break every connection and stop the thread."""
        self._stopping = True
        self._halt()
        self._thread.join(timeout=10)

    def abort(self, client: service.ClientAddress) -> None:
        """Abort a client's connection at once, even in the middle of a response."""
        for transport in self._transports(client):
            transport.abort()

    def close(self, client: service.ClientAddress) -> None:
        """Close a client's connection after the written data was sent."""
        for transport in self._transports(client):
            transport.close()

    def _transports(self, client: service.ClientAddress | None = None) -> list[asyncio.Transport]:
        connections = self._uvicorn.server_state.connections if self._uvicorn else set()
        return [
            connection.transport
            for connection in list(connections)
            if connection.transport is not None and client in {None, getattr(connection, "client", None)}
        ]

    def _halt(self) -> None:
        server, loop = self._uvicorn, self._loop

        def halt() -> None:
            if server is not None:
                server.force_exit = server.should_exit = True
            for transport in self._transports():
                transport.abort()

        with contextlib.suppress(RuntimeError):  # the loop may have ended already
            loop.call_soon_threadsafe(halt)

    def _await_start(self, number: int) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S * patience.factor + self._downtime_s
        with self._changed:
            self._changed.wait_for(
                lambda: self._starts >= number or self._failure, timeout=max(0.0, deadline - time.monotonic())
            )
        if self._failure is not None:
            raise self._failure
        if self._starts < number:
            raise TimeoutError("the embedded API server did not start")

    def _run(self) -> None:
        self._loop = uvloop.new_event_loop()
        try:
            self._attach(self._loop)
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._attach(None)
            self._loop.close()

    async def _serve(self) -> None:
        listening = self._bind()
        while not self._stopping:
            listening.listen(_BACKLOG)
            self.port = listening.getsockname()[1]
            self._uvicorn = uvicorn.Server(self._config())
            serving = asyncio.ensure_future(self._uvicorn.serve(sockets=[listening]))
            while not self._uvicorn.started and not serving.done():
                await asyncio.sleep(0.005)
            with self._changed:
                self._starts += 1
                self._changed.notify_all()
            await serving
            for transport in self._transports():
                transport.abort()
            if not self._stopping:
                self._between()
                listening = self._bind()  # until it listens, connections are refused, and the port stays reserved
                await asyncio.sleep(self._downtime_s)
        listening.close()
        await self._await_handlers()

    async def _await_handlers(self) -> None:
        """Cancel the handlers of broken connections and wait for them, so that none is destroyed while pending."""
        others = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _bind(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._settings.host, self.port))
        except OSError:
            listening.close()
            raise
        return listening

    def _config(self) -> uvicorn.Config:
        logger = logging.getLogger("uvicorn.error")
        logger.setLevel(logging.ERROR)
        logger.addFilter(_unexpected)
        authority = self._authority
        return uvicorn.Config(
            self._application,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE_S,
            ssl_context_factory=(lambda _config, _default: authority.context()) if authority else None,
        )


def _unexpected(record: logging.LogRecord) -> bool:
    """Return False for uvicorn's error about incomplete responses, because some faults cause them on purpose."""
    return not record.getMessage().startswith("ASGI callable returned without")
