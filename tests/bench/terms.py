"""What a whole run is told: how large, where, and where it may keep what is expensive to make."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from beacon.dev import build as builds
from tests.bench import profiles, rows, stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`scale` 1 is the table's; less is a miniature that shows that everything works, with figures that mean nothing.

    `kubeconfig` is a real cluster's; without one there is an embedded API server. `shelf` is a directory for what is
    made once and used by several runs. `profile` is where the profiles go, None: not wanted. `shared` returns the
    stage that a miniature has for everything. `build` is what is measured.
    """

    shelf: Path
    scale: float = 1.0
    kubeconfig: Path | None = None
    profile: Path | None = None
    shared: Callable[[], stage.Stage] | None = None
    build: builds.Build = builds.OWN

    @property
    def miniature(self) -> bool:
        """Whether the figures mean nothing."""
        return self.scale < 1

    def many(self, number: int) -> int:
        """Give how many there are of what the table has so many of."""
        return max(min(number, 20), round(number * self.scale))

    def often(self, times: int) -> int:
        """Give how often something is repeated within one run."""
        return times if self.scale == 1 else 1

    def lasting(self, seconds: float) -> float:
        """Give how long what the table gives so many seconds lasts."""
        return seconds if self.scale == 1 else 0.5

    @contextlib.contextmanager
    def stage(self) -> Iterator[stage.Stage]:
        """Give a stage on which Beacon is ready and nothing has happened yet; in a miniature much may have."""
        if self.shared is None:
            with stage.running(self.kubeconfig, environ=profiles.environ(self.profile), build=self.build) as fresh:
                yield fresh
        else:
            on = self.shared()
            on.usual()
            yield on

    @contextlib.contextmanager
    def shared_stage(self) -> Iterator["Terms"]:
        """Return the same terms with everything on one stage, which starts when it is first used."""
        with contextlib.ExitStack() as stack:
            yield dataclasses.replace(self, shared=functools.cache(lambda: stack.enter_context(self.stage())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Something to be measured: it gives figures by row.

    `times` is how often unless somebody says otherwise: often where machines are noisy, once where it takes minutes.
    `embedded` is why it can't be had of a real cluster, "" when it can. `inside` says that it uses the code of the
    build that it measures, so that no other checkout's harness can measure it.
    """

    measure: Callable[[Terms], rows.Figures]
    times: int = 3
    embedded: str = ""
    inside: bool = False
