"""Sends the response to one request: on time, late, never, byte by byte, or as a cut connection.

It executes the decision of `beacon.dev.endpoint.modes` and returns the outcome. It must not record anything: it calls
`on_success` just before a 2xx can reach the client.
"""

import asyncio
import contextlib
import functools
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from starlette.types import Receive, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from beacon.dev.endpoint import modes, record

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, with a linger time of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkExchange:
    """The connection of one request."""

    receive: Receive
    send: Send
    transport: asyncio.Transport


async def respond(exchange: SinkExchange, behavior: modes.Behavior, on_success: Callable[[], None]) -> record.Answer:
    """Answer as decided and return how the request ended."""
    late_s = behavior.latency_s + (behavior.delay_s if behavior.mode is modes.SinkMode.DELAY else 0.0)
    if late_s and await left_within(exchange, late_s):
        return record.SinkOutcome.ABANDONED
    match behavior.mode:
        case modes.SinkMode.HANG:
            await left_within(exchange, None)
            return record.SinkOutcome.HUNG
        case modes.SinkMode.RESET | modes.SinkMode.CLOSE:
            return await _cut(exchange, gently=behavior.mode is modes.SinkMode.CLOSE)
        case modes.SinkMode.DRIP:
            return await _drip(exchange, behavior, on_success)
        case _:
            return await _whole(exchange, behavior, on_success)


async def left_within(exchange: SinkExchange, seconds: float | None) -> bool:
    """Wait; return True as soon as the client has disconnected, False after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await exchange.receive())["type"] != "http.disconnect":
                pass
            return True
    return False


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection (RST), so that its client sees an error instead of an orderly end."""
    reached = transport.get_extra_info("socket")
    if reached is not None:  # under TLS it may be closed already
        with contextlib.suppress(OSError):
            reached.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


async def send(exchange: SinkExchange, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a complete response."""
    length = (b"content-length", str(len(body)).encode())
    await exchange.send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await exchange.send({"type": "http.response.body", "body": body})


async def _whole(exchange: SinkExchange, behavior: modes.Behavior, on_success: Callable[[], None]) -> record.Answer:
    status, body = _content(behavior)
    if exchange.transport.is_closing():
        return record.SinkOutcome.ABANDONED
    if status < 300:
        on_success()
    if status == HTTPStatus.NO_CONTENT:
        await exchange.send({"type": "http.response.start", "status": status, "headers": _headers(behavior, status)})
        await exchange.send({"type": "http.response.body", "body": b""})
    else:
        await send(exchange, status, body, _headers(behavior, status))
    return status


async def _cut(exchange: SinkExchange, *, gently: bool) -> record.Answer:
    if gently:
        exchange.transport.close()
    else:
        reset(exchange.transport)
    # While the connection exists, uvicorn would notice the missing response and write its own.
    await left_within(exchange, None)
    return record.SinkOutcome.CLOSED if gently else record.SinkOutcome.RESET


async def _drip(exchange: SinkExchange, behavior: modes.Behavior, on_success: Callable[[], None]) -> record.Answer:
    status, body = _content(behavior)
    headers = [*_headers(behavior, status), (b"connection", b"close")]
    head = STATUS_LINE[status]
    if behavior.drip is modes.Drip.HEADERS:
        return await _endlessly(exchange, behavior, head + b"x-drip: ")
    if behavior.drip is modes.Drip.BODY:
        # Longer than any client waits for, so that no response is ever complete.
        _write(exchange, _head(head, headers, length=1_000_000_000))
        return await _endlessly(exchange, behavior, b"")
    whole = _head(head, headers, length=len(body)) + body
    for position in range(len(whole)):
        if await left_within(exchange, behavior.drip_interval_s) or exchange.transport.is_closing():
            return record.SinkOutcome.ABANDONED
        if position == len(whole) - 1:
            on_success()
        _write(exchange, whole[position : position + 1])
    exchange.transport.close()
    await left_within(exchange, None)
    return status


async def _endlessly(exchange: SinkExchange, behavior: modes.Behavior, first: bytes) -> record.Answer:
    position = 0
    while not await left_within(exchange, behavior.drip_interval_s):
        _write(exchange, first[position : position + 1] or b"a")
        position += 1
    return record.SinkOutcome.DRIPPED


def _write(exchange: SinkExchange, data: bytes) -> None:
    """Write to the transport directly, unless the client has just disconnected."""
    if not exchange.transport.is_closing():
        exchange.transport.write(data)


def _content(behavior: modes.Behavior) -> tuple[int, bytes]:
    if behavior.mode is not modes.SinkMode.FAILURE:
        return behavior.success_status, b""  # a body would be a second packet and halve the speed
    body = behavior.body.encode() or b'{"error":"failing on request"}'
    return behavior.status, body


def _headers(behavior: modes.Behavior, status: int) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in behavior.headers]
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"application/json"))
    headers.append((b"date", _date(int(time.time()))))
    if behavior.mode is modes.SinkMode.FAILURE and (later := modes.retry_after(behavior)) is not None:
        headers.append((b"retry-after", later.encode()))
    if 300 <= status < 400:
        headers.append((b"location", behavior.location.encode()))
    return headers


@functools.lru_cache(maxsize=2)
def _date(at_s: int) -> bytes:
    return formatdate(at_s, usegmt=True).encode()


def _head(status_line: bytes, headers: list[tuple[bytes, bytes]], *, length: int) -> bytes:
    lines = [*headers, (b"content-length", str(length).encode())]
    return status_line + b"".join(name + b": " + value + b"\r\n" for name, value in lines) + b"\r\n"
