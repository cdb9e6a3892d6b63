"""`make soak MINUTES=n`: Beacon under supervisord, a cluster that changes all the time, and one fault after another.

At the end, and whenever the changes pause, the events that the endpoint accepted must equal the changes of the API
server, object by object, in order. Faults that discard the history (a restart of the API server, a compaction, a
restore) are injected while changes pause, because Beacon can't know of an object that was created and deleted within a
gap; so no event may be missing then either.
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
from beacon.dev import patience, testkit
from tests.soak import receipts, truth
from tests.system import running

_WITHIN_S = 60.0  # from a fault's end until everything is delivered
_KEEP = 50_000
_LINES = 200  # of Beacon's log, printed when the soak itself fails
_CONCURRENCY = 5
_UNCONFIRMED = 32  # docs/guarantees.md, P5
_PROCESSES = ("store", "watcher", "reconciler", "notifier", "exporter", "sentinel")
_CONFIG = {"reconciliation": {"interval": "3s"}, "retention": {"retentionPeriod": "20s", "cleanupInterval": "5s"}}
# Processes are killed very often here; a restart that the sentinel delays would test nothing.
_ENVIRON = {"BEACON_SENTINEL_FREE_DEATHS": "1000000"}


@dataclass(slots=True, kw_only=True)
class Tally:
    """The injected faults and their effects."""

    faults: Counter[str] = field(default_factory=Counter)
    allowed_repeats: int = 0
    slowest_s: float = 0.0


class Soak:
    """A Beacon with its cluster and endpoint, and the faults."""

    def __init__(self, on: running.Everything, *, seed: int) -> None:
        """Prepare the run."""
        self.tally = Tally()
        self._on = on
        self._chance = random.Random(seed)
        self._truth = truth.Truth(on.cluster, seed=seed)
        self._receipts = receipts.Receipts(on.sink)
        self._faults: tuple[Callable[[], None], ...] = (
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
        """Inject faults for this time. Return the differences found at the end; an empty list means success."""
        until = time.monotonic() + seconds
        self._truth.start()
        while time.monotonic() < until:
            time.sleep(self._chance.uniform(0.2, 1.0))
            fault = self._chance.choice(self._faults)
            self.tally.faults[fault.__name__] += 1
            fault()
        self._truth.stop()
        self._settle()
        self._receipts.stop()
        return self._differences()

    def kill(self) -> None:
        """Kill a process."""
        process = self._chance.choice(_PROCESSES)
        if process == "notifier":
            self.tally.allowed_repeats += _CONCURRENCY + _UNCONFIRMED
        self._signal(process, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop a process for a while (SIGSTOP)."""
        process = self._chance.choice(_PROCESSES)
        if process == "notifier":
            self.tally.allowed_repeats += _CONCURRENCY  # the endpoint closes the connections first
        self._signal(process, signal.SIGSTOP)
        self._wait(0.5, 5.0)
        self._signal(process, signal.SIGCONT)

    def endpoint_down(self) -> None:
        """Stop the endpoint for a while; responses in transit are lost."""
        self.tally.allowed_repeats += _CONCURRENCY
        self._on.sink.stop()
        self._wait(0.5, 5.0)
        self._on.sink.start()

    def endpoint_fails(self) -> None:
        """Make the endpoint fail half of the requests for a while."""
        self._on.sink.set(mode="random", failure_rate=0.5, status=self._chance.choice((429, 500, 503)))
        self._wait(0.5, 5.0)
        self._on.sink.set(mode="success")

    def endpoint_hangs(self) -> None:
        """Make the endpoint accept requests without answering for a while."""
        self._on.sink.set(mode="hang")
        self._wait(0.5, 5.0)
        self._on.sink.set(mode="success")

    def connections_break(self) -> None:
        """Cut the watches."""
        self._on.cluster.faults.drop(verb="watch")

    def half_a_line(self) -> None:
        """Cut the watches in the middle of a line."""
        self._on.cluster.faults.half_line(verb="watch")

    def api_errors(self) -> None:
        """Make the API server refuse some requests."""
        self._on.cluster.faults.fail(self._chance.choice((401, 429, 500, 503)), times=self._chance.randint(1, 5))
        self.connections_break()

    def api_silent(self) -> None:
        """Freeze the API server's connections, as if half-open, for a while."""
        self._on.cluster.faults.freeze()
        self._wait(0.5, 4.0)
        self._on.cluster.faults.thaw()

    def api_restarts(self) -> None:
        """Restart the API server, which clears its watch cache."""
        with self._truth.held:
            self._settle()
            self._on.cluster.restart()
            self._be_seen()

    def api_compacts(self) -> None:
        """Compact the history and cut the watches."""
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
            # Beacon can't detect a restore once later changes exceed the old resourceVersion: docs/guarantees.md.
            testkit.until(
                lambda: len(self._on.beacon.logged("gap closed", reason="rewound")) > found,
                "Beacon to detect the restore",
                timeout=_WITHIN_S,
            )
            self._settle()

    def beacon_restarts(self) -> None:
        """Stop Beacon as a pod is stopped, and start it again."""
        self._on.beacon.stop()
        self._wait(0.0, 2.0)
        self._on.beacon.start()

    def _signal(self, process: str, number: signal.Signals) -> None:
        # The process may be down already, or supervisord may just be starting; then this fault has no effect.
        with contextlib.suppress(ProcessLookupError, KeyError, errors.TransientError):
            self._on.beacon.kill(process, number)

    def _wait(self, low_s: float, high_s: float) -> None:
        time.sleep(self._chance.uniform(low_s, high_s))

    def _be_seen(self) -> None:
        """Make one change and wait until its event is delivered, so that Beacon has recovered its position."""
        self._truth.change(1)
        self._settle()

    def _settle(self) -> None:
        """Wait until all events are delivered; the caller has paused the changes."""
        began = time.monotonic()
        wanted = self._truth.total
        testkit.until(
            lambda: self._receipts.look() >= wanted,
            f"{wanted} events, {self._receipts.look()} came",
            timeout=_WITHIN_S,
        )
        self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - began)

    def _differences(self) -> list[str]:
        stats = self._on.sink.stats()
        found = [
            f"{name}: expected {self._truth.expected[name]}, received {self._receipts.received[name]}"
            for name in sorted({*self._truth.expected, *self._receipts.received})
            if self._truth.expected[name] != self._receipts.received[name]
        ]
        broken = {
            "order violations": stats.order_violations,
            "overlapping requests of one object": stats.overlaps,
            "gaps in the chain of previous": stats.chain_gaps,
        }
        found += [f"{number} {what}" for what, number in broken.items() if number]
        found += [f"beacon verify: {line}" for line in self._verify()]
        if self._receipts.repeats > self.tally.allowed_repeats:
            found.append(f"{self._receipts.repeats} repeats; the faults explain only {self.tally.allowed_repeats}")
        return found

    def _verify(self) -> list[str]:
        """Run `beacon verify` while Beacon runs; return its findings."""
        self._on.beacon.wait_ready()
        command = [sys.executable, "-m", "beacon.cli", "verify"]
        done = subprocess.run(command, env=self._on.beacon.environ, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).splitlines() if done.returncode else []

    def summary(self) -> str:
        """Return a summary of the faults and the results."""
        faults = ", ".join(f"{number} {name}" for name, number in sorted(self.tally.faults.items()))
        return (
            f"faults: {faults}\n"
            f"changes {self._truth.changes}, expected events {self._truth.total}, delivered {self._receipts.distinct},"
            f" repeats {self._receipts.repeats} (bound {self.tally.allowed_repeats}),"
            f" longest wait for all deliveries {self.tally.slowest_s:.1f} s"
        )


@click.command()
@click.option("--minutes", default=30.0, help="Duration of the fault injection.")
@click.option("--seed", default=0, help="Seed of changes and faults; 0: a random one.")
def main(minutes: float, seed: int) -> None:
    """Inject faults into Beacon, and compare the delivered events with the changes made."""
    patience.factor = 5.0
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
    for difference in found:
        click.echo(f"WRONG: {difference}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
