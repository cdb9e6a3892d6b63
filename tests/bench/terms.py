"""Settings of a run of the benchmark: size, cluster, directories, build."""

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
    """Settings of a run.

    `scale` is 1 for real measurements; less is a miniature, which tests the benchmark and has meaningless results.
    `kubeconfig` is that of a real cluster; None: an embedded API server. `shelf` is a directory for files that several
    runs share. `profile` is the directory of the profiles; None: no profile. `shared` returns the one stage of a
    miniature. `build` is the measured build.
    """

    shelf: Path
    scale: float = 1.0
    kubeconfig: Path | None = None
    profile: Path | None = None
    shared: Callable[[], stage.Stage] | None = None
    build: builds.Build = builds.OWN

    @property
    def miniature(self) -> bool:
        """Return True if this is a miniature."""
        return self.scale < 1

    def many(self, number: int) -> int:
        """Return a number of objects or events, scaled."""
        return max(min(number, 20), round(number * self.scale))

    def often(self, times: int) -> int:
        """Return a number of repetitions within one run, scaled."""
        return times if self.scale == 1 else 1

    def lasting(self, seconds: float) -> float:
        """Return a duration, scaled."""
        return seconds if self.scale == 1 else 0.5

    @contextlib.contextmanager
    def stage(self) -> Iterator[stage.Stage]:
        """Yield a stage with a ready Beacon; a fresh one, except in a miniature."""
        if self.shared is None:
            with stage.running(self.kubeconfig, environ=profiles.environ(self.profile), build=self.build) as fresh:
                yield fresh
        else:
            on = self.shared()
            on.usual()
            yield on

    @contextlib.contextmanager
    def shared_stage(self) -> Iterator["Terms"]:
        """Yield the same settings with one stage for all measurements, which starts on first use."""
        with contextlib.ExitStack() as stack:
            yield dataclasses.replace(self, shared=functools.cache(lambda: stack.enter_context(self.stage())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A measurement, which returns results by row.

    `times` is its default number of runs: several where results are noisy, one where a run takes minutes. `embedded`
    is why it needs the embedded API server, "" if it does not. With `inside` it calls the code of the measured build,
    so that only the build's own harness can run it.
    """

    measure: Callable[[Terms], rows.Figures]
    times: int = 3
    embedded: str = ""
    inside: bool = False
