import io
import json
from typing import Any

import pytest

from beacon.dev.endpoint import checks, record, report
from tests.unit import endpoint_events as sent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def attempt(answer: record.Answer = 503, **changed: Any) -> record.SinkAttempt:
    body = sent.body("web", 1, **changed)
    event = checks.read(body, checks.Demands())
    assert isinstance(event, checks.CheckedEnvelope)
    headers = [(b"authorization", b"Bearer secret"), (b"x-request-id", b"r-1")]
    request = record.SinkRequest(at_s=1e9, started_s=1.0, method="POST", path="/in", headers=headers, body=body)
    return record.SinkAttempt(request, event, number=2, answer=answer, ended_s=1.5)


def written(form: report.Format, stream: io.StringIO, shown: record.SinkAttempt) -> str:
    write = report.writer(form, stream)
    assert write is not None
    write(shown)
    return stream.getvalue()


def test_a_pretty_line_is_readable_at_a_glance() -> None:
    line = written(report.Format.PRETTY, io.StringIO(), attempt(redelivered=True))

    assert line.split()[1:] == ["created", "ConfigMap", "shop/web", "gold", "id-1", "#2", "503", "redelivered"]


def test_a_pipe_gets_no_colour_and_a_terminal_does() -> None:
    assert "\033" not in written(report.Format.PRETTY, io.StringIO(), attempt())
    assert "\033[33m503" in written(report.Format.PRETTY, Terminal(), attempt())
    assert "\033[31m404" in written(report.Format.PRETTY, Terminal(), attempt(404))


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    assert "\033" not in written(report.Format.PRETTY, Terminal(), attempt())


def test_a_refused_request_is_shown_with_its_reason() -> None:
    refused = attempt()
    refused.event, refused.note, refused.answer = None, "not JSON", 400

    assert "POST /in  400  not JSON" in written(report.Format.PRETTY, io.StringIO(), refused)


def test_json_lines_carry_the_same_and_no_header_that_could_be_a_secret() -> None:
    line = written(report.Format.JSON, io.StringIO(), attempt())

    shown = json.loads(line)
    assert (shown["answer"], shown["attempt"], shown["duration_s"], shown["request_id"]) == (503, 2, 0.5, "r-1")
    assert (shown["at"], shown["event"]["name"]) == ("2001-09-09T01:46:40.000000Z", "web")
    assert "secret" not in line


def test_nothing_is_written_when_nothing_is_wanted() -> None:
    assert report.writer(report.Format.NONE) is None
