"""`make soak MINUTES=n`: Beacon under supervisord, a cluster that changes all the time, and one mishap after another.

In the end, and whenever all is quiet for a moment, what the endpoint accepted must be what the API server did, object
by object, in order. Mishaps that take the history away (a restart of the API server, a compaction, a restore) come
while nothing changes, because what is created and deleted within a gap can't be known; then nothing may be missing
either.
"""

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from beacon import errors
from beacon.dev import testkit
from tests.soak import receipts, truth
from tests.system import running

_WITHIN_S = 60.0  # from a mishap's end to everything told
_KEEP = 50_000
_LINES = 200  # of Beacon's log, when the soak itself falls over
_CONCURRENCY = 5
_UNCONFIRMED = 32  # docs/guarantees.md, P5
_PROCESSES = ("store", "watcher", "reconciler", "notifier", "exporter", "sentinel")
_CONFIG = {"reconciliation": {"interval": "3s"}, "retention": {"retentionPeriod": "20s", "cleanupInterval": "5s"}}
# Nothing dies as often as here, and what is held back says nothing of what it would do.
_ENVIRON = {"BEACON_SENTINEL_FREE_DEATHS": "1000000"}


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was done, and what came of it."""

    mishaps: Counter[str] = field(default_factory=Counter)
    allowed_repeats: int = 0
    slowest_s: float = 0.0


class Soak:
    """One Beacon, its cluster and its endpoint, and what may befall them."""

    def __init__(self, on: running.Everything, *, seed: int) -> None:
        """Be ready to begin."""
        self.tally = Tally()
        self._on = on
        self._chance = random.Random(seed)
        self._truth = truth.Truth(on.cluster, seed=seed)
        self._receipts = receipts.Receipts(on.sink)
        self._mishaps: tuple[Callable[[], None], ...] = (
            self.kill,
            self.kill,
            self.freeze,
            self.endpoint_down,
            self.endpoint_fails,
            self.endpoint_hangs,
            self.connections_break,
            self.half_a_line,
            self.api_errors,
            self.api_silent,
            self.api_restarts,
            self.api_compacts,
            self.cluster_restored,
            self.beacon_restarts,
        )

    def run(self, seconds: float) -> list[str]:
        """Go through mishaps for so long, and say what is wrong in the end, nothing when all is right."""
        until = time.monotonic() + seconds
        self._truth.start()
        while time.monotonic() < until:
            time.sleep(self._chance.uniform(0.2, 1.0))
            mishap = self._chance.choice(self._mishaps)
            self.tally.mishaps[mishap.__name__] += 1
            mishap()
        self._truth.stop()
        self._settle()
        self._receipts.stop()
        return self._faults()

    def kill(self) -> None:
        """Kill a process."""
        process = self._chance.choice(_PROCESSES)
        if process == "notifier":
            self.tally.allowed_repeats += _CONCURRENCY + _UNCONFIRMED
        self._signal(process, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop a process for a while."""
        process = self._chance.choice(_PROCESSES)
        if process == "notifier":
            self.tally.allowed_repeats += _CONCURRENCY  # the endpoint gives up first
        self._signal(process, signal.SIGSTOP)
        self._wait(0.5, 5.0)
        self._signal(process, signal.SIGCONT)

    def endpoint_down(self) -> None:
        """Take the endpoint away for a while; answers that were on their way are lost."""
        self.tally.allowed_repeats += _CONCURRENCY
        self._on.sink.stop()
        self._wait(0.5, 5.0)
        self._on.sink.start()

    def endpoint_fails(self) -> None:
        """Let the endpoint answer with an error now and then."""
        self._on.sink.set(mode="random", failure_rate=0.5, status=self._chance.choice((429, 500, 503)))
        self._wait(0.5, 5.0)
        self._on.sink.set(mode="success")

    def endpoint_hangs(self) -> None:
        """Let the endpoint take requests and not answer."""
        self._on.sink.set(mode="hang")
        self._wait(0.5, 5.0)
        self._on.sink.set(mode="success")

    def connections_break(self) -> None:
        """Cut the watch."""
        self._on.cluster.faults.drop(verb="watch")

    def half_a_line(self) -> None:
        """Cut the watch in the middle of a line."""
        self._on.cluster.faults.half_line(verb="watch")

    def api_errors(self) -> None:
        """Let the API server refuse what is asked of it."""
        self._on.cluster.faults.fail(self._chance.choice((401, 429, 500, 503)), times=self._chance.randint(1, 5))
        self.connections_break()

    def api_silent(self) -> None:
        """Let the API server's connections be half open for a while."""
        self._on.cluster.faults.freeze()
        self._wait(0.5, 4.0)
        self._on.cluster.faults.thaw()

    def api_restarts(self) -> None:
        """Restart the API server, whose watch cache is empty then."""
        with self._truth.held:
            self._settle()
            self._on.cluster.restart()
            self._be_seen()

    def api_compacts(self) -> None:
        """Take the history away, and the watch."""
        with self._truth.held:
            self._settle()
            self._on.cluster.faults.compact()
            self.connections_break()
            self._be_seen()

    def cluster_restored(self) -> None:
        """Restore the cluster to an earlier state."""
        with self._truth.held:
            self._settle()
            before, backup = self._truth.annotated(), self._on.cluster.faults.snapshot()
            self._truth.change(self._chance.randint(5, 40))
            self._settle()
            found = len(self._on.beacon.logged("gap closed", reason="rewound"))
            self._on.cluster.faults.rewind(backup)
            self._truth.restored(before)
            # A restore that is overtaken before Beacon has looked can't be seen: docs/guarantees.md.
            testkit.until(
                lambda: len(self._on.beacon.logged("gap closed", reason="rewound")) > found,
                "the restore to be found",
                timeout=_WITHIN_S,
            )
            self._settle()

    def beacon_restarts(self) -> None:
        """Stop Beacon as a pod is stopped, and start it again."""
        self._on.beacon.stop()
        self._wait(0.0, 2.0)
        self._on.beacon.start()

    def _signal(self, process: str, number: signal.Signals) -> None:
        # It may be down already, or its supervisor just starting: then this mishap has happened to nobody.
        with contextlib.suppress(ProcessLookupError, KeyError, errors.TransientError):
            self._on.beacon.kill(process, number)

    def _wait(self, low_s: float, high_s: float) -> None:
        time.sleep(self._chance.uniform(low_s, high_s))

    def _be_seen(self) -> None:
        """Wait until Beacon has found its place again: one change is told, however it was found."""
        self._truth.change(1)
        self._settle()

    def _settle(self) -> None:
        """Wait until everything is told; the changes are halted."""
        began = time.monotonic()
        wanted = self._truth.total
        testkit.until(
            lambda: self._receipts.look() >= wanted,
            f"{wanted} events, {self._receipts.look()} came",
            timeout=_WITHIN_S,
        )
        self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - began)

    def _faults(self) -> list[str]:
        stats = self._on.sink.stats()
        found = [
            f"{name}: the API server did {self._truth.told[name]}, the endpoint got {self._receipts.told[name]}"
            for name in sorted({*self._truth.told, *self._receipts.told})
            if self._truth.told[name] != self._receipts.told[name]
        ]
        broken = {
            "order violations": stats.order_violations,
            "overlapping requests of one object": stats.overlaps,
            "gaps in the chain of previous": stats.chain_gaps,
        }
        found += [f"{number} {what}" for what, number in broken.items() if number]
        found += [f"beacon verify: {line}" for line in self._verify()]
        if self._receipts.repeats > self.tally.allowed_repeats:
            found.append(f"{self._receipts.repeats} repeats, where {self.tally.allowed_repeats} are explained")
        return found

    def _verify(self) -> list[str]:
        """Have the ledger proven while Beacon runs; gives what was found."""
        self._on.beacon.wait_ready()
        command = [sys.executable, "-m", "beacon.cli", "verify"]
        done = subprocess.run(command, env=self._on.beacon.environ, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).splitlines() if done.returncode else []

    def summary(self) -> str:
        """Say in a few lines what was done and what came of it."""
        mishaps = ", ".join(f"{number} {name}" for name, number in sorted(self.tally.mishaps.items()))
        return (
            f"mishaps: {mishaps}\n"
            f"changes {self._truth.changes}, to tell {self._truth.total}, told {self._receipts.distinct},"
            f" repeats {self._receipts.repeats} (bound {self.tally.allowed_repeats}),"
            f" longest wait for everything {self.tally.slowest_s:.1f} s"
        )


@click.command()
@click.option("--minutes", default=30.0, help="How long mishaps go on.")
@click.option("--seed", default=0, help="Decides changes and mishaps; 0: another one each time.")
def main(minutes: float, seed: int) -> None:
    """Let Beacon suffer, and compare what was told with what happened."""
    seed = seed or random.SystemRandom().randrange(1, 2**31)
    click.echo(f"seed {seed}, {minutes:g} minutes", err=True)
    with running.everything(changes=_CONFIG, keep=_KEEP, environ=_ENVIRON) as on:
        soak = Soak(on, seed=seed)
        try:
            found = soak.run(minutes * 60)
        except BaseException:
            for line in on.beacon.lines[-_LINES:]:
                click.echo(line, err=True)
            raise
        finally:
            click.echo(soak.summary())
    for fault in found:
        click.echo(f"WRONG: {fault}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
