"""What holds for every test: profiles of hypothesis, and what is done about real components that this machine lacks."""

import pytest
from hypothesis import Phase, settings

from beacon.dev import patience
from tests.gate import needs

patience.factor = 5.0

# `mutants` stops at the first counterexample, because it is not shown.
settings.register_profile("mutants", phases=[Phase.generate], database=None)
settings.register_profile("gate", database=None, print_blob=True)
settings.load_profile("gate")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Require what the test's marks name."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            needs.require(name)
