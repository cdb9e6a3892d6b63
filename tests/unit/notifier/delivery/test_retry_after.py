"""Retry-After: seconds, three date formats, and arbitrary text."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.domain import instants
from beacon.notifier.delivery import retry_after

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
IN_90_S = NOW + timedelta(seconds=90)


@pytest.mark.parametrize(("header", "seconds"), [("17", 17), (" 5", 5), ("5\t", 5), ("007", 7)])
def test_seconds_are_the_delay(header: str, seconds: float) -> None:
    assert retry_after.delay_s(header, now=NOW) == seconds


@pytest.mark.parametrize(
    "header",
    [
        format_datetime(IN_90_S, usegmt=True),
        "Sat, 28 Nov 2026 12:01:30 GMT",
        "Saturday, 28-Nov-26 12:01:30 GMT",
        "Sat Nov 28 12:01:30 2026",
        "sat, 28 nov 2026 12:01:30 gmt",
        "Sat, 28 Nov 2026 12:01:30 UTC",
        "Sat, 28 Nov 2026 12:01:30 -0000",
        "Sat, 28 Nov 2026 14:01:30 +0200",
    ],
)
def test_a_date_in_any_form_is_the_delay_until_then(header: str) -> None:
    assert retry_after.delay_s(header, now=NOW) == 90


def test_a_day_of_one_digit_and_a_leap_second_are_read() -> None:
    assert retry_after.delay_s("Tue Dec  1 12:00:00 2026", now=NOW) == 3 * 86_400
    assert retry_after.delay_s("Thu, 31 Dec 2026 23:59:60 GMT", now=NOW) is not None


@pytest.mark.parametrize("header", ["9" * 400, "9" * 5000, "99999999999", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_a_delay_beyond_all_bounds_is_the_longest(header: str) -> None:
    assert retry_after.delay_s(header, now=NOW) == instants.LONGEST_S


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "0",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "1_000",
        "0x10",
        "5, 10",
        "5;q=1",
        "inf",
        "nan",
        "soon",
        "99 bottles",
        "٣",
        "²",
        "Fri, 99 Foo",
        "Fri, 02 Jan 1970 00:00:00 GMT",
        "Saturday, 28-Nov-99 12:01:30 GMT",
        "Sat, 31 Feb 2027 00:00:00 GMT",
        "Sat, 00 Nov 2027 00:00:00 GMT",
        "Sat, 28 Nov 0000 00:00:00 GMT",
        "Sat, 28 Nov 10000 00:00:00 GMT",
        "Sat, 28 Nov 99999999999999999999 00:00:00 GMT",
        "Sat, 28 Nov 2027 25:00:00 GMT",
        "Sat, 28 Nov 2027 00:61:00 GMT",
        "Sat, 28 Nov 2027 00:00:00 +9999",
        "Sat, 28 Nov 2027 00:00:00 +1234567890123456",
        "Sat, 28 Nov 2027 00:00:00 -9999999999999999",
        "Sat, 28 Nov 2027 00:00:00",
        "Sat, 28 Nov 2027 00:00:00 PST",
        "Sat, 28 Növ 2027 00:00:00 GMT",
        "2027-11-28T00:00:00Z",
        "Sat, " + "28 " * 20_000,
        "\x00",
        "Sat,\r\n 28 Nov 2027 00:00:00 GMT",
    ],
)
def test_an_invalid_header_or_one_without_a_delay_is_treated_as_absent(header: str | None) -> None:
    assert retry_after.delay_s(header, now=NOW) is None


PIECES = st.sampled_from(
    ["Sat", "Saturday", ", ", " ", "-", "28", "9", "Nov", "2026", "9999", "0000", ":", "12:00:00", "GMT", "+0000", "-"]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join), st.from_regex(r"\A[0-9:+ ,A-Za-z-]{0,80}\Z")))
def test_no_text_raises_and_every_delay_is_bounded(header: str) -> None:
    seconds = retry_after.delay_s(header, now=NOW)

    assert seconds is None or 0 < seconds <= instants.LONGEST_S


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001  made aware below
def test_every_date_that_http_can_write_is_read(date: datetime) -> None:
    aware = date.replace(microsecond=0, tzinfo=UTC)
    seconds = (aware - NOW).total_seconds()

    wanted = min(seconds, instants.LONGEST_S) if seconds > 0 else None

    assert retry_after.delay_s(format_datetime(aware, usegmt=True), now=NOW) == wanted
    assert retry_after.delay_s(aware.strftime("%a %b %e %H:%M:%S %Y"), now=NOW) == wanted
