"""Parses the Retry-After header (RFC 9110, section 10.2.3): seconds, or a date in one of the three HTTP formats.

Pure. The value is untrusted: an invalid date or zone, or any other text, is treated as absent and never raises. The
`email` package is not used, because it raises more than ValueError for such text.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

from beacon.domain import instants

_LONGEST_DATE = 64  # characters; the longest form, with a full weekday, has 33
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_ZONE = r"(?P<zone>GMT|UTC|[+-][0-9]{4})"
_FORMS = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"[a-z]{{3,9}}, (?P<day>[0-9]{{1,2}}) (?P<month>[a-z]{{3}}) (?P<year>[0-9]{{4}}) {_TIME} {_ZONE}",
        rf"[a-z]{{3,9}}, (?P<day>[0-9]{{2}})-(?P<month>[a-z]{{3}})-(?P<year>[0-9]{{2}}) {_TIME} {_ZONE}",
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)


def delay_s(header: str | None, *, now: datetime) -> float | None:
    """Return the delay that a header asks for, at most `instants.LONGEST_S`.

    Return None if the header is absent or invalid, or asks for no delay.
    """
    text = (header or "").strip(" \t")
    if text.isascii() and text.isdigit():
        seconds = min(float(text), instants.LONGEST_S)
    elif len(text) <= _LONGEST_DATE and (date := _date_of(text, now)) is not None:
        seconds = (date - now).total_seconds()
    else:
        return None
    return min(seconds, instants.LONGEST_S) if seconds > 0 else None


def _date_of(text: str, now: datetime) -> datetime | None:
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None or found["month"].lower() not in _MONTHS:
        return None
    month = _MONTHS.index(found["month"].lower()) + 1
    zone = found.groupdict().get("zone") or "GMT"
    try:
        return datetime(
            _year_of(found["year"], now),
            month,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(int(found["second"]), 59) if found["second"] == "60" else int(found["second"]),  # a leap second
            tzinfo=_zone_of(zone),
        )
    except ValueError:  # invalid day, time or zone
        return None


def _year_of(digits: str, now: datetime) -> int:
    """Return the year; a two-digit year is at most 50 years in the future (RFC 9110, section 5.6.7)."""
    if len(digits) == 4:
        return int(digits)
    year = now.year - now.year % 100 + int(digits)
    return year - 100 if year > now.year + 50 else year


def _zone_of(zone: str) -> timezone:
    if zone[0] not in "+-":
        return UTC
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
    return timezone(-offset if zone[0] == "-" else offset)
