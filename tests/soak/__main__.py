"""`make soak MINUTES=n`: Beacon under supervisord, a cluster that changes all the time, and one fault after another.

Three endpoints are each proved by what they received. At the end, and whenever the changes pause, the events that two
of them accepted must equal the changes of the API server, object by object, in order: one of the two never fails by
itself, the other often. What the third one gets, and whether it is in the configuration, changes at each restart: it
must then hold the objects that it selects, with their UIDs and values, and never see a wrong order or predecessor.

Faults that discard the history (a restart of the API server, a compaction, a restore) are injected while changes pause,
because Beacon can't know of an object that was created and deleted within a gap; so no event may be missing then.
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
from tests.soak import place, receipts, truth

_WITHIN_S = 60.0  # from a fault's end until everything is delivered
_LINES = 200  # of Beacon's log, printed when the soak itself fails
_CONCURRENCY = 5
_UNCONFIRMED = 32  # docs/guarantees.md, P5
_PROCESSES = ("store", "watcher", "reconciler", "notifier", "exporter", "sentinel")


@dataclass(slots=True, kw_only=True)
class Tally:
    """The injected faults and their effects."""

    faults: Counter[str] = field(default_factory=Counter)
    allowed_repeats: Counter[str] = field(default_factory=Counter)  # endpoint -> its repeats that faults explain
    slowest_s: float = 0.0


class Soak:
    """A Beacon with its cluster and endpoints, and the faults."""

    def __init__(self, on: place.Place, *, seed: int) -> None:
        """Prepare the run."""
        self.tally = Tally()
        self._on = on
        self._chance = random.Random(seed)
        self._truth = truth.Truth(on.cluster, seed=seed)
        self._receipts = {name: receipts.Receipts(sink) for name, sink in on.sinks.items()}
        self._troubled = on.sinks[place.TROUBLED]
        self._choice = place.Choice()
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
            self.configuration_changes,
            self.configuration_changes,
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
        for one in self._receipts.values():
            one.stop()
        return self._differences()

    def kill(self) -> None:
        """Kill a process."""
        process = self._chance.choice(_PROCESSES)
        if process == "notifier":
            self._allow(_CONCURRENCY + _UNCONFIRMED)
        self._signal(process, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop a process for a while (SIGSTOP)."""
        process = self._chance.choice(_PROCESSES)
        if process == "notifier":
            self._allow(_CONCURRENCY)  # the endpoints close the connections first
        self._signal(process, signal.SIGSTOP)
        self._wait(0.5, 5.0)
        self._signal(process, signal.SIGCONT)

    def endpoint_down(self) -> None:
        """Stop an endpoint for a while; responses in transit are lost."""
        self._allow(_CONCURRENCY, place.TROUBLED)
        self._troubled.stop()
        self._wait(0.5, 5.0)
        self._troubled.start()

    def endpoint_fails(self) -> None:
        """Make an endpoint fail half of the requests for a while."""
        self._troubled.set(mode="random", failure_rate=0.5, status=self._chance.choice((429, 500, 503)))
        self._wait(0.5, 5.0)
        self._troubled.set(mode="success")

    def endpoint_hangs(self) -> None:
        """Make an endpoint accept requests without answering for a while."""
        self._troubled.set(mode="hang")
        self._wait(0.5, 5.0)
        self._troubled.set(mode="success")

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

    def configuration_changes(self) -> None:
        """Restart Beacon with another selection of an endpoint, without it, or with it again."""
        self._on.beacon.stop()
        self._choice = place.Choice.random(self._chance)
        self._on.configure(self._choice, self._chance)
        self._on.beacon.start()

    def _allow(self, repeats: int, *names: str) -> None:
        for name in names or place.NAMES:
            self.tally.allowed_repeats[name] += repeats

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
        for name in (place.HEALTHY, place.TROUBLED):
            got = self._receipts[name]
            testkit.until(
                lambda got=got: got.look() >= wanted,  # type: ignore[misc]
                f"{wanted} events at {name}",
                timeout=_WITHIN_S,
            )
        if self._choice.present:
            self._settle_changing()
        self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - began)

    def _settle_changing(self) -> None:
        try:
            testkit.until(lambda: not self._wrong_set(), "the set of the changing endpoint", timeout=_WITHIN_S)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {self._choice}: {self._wrong_set()}") from None

    def _wrong_set(self) -> list[str]:
        """Return where the set of the changing endpoint differs from the objects that it selects."""
        got = self._receipts[place.CHANGING]
        got.look()
        is_exact = self._choice.has_values
        wanted = {name: (one.uid, one.value) for name, one in self._truth.annotated().items()}
        found = []
        for name in sorted(filter(self._choice.selects, {*wanted, *got.holds})):
            right, held = wanted.get(name), got.holds.get(name)
            if right != held and (is_exact or right is None or held is None or right[0] != held[0]):
                found.append(f"{name}: holds {held} instead of {right}")
        return found

    def _differences(self) -> list[str]:
        found = [f"beacon verify: {line}" for line in self._verify()]
        for name in (place.HEALTHY, place.TROUBLED):
            received = self._receipts[name].received
            found += [
                f"{name}, {one}: expected {self._truth.expected[one]}, received {received[one]}"
                for one in sorted({*self._truth.expected, *received})
                if self._truth.expected[one] != received[one]
            ]
        if self._choice.present:
            found += [f"{place.CHANGING}, {difference}" for difference in self._wrong_set()]
        return found + [line for name in place.NAMES for line in self._broken(name)]

    def _broken(self, name: str) -> list[str]:
        """Return what an endpoint can prove by the events that it got."""
        stats, repeats = self._on.sinks[name].stats(), self._receipts[name].repeats
        broken = {
            "order violations": stats.order_violations,
            "overlapping requests of one object": stats.overlaps,
            "gaps in the chain of previous": stats.chain_gaps,
            "refused requests": stats.refused,
            "altered events": stats.altered,
        }
        found = [f"{name}: {number} {what}" for what, number in broken.items() if number]
        if repeats > (allowed := self.tally.allowed_repeats[name]):
            found.append(f"{name}: {repeats} repeats; the faults explain only {allowed}")
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
        received = (
            f"{name}: {one.distinct} events, {one.repeats} repeats (bound {self.tally.allowed_repeats[name]})"
            for name, one in self._receipts.items()
        )
        return (
            f"faults: {faults}\n"
            f"changes {self._truth.changes}, expected events {self._truth.total}, longest wait for all deliveries"
            f" {self.tally.slowest_s:.1f} s\n" + "\n".join(received)
        )


@click.command()
@click.option("--minutes", default=30.0, help="Duration of the fault injection.")
@click.option("--seed", default=0, help="Seed of changes and faults; 0: a random one.")
def main(minutes: float, seed: int) -> None:
    """Inject faults into Beacon, and compare the delivered events with the changes made."""
    patience.factor = 5.0
    seed = seed or random.SystemRandom().randrange(1, 2**31)
    click.echo(f"seed {seed}, {minutes:g} minutes", err=True)
    with place.running() as on:
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
