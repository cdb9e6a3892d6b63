"""Timestamps as the API server writes them: UTC, whole seconds."""

from datetime import UTC, datetime, timedelta


def now(*, ahead_s: int = 0) -> str:
    """Return the current time plus `ahead_s` seconds, as RFC 3339."""
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
