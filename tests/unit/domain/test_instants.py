"""Instants as text."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.domain import instants


@given(st.integers(0, 200 * 365 * 86_400_000_000))
def test_instants_are_rfc_3339_to_the_microsecond(instant_us: int) -> None:
    text = instants.rfc3339(instant_us)

    parsed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert (parsed - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() == pytest.approx(instant_us / 1e6, abs=1e-5)
    assert len(text) == 27


@pytest.mark.parametrize(
    ("instant_us", "text"), [(0, "1970-01-01T00:00:00.000000Z"), (1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z")]
)
def test_an_instant_keeps_its_microseconds(instant_us: int, text: str) -> None:
    assert instants.rfc3339(instant_us) == text
