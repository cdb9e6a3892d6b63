"""The listener's protocol, over real pipes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from beacon import errors
from beacon.sentinel import protocol

PAYLOAD = "processname:store groupname:store from_state:RUNNING expected:0 pid:2766"
HEAD = "ver:3.0 server:beacon serial:21 pool:sentinel poolserial:10 eventname:PROCESS_STATE_EXITED len:{}\n"
EVENT = (HEAD.format(len(PAYLOAD)) + PAYLOAD).encode()


@dataclass
class Supervisord:
    """The other end."""

    source: int
    sink: int
    stop: int
    listener: protocol.EventListener

    def heard(self) -> bytes:
        return os.read(self.sink, 4096)


@pytest.fixture
def other() -> Iterator[Supervisord]:
    events, source = os.pipe()
    sink, answers = os.pipe()
    stopped, stop = os.pipe()
    yield Supervisord(source, sink, stop, protocol.EventListener(source=events, sink=answers, stop=stopped))
    for fd in (events, sink, answers, stopped, stop):
        os.close(fd)


def test_an_event_is_read_whole_and_acknowledged_when_it_is_done(other: Supervisord) -> None:
    os.write(other.source, EVENT + EVENT)

    event = other.listener.wait(60)

    assert event is not None
    assert (event.name, event.program, event.fields["from_state"]) == ("PROCESS_STATE_EXITED", "store", "RUNNING")
    assert other.heard() == b"READY\n"
    other.listener.done()
    assert other.heard() == b"RESULT 2\nOK"
    assert other.listener.wait(60) == event
    assert other.heard() == b"READY\n"
    os.close(other.source)


def test_ready_is_sent_only_once_while_no_event_arrives(other: Supervisord) -> None:
    assert other.listener.wait(0) is None
    assert other.listener.wait(0) is None

    assert other.heard() == b"READY\n"
    os.close(other.source)


def test_an_event_without_payload_is_accepted(other: Supervisord) -> None:
    os.write(other.source, b"ver:3.0 eventname:SUPERVISOR_STATE_CHANGE_STOPPING len:0\n")

    event = other.listener.wait(60)

    assert event is not None
    assert (event.name, event.program) == ("SUPERVISOR_STATE_CHANGE_STOPPING", "")
    os.close(other.source)


def test_a_stop_comes_before_events(other: Supervisord) -> None:
    os.write(other.source, EVENT)
    os.write(other.stop, b"\x0f")

    with pytest.raises(errors.Stopping):
        other.listener.wait(60)
    os.close(other.source)


def test_a_closed_pipe_raises(other: Supervisord) -> None:
    os.close(other.source)

    with pytest.raises(errors.StartError):
        other.listener.wait(60)


@pytest.mark.parametrize(
    "line", ["", "nonsense", "eventname:TICK_5", "eventname:TICK_5 len:-1", "len:5", "eventname: len:3"]
)
def test_an_invalid_header_is_refused(line: str) -> None:
    with pytest.raises(errors.PermanentError):
        protocol.parse_head(line)


def test_a_line_that_does_not_end_is_refused(other: Supervisord) -> None:
    os.write(other.source, b"x" * 5000)

    with pytest.raises(errors.PermanentError):
        other.listener.wait(60)
    os.close(other.source)
