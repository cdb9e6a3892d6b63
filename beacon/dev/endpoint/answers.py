"""Giving an answer, or a bad one, to one request: on time, late, never, byte by byte, or a cut connection.

It acts on what `beacon.dev.endpoint.modes` decided and tells how it went. Whether an event counts as accepted is the
caller's business: `on_success` is called just before a 2xx can reach the client.
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

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time at all


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkExchange:
    """One request's way back to its client."""

    receive: Receive
    send: Send
    transport: asyncio.Transport


async def give(exchange: SinkExchange, behaviour: modes.Behaviour, on_success: Callable[[], None]) -> record.Answer:
    """Answer as decided and tell how the request ended."""
    late_s = behaviour.latency_s + (behaviour.delay_s if behaviour.mode is modes.SinkMode.DELAY else 0.0)
    if late_s and await left_within(exchange, late_s):
        return record.SinkOutcome.ABANDONED
    match behaviour.mode:
        case modes.SinkMode.HANG:
            await left_within(exchange, None)
            return record.SinkOutcome.HUNG
        case modes.SinkMode.RESET | modes.SinkMode.CLOSE:
            return await _cut(exchange, gently=behaviour.mode is modes.SinkMode.CLOSE)
        case modes.SinkMode.DRIP:
            return await _drip(exchange, behaviour, on_success)
        case _:
            return await _whole(exchange, behaviour, on_success)


async def left_within(exchange: SinkExchange, seconds: float | None) -> bool:
    """Wait, and tell whether the client left meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await exchange.receive())["type"] != "http.disconnect":
                pass
            return True
    return False


def reset(transport: asyncio.Transport) -> None:
    """Cut a connection so that its client sees an error (RST), not an end."""
    reached = transport.get_extra_info("socket")
    if reached is not None:  # under TLS it may be gone already
        with contextlib.suppress(OSError):
            reached.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


async def send(exchange: SinkExchange, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a complete answer."""
    length = (b"content-length", str(len(body)).encode())
    await exchange.send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await exchange.send({"type": "http.response.body", "body": body})


async def _whole(exchange: SinkExchange, behaviour: modes.Behaviour, on_success: Callable[[], None]) -> record.Answer:
    status, body = _content(behaviour)
    if exchange.transport.is_closing():
        return record.SinkOutcome.ABANDONED
    if status < 300:
        on_success()
    if status == HTTPStatus.NO_CONTENT:
        await exchange.send({"type": "http.response.start", "status": status, "headers": _headers(behaviour, status)})
        await exchange.send({"type": "http.response.body", "body": b""})
    else:
        await send(exchange, status, body, _headers(behaviour, status))
    return status


async def _cut(exchange: SinkExchange, *, gently: bool) -> record.Answer:
    if gently:
        exchange.transport.close()
    else:
        reset(exchange.transport)
    # Only once the connection is gone will uvicorn not miss the answer and write one of its own.
    await left_within(exchange, None)
    return record.SinkOutcome.CLOSED if gently else record.SinkOutcome.RESET


async def _drip(exchange: SinkExchange, behaviour: modes.Behaviour, on_success: Callable[[], None]) -> record.Answer:
    status, body = _content(behaviour)
    headers = [*_headers(behaviour, status), (b"connection", b"close")]
    head = STATUS_LINE[status]
    if behaviour.drip is modes.Drip.HEADERS:
        return await _endlessly(exchange, behaviour, head + b"x-drip: ")
    if behaviour.drip is modes.Drip.BODY:
        # Longer than anybody waits for, so that no answer is ever complete.
        _write(exchange, _head(head, headers, length=1_000_000_000))
        return await _endlessly(exchange, behaviour, b"")
    whole = _head(head, headers, length=len(body)) + body
    for position in range(len(whole)):
        if await left_within(exchange, behaviour.drip_interval_s) or exchange.transport.is_closing():
            return record.SinkOutcome.ABANDONED
        if position == len(whole) - 1:
            on_success()
        _write(exchange, whole[position : position + 1])
    exchange.transport.close()
    await left_within(exchange, None)
    return status


async def _endlessly(exchange: SinkExchange, behaviour: modes.Behaviour, first: bytes) -> record.Answer:
    position = 0
    while not await left_within(exchange, behaviour.drip_interval_s):
        _write(exchange, first[position : position + 1] or b"a")
        position += 1
    return record.SinkOutcome.DRIPPED


def _write(exchange: SinkExchange, data: bytes) -> None:
    """Write past uvicorn; a client may leave at the very instant at which the next byte is due."""
    if not exchange.transport.is_closing():
        exchange.transport.write(data)


def _content(behaviour: modes.Behaviour) -> tuple[int, bytes]:
    if behaviour.mode is not modes.SinkMode.FAILURE:
        return behaviour.success_status, b""  # head and body would be two packets, and half the speed
    body = behaviour.body.encode() or b'{"error":"failing on request"}'
    return behaviour.status, body


def _headers(behaviour: modes.Behaviour, status: int) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in behaviour.headers]
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"application/json"))
    headers.append((b"date", _date(int(time.time()))))
    if behaviour.mode is modes.SinkMode.FAILURE and (later := modes.retry_after(behaviour)) is not None:
        headers.append((b"retry-after", later.encode()))
    if 300 <= status < 400:
        headers.append((b"location", behaviour.location.encode()))
    return headers


@functools.lru_cache(maxsize=2)
def _date(at_s: int) -> bytes:
    return formatdate(at_s, usegmt=True).encode()


def _head(status_line: bytes, headers: list[tuple[bytes, bytes]], *, length: int) -> bytes:
    lines = [*headers, (b"content-length", str(length).encode())]
    return status_line + b"".join(name + b": " + value + b"\r\n" for name, value in lines) + b"\r\n"
