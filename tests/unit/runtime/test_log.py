"""The log of a process: whole JSON lines, no secrets, no debug output of libraries."""

import json
from datetime import datetime

from beacon.boundary import visible
from tests.unit import scripts

SETUP = """
from beacon.runtime import log
log.configure("watcher")
"""


def test_a_line_is_one_json_object_with_instant_level_process_event_and_fields() -> None:
    (line,) = scripts.lines(SETUP + "log.get(scope='pods').info('watch began', lines=3, ok=True, reason=None)")

    assert list(line) == ["ts", "level", "process", "event", "scope", "lines", "ok", "reason"]
    assert line["level"] == "info"
    assert line["process"] == "watcher"
    assert line["event"] == "watch began"
    assert (line["scope"], line["lines"], line["ok"], line["reason"]) == ("pods", 3, True, None)
    assert len(line["ts"]) == len("2026-01-01T00:00:00.000000Z")
    assert line["ts"].endswith("Z")
    datetime.fromisoformat(line["ts"])


def test_the_name_of_the_app_stands_in_every_line_once_it_is_known() -> None:
    (line,) = scripts.lines(
        """
        from beacon.runtime import log
        log.configure("store", app="beacon-east")
        log.get().info("served", text="x" * 9000)
        """
    )

    assert list(line)[:4] == ["ts", "level", "app", "process"]
    assert line["app"] == "beacon-east"


def test_lines_below_the_configured_level_are_not_written() -> None:
    (line,) = scripts.lines(
        """
        from beacon.runtime import log
        logger = log.get()
        log.configure("store", level="warn")
        logger.info("not this")
        logger.warning("this")
        """
    )

    assert (line["event"], line["level"]) == ("this", "warning")


def test_the_level_may_change_after_loggers_were_created() -> None:
    heard = scripts.lines(
        SETUP
        + """
logger = log.get()
logger.debug("too early")
log.configure("watcher", level="debug")
logger.debug("heard")
"""
    )

    assert [line["event"] for line in heard] == ["heard"]


def test_a_registered_secret_is_masked_wherever_it_stands() -> None:
    done = scripts.run(
        SETUP
        + """
log.register_secret('s3cr"et-token')
log.get(bound='s3cr"et-token').info(
    'sent s3cr"et-token', header='Bearer s3cr"et-token', many=['s3cr"et-token'], deep={'a': {'b': 's3cr"et-token'}},
    error=ValueError('s3cr"et-token'), raw=b's3cr"et-token')
"""
    )

    line = json.loads(done.stdout)
    assert b"s3cr" not in done.stdout
    assert line["event"] == "sent ***"
    assert line["header"] == "Bearer ***"
    assert line["deep"] == {"a": {"b": "***"}}


def test_a_secret_is_masked_in_text_format_and_in_log_lines_of_libraries() -> None:
    done = scripts.run(
        """
        import logging
        from beacon.runtime import log
        log.configure("store", format="text")
        log.register_secret("hunter22")
        log.get().info("said hunter22", to="hunter22 again")
        logging.getLogger("urllib3").warning("retrying %s", "https://u:hunter22@host/")
        """
    )

    assert b"hunter22" not in done.stdout
    assert done.stdout.count(b"***") == 3


def test_a_secret_that_a_long_line_would_cut_in_two_does_not_leak_its_halves() -> None:
    done = scripts.run(
        SETUP
        + """
log.register_secret("abcdefghijklmnopqrstuvwxyz" * 100)
log.get().info("said", text="x" * 1000 + "abcdefghijklmnopqrstuvwxyz" * 100 + "y" * 3000)
"""
    )

    assert b"abcdef" not in done.stdout
    assert len(done.stdout) <= 4096


def test_a_long_line_is_shortened_to_an_atomic_write_and_marked_as_truncated() -> None:
    done = scripts.run(
        SETUP
        + """
log.get().error("failed", traceback="begin" + "\\u00e4\\n" * 50_000 + "end", small="kept", items=list(range(5000)))
log.get().error("e" * 20_000, **{f"field{n}": "x" * 60 for n in range(500)})
"""
    )

    first, second = done.stdout.splitlines(keepends=True)
    assert len(first) <= 4096
    assert len(second) <= 4096
    shortened = json.loads(first)
    assert shortened["truncated"] is True
    assert shortened["small"] == "kept"
    assert shortened["traceback"].startswith("begin")
    assert shortened["traceback"].endswith("end")
    assert json.loads(second)["truncated"] is True


def test_values_that_json_does_not_know_are_written_as_text() -> None:
    (line,) = scripts.lines(
        SETUP
        + """
import pathlib
log.get().info("odd", path=pathlib.Path("/a"), error=ValueError("b"), broken="\\ud800", big=2**80, some={1, 2})
"""
    )

    assert line["path"] == "/a"
    assert line["error"] == "b"
    assert line["broken"] == "\\ud800"
    assert line["big"] == str(2**80)


def test_log_lines_of_libraries_appear_from_warning_on() -> None:
    heard = scripts.lines(
        SETUP
        + """
import logging, warnings
logging.getLogger("urllib3.connectionpool").info("chatter")
logging.getLogger("urllib3.connectionpool").warning("retrying %s", 3)
logging.getLogger("kubernetes").error("broke")
warnings.warn("old")
"""
    )

    assert [(line["level"], line["logger"]) for line in heard] == [
        ("warning", "urllib3.connectionpool"),
        ("error", "kubernetes"),
        ("warning", "py.warnings"),
    ]
    assert heard[0]["event"] == "retrying 3"


def test_the_text_format_is_one_line_without_colour() -> None:
    done = scripts.run(
        """
        from beacon.runtime import log
        log.configure("store", format="text")
        log.get().warning("disk filled", path="/data", note="two words", free=0, lines="a\\nb")
        """
    )

    text = done.stdout.decode()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert text.partition(" ")[2] == (
        'WARNING store    disk filled  path=/data note="two words" free=0 lines="a\\nb"\n'
    )


def test_lines_of_several_threads_and_processes_on_one_pipe_never_mix() -> None:
    done = scripts.run(
        """
        import os, threading
        from beacon.runtime import log
        log.configure("store")
        if os.fork() == 0:
            log.configure("notifier")
        def talk():
            for n in range(300):
                log.get().info("talked", text="x" * (n * 13 % 4000))
        threads = [threading.Thread(target=talk) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        """
    )

    parsed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(parsed) == 2 * 4 * 300


def test_a_reader_that_has_gone_is_no_error() -> None:
    done = scripts.run(
        """
        import os
        from beacon.runtime import log
        reader, writer = os.pipe()
        log.configure("store", fd=writer)
        os.close(reader)
        log.get().info("no reader")
        """
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_lines_without_a_reader_are_dropped_counted_and_reported_in_the_form_of_the_log() -> None:
    for form in ("json", "text"):
        done = scripts.run(
            f"""
            import os
            from beacon.runtime import log
            reader, writer = os.pipe()
            lost = []
            log.configure("store", fd=writer, format="{form}")
            log.on_drop(lost.append)
            while not lost:
                log.get().info("said", text="x" * 3000)
            os.read(reader, 1 << 20)
            log.get().info("read again")
            os.write(1, os.read(reader, 1 << 20))
            """
        )

        first, last = done.stdout.decode().splitlines()
        assert "log lines dropped" in first
        assert ('"lines":1}' if form == "json" else "lines=1") in first
        assert "read again" in last


def test_a_line_contains_no_control_sequence_for_a_terminal() -> None:
    for form in ("json", "text"):
        done = scripts.run(
            f"""
            from beacon.runtime import log
            log.configure("store", format="{form}")
            evil = "a\\x1b[2J\\u202eb\\x9b31m\\nforged\\r\\x7f\\U000e0041"
            log.get().info("said " + evil, error=evil, many=[evil], long=evil * 2000)
            """
        )

        (line,) = done.stdout.decode().splitlines()
        assert visible.is_safe(line)
        assert len(done.stdout) <= 4096
        if form == "json":
            assert json.loads(line)["error"] == "a\x1b[2J\u202eb\x9b31m\nforged\r\x7f\U000e0041"
