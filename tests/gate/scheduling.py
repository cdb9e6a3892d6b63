"""Distribution of tests to workers: one by one, but the tests of a file together if they share expensive fixtures."""

import functools
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

from tests.gate import tiers

_SHARED = 'scope="module"'


class FixtureScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Scheduler of pytest-xdist that gives a worker a whole file only if a fixture of the file needs it."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if shares_fixtures(tiers.ROOT / file) else nodeid


@functools.cache
def shares_fixtures(path: Path) -> bool:
    """Return True if tests of a file share a fixture, its own or one of its directory."""
    files = (path, path.with_name("conftest.py"))
    return any(_SHARED in file.read_text(encoding="utf-8") for file in files if file.exists())
