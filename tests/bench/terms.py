"""What a whole run is told: how large, where, and where it may keep what is expensive to make."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import profiles, rows, stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`scale` 1 is the table's; less is a miniature that shows that everything works, with figures that mean nothing.

    `kubeconfig` is a real cluster's; without one there is an embedded API server. `shelf` is a directory for what is
    made once and used by several runs. `profile` is where the profiles go, None: not wanted. `shared` is the stage that
    a miniature has for everything.
    """

    shelf: Path
    scale: float = 1.0
    kubeconfig: Path | None = None
    profile: Path | None = None
    shared: stage.Stage | None = None

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
            with stage.running(self.kubeconfig, environ=profiles.environ(self.profile)) as fresh:
                yield fresh
        else:
            self.shared.usual()
            yield self.shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Something to be measured: it gives figures by row.

    `times` is how often unless somebody says otherwise: often where machines are noisy, once where it takes minutes.
    `embedded` is why it can't be had of a real cluster, "" when it can.
    """

    measure: Callable[[Terms], rows.Figures]
    times: int = 3
    embedded: str = ""
