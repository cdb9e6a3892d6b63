"""What a test does on a machine that lacks a real component: it is skipped with the reason, in CI it fails."""

import os

import pytest

from tests.gate import tiers

PLAN = tiers.read()


def require(name: str, plan: tiers.Plan = PLAN) -> None:
    """Skip or fail this test if the component of that name can't be used here."""
    absence = plan.absent(name, environ=os.environ)
    if absence is not None:
        (pytest.fail if absence.wrong else pytest.skip)(absence.why)
