"""Handling of missing components: the test is skipped with the reason; in CI it fails."""

import os

import pytest

from tests.gate import tiers

PLAN = tiers.read()


def require(name: str, plan: tiers.Plan = PLAN) -> None:
    """Skip or fail the current test if this component is not available."""
    absence = plan.absent(name, environ=os.environ)
    if absence is not None:
        (pytest.fail if absence.wrong else pytest.skip)(absence.why)
