"""What holds for every test: profiles of hypothesis, and what is done about real components that this machine lacks."""

from typing import Any

import pytest
from hypothesis import Phase, settings

from beacon.dev import patience
from tests.gate import needs, scheduling

patience.factor = 5.0

# `mutants` stops at the first counterexample, because it is not shown.
settings.register_profile("mutants", phases=[Phase.generate], database=None)
settings.register_profile("gate", database=None, print_blob=True)
settings.load_profile("gate")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> scheduling.FixtureScheduling | None:
    """Return the scheduler of `--dist loadscope`."""
    if config.getvalue("dist") != "loadscope":
        return None
    return scheduling.FixtureScheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Require what the test's marks name."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            needs.require(name)
