"""The course of the demo: set the stage, wait until Beacon is ready, show, stay until somebody ends it."""

import time
from dataclasses import dataclass
from pathlib import Path

from beacon import errors
from beacon.configuration import shown
from beacon.dev import testkit
from beacon.dev.demo import console, environment, real, tour

_READY_WITHIN_S = 60.0
_SAY_WHY_AFTER_S = 4.0
_LOOK_S = 0.05
_PROGRESS_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedEvent:
    """What the demo is asked to do; without a `config` it brings its own cluster."""

    config: Path | None
    kubeconfig: str
    test_endpoint: bool
    once: bool


def play(wanted: ExpectedEvent, asked: environment.Asked, shown: console.Screen) -> int:
    """Give the demo, and return the exit code. Everything has ended by then."""
    with environment.Stage(asked) as on:
        code = _guarded(_Play(wanted, on, shown), asked, shown)
        if asked():
            shown.say("Stopping ...")
    if asked() or code == errors.EXIT_OK:
        shown.say("Everything has ended, and nothing is left behind.")
    return code


def _guarded(course: "_Play", asked: environment.Asked, shown: console.Screen) -> int:
    """Say in words what ends the demo early."""
    try:
        return course.run()
    except errors.Stopping:
        return 128 + asked.number
    except errors.ConfigError as error:
        for problem in error.problems:
            shown.trouble(problem)
        return errors.EXIT_CONFIG
    except errors.BeaconError as error:
        shown.trouble(str(error))
        return error.exit_code if isinstance(error, errors.StartError) else errors.EXIT_FAILURE


class _Play:
    def __init__(self, wanted: ExpectedEvent, on: environment.Stage, shown: console.Screen) -> None:
        self._wanted = wanted
        self._stage = on
        self._screen = shown

    def run(self) -> int:
        return self._on_own_cluster() if self._wanted.config is None else self._on_theirs(self._wanted.config)

    def _on_own_cluster(self) -> int:
        self._screen.say(
            f"Beacon without a cluster. Everything lies in {self._stage.directory} and is removed at the end."
        )
        cluster = self._stage.start_cluster()
        self._screen.say(f"An embedded Kubernetes API server listens at {cluster.url}.")
        url = self._start_endpoint()
        started = time.monotonic()
        config, here = tour.config(url), environment.without_proxy()
        beacon = self._stage.start_beacon(config, kubeconfig=cluster.kubeconfig, environ=here)
        if not self._wait_ready(beacon):
            return errors.EXIT_FAILURE
        self._screen.say(f"Beacon runs under supervisord, ready after {tour.waited(started)}: {_programs(beacon)}.")
        self._screen.say()
        self._screen.head()
        if not tour.Tour(self._stage, cluster, self._screen).run():
            return errors.EXIT_FAILURE
        tour.by_hand(cluster, self._screen)
        self._say_where(beacon)
        return errors.EXIT_OK if self._wanted.once else self._stay(beacon)

    def _on_theirs(self, config: Path) -> int:
        given = real.check_files(config, self._wanted.kubeconfig)
        environ = dict(given.environ)
        test = self._wanted.test_endpoint or not real.names_endpoint(given)
        if test:
            environ |= {"ENDPOINT_URL": "http://127.0.0.1:9"}  # until there is one, for the check
        tree = real.check_settings(given, environ)
        self._screen.say(
            f"Beacon runs with {config} against the cluster of {given.kubeconfig}; it changes nothing there."
        )
        if test:
            environ |= {"ENDPOINT_URL": self._start_endpoint(), **environment.without_proxy()}
        else:
            self._screen.say(f"Notifications go to {shown.url(tree.endpoint.url)}.")
            real.look_at_endpoint(tree.endpoint.url, self._screen)
        if "DB_PATH" not in environ:
            self._screen.say("Its ledger is temporary: each run tells everything anew. DB_PATH=file keeps one.")
        beacon = self._stage.start_beacon(config, kubeconfig=given.kubeconfig, environ=environ)
        if not self._wait_ready(beacon):
            return errors.EXIT_FAILURE
        self._screen.say("Beacon is ready.")
        self._say_where(beacon)
        if test:
            self._screen.head()
        if self._wanted.once:
            return errors.EXIT_OK
        return self._stay(beacon, None if test else real.Progress(beacon, self._screen))

    def _start_endpoint(self) -> str:
        url = self._stage.start_endpoint()
        self._screen.say(f"A test endpoint that records what it gets listens at {url}.")
        return url

    def _wait_ready(self, beacon: testkit.Beacon) -> bool:
        """Wait for Beacon, saying what it waits for; for ever, if somebody watches."""
        started = said = time.monotonic()
        while True:
            try:
                beacon.wait_ready(1.0, stopped=self._stage.asked)
            except TimeoutError:
                tour.show(self._stage, self._screen)
            else:
                return True
            now = time.monotonic()
            if now - said >= _SAY_WHY_AFTER_S:
                self._screen.trouble(f"Not ready yet: {'; '.join(beacon.reasons())}.")
            if self._wanted.once and now - started > _READY_WITHIN_S:
                self._screen.trouble(f"Beacon was not ready within {_READY_WITHIN_S:.0f} s.")
                return False

    def _say_where(self, beacon: testkit.Beacon) -> None:
        self._screen.say()
        self._screen.say("How Beacon is:")
        self._screen.verbatim(f"curl {beacon.ready_url}")
        self._screen.verbatim(f"curl {beacon.metrics_url}")
        self._screen.verbatim(
            f"BEACON_RUN_DIR={beacon.run_dir} {testkit.SCRIPTS}/supervisorctl -c {testkit.CONF} status"
        )
        end = "This run ends here by itself." if self._wanted.once else "Ctrl-C ends it all."
        self._screen.say(end)
        self._screen.say()

    def _stay(self, beacon: testkit.Beacon, progress: real.Progress | None = None) -> int:
        """Show what comes until somebody ends it."""
        looked = 0.0
        while not self._stage.asked():
            tour.show(self._stage, self._screen)
            if beacon.process is None or beacon.process.poll() is not None:
                self._screen.trouble("Beacon's supervisord has ended unexpectedly.")
                return errors.EXIT_FAILURE
            if progress and time.monotonic() - looked >= _PROGRESS_S:
                looked = time.monotonic()
                progress.look()
            time.sleep(_LOOK_S)
        return errors.EXIT_OK


def _programs(beacon: testkit.Beacon) -> str:
    return ", ".join(name for name, program in beacon.programs().items() if program.alive)
