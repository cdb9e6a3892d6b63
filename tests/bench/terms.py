"""What a whole run is told: how large, where, and where it may keep what is expensive to make."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`scale` 1 is the table's; less is a miniature that shows that everything works, with figures that mean nothing.

    `kubeconfig` is a real cluster's; without one every stage has an embedded API server of its own. `shelf` is a
    directory for what is made once and used by several runs. `profile` is where the profiles go, None: not wanted.
    """

    shelf: Path
    scale: float = 1.0
    kubeconfig: Path | None = None
    profile: Path | None = None

    def many(self, number: int) -> int:
        """Give how many there are of what the table has so many of."""
        return max(min(number, 20), round(number * self.scale))

    def lasting(self, seconds: float) -> float:
        """Give how long what the table gives so many seconds lasts."""
        return max(min(seconds, 1.0), seconds * self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Something to be measured: it gives figures by row.

    `times` is how often unless somebody says otherwise: often where machines are noisy, once where it takes minutes.
    `embedded` is why it can't be had of a real cluster, "" when it can.
    """

    measure: Callable[[Terms], Figures]
    times: int = 3
    embedded: str = ""
