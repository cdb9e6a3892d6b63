"""The course of the demo: start the environment, wait until Beacon is ready, run the tour, wait for Ctrl-C.

It decides the order of the steps and the exit code. It must not format output beyond single sentences.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beacon import errors
from beacon.configuration import shown
from beacon.dev import testkit
from beacon.dev.demo import console, environment, real, tour

_READY_WITHIN_S = 60.0
_REASONS_AFTER_S = 4.0
_POLL_S = 0.05
_PROGRESS_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of the demo; without a `config` it starts its own cluster."""

    config: Path | None
    kubeconfig: str
    context: str  # "": the current context of the kubeconfig
    test_endpoint: bool
    once: bool


def run(wanted: DemoOptions, asked: environment.StopRequest, shown: console.Console) -> int:
    """Run the demo until its end, and return the exit code. All processes have ended by then."""
    with environment.Environment(asked) as on:
        code = _guarded(_Scenario(wanted, on, shown), asked, shown)
        if asked():
            shown.say("Stopping ...")
    if asked() or code == errors.EXIT_OK:
        shown.say("Everything has ended, and nothing is left behind.")
    return code


def _guarded(course: "_Scenario", asked: environment.StopRequest, shown: console.Console) -> int:
    """Run the scenario; write an error that ends it early as a sentence."""
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


class _Scenario:
    def __init__(self, wanted: DemoOptions, on: environment.Environment, shown: console.Console) -> None:
        self._wanted = wanted
        self._environment = on
        self._console = shown

    def run(self) -> int:
        return self._on_own_cluster() if self._wanted.config is None else self._on_real_cluster(self._wanted.config)

    def _on_own_cluster(self) -> int:
        self._console.say(
            f"Beacon without a cluster. All files are in {self._environment.directory} and are removed at the end."
        )
        cluster = self._environment.start_cluster()
        self._console.say(f"An embedded Kubernetes API server listens at {cluster.url}.")
        urls = {name: self._start_endpoint(name) for name in tour.ENDPOINTS}
        kubeconfig, here, port = cluster.kubeconfig, environment.without_proxy(), testkit.free_port()
        started = time.monotonic()
        first = tour.config(port, {name: url for name, url in urls.items() if name != tour.ADDED})
        beacon = self._environment.start_beacon(first, kubeconfig=kubeconfig, environ=here)
        steps = tour.Tour(self._environment, cluster, self._console)
        if not self._wait_ready(beacon):
            return errors.EXIT_FAILURE
        self._console.say(f"Beacon runs under supervisord, ready after {tour.waited(started)}: {_programs(beacon)}.")
        self._console.say()
        self._console.head()
        if not steps.run(tour.FIRST):
            return errors.EXIT_FAILURE
        self._console.say(
            f"The endpoint {tour.ADDED} is added to the configuration, and Beacon is restarted: it catches up, the"
            " others get nothing."
        )
        beacon.stop()
        beacon = self._environment.start_beacon(tour.config(port, urls), kubeconfig=kubeconfig, environ=here)
        if not (self._wait_ready(beacon, steps.poll) and steps.expect(tour.CAUGHT_UP) and steps.run(tour.LAST)):
            return errors.EXIT_FAILURE
        if not steps.refuse_a_token(urls[tour.REFUSING]):
            return errors.EXIT_FAILURE
        steps.end()
        tour.by_hand(cluster, self._console)
        self._show_addresses(beacon)
        return errors.EXIT_OK if self._wanted.once else self._show_until_stopped(beacon)

    def _on_real_cluster(self, config: Path) -> int:
        files = real.check_files(config, self._wanted.kubeconfig)
        if context := self._wanted.context:
            files = real.choose_context(files, context, self._environment.directory)
        environ = dict(files.environ)
        test = self._wanted.test_endpoint or not real.names_endpoint(files)
        if test:
            environ |= {"ENDPOINT_URL": "http://127.0.0.1:9"}  # a placeholder, for the check
        tree = real.check_settings(files, environ)
        self._console.say(f"Beacon runs with {config} on the cluster of {files.kubeconfig}; it changes nothing there.")
        if test:
            environ |= {"ENDPOINT_URL": self._start_endpoint(tree.endpoint.name), **environment.without_proxy()}
        else:
            self._check_endpoints([one.url for one in tree.endpoints])
        if "DB_PATH" not in environ:
            self._console.say("Its ledger is temporary, so each run sends all events again. DB_PATH=file keeps it.")
        beacon = self._environment.start_beacon(config, kubeconfig=files.kubeconfig, environ=environ)
        if not self._wait_ready(beacon):
            return errors.EXIT_FAILURE
        self._console.say("Beacon is ready.")
        self._show_addresses(beacon)
        if test:
            self._console.head()
        if self._wanted.once:
            return errors.EXIT_OK
        return self._show_until_stopped(beacon, None if test else real.Progress(beacon, self._console))

    def _check_endpoints(self, urls: list[str]) -> None:
        self._console.say(f"Events are sent to {', '.join(map(shown.url, urls))}.")
        for url in urls:
            real.check_endpoint(url, self._console)

    def _start_endpoint(self, name: str) -> str:
        url = self._environment.start_endpoint(name)
        self._console.say(f"A test endpoint, {name}, that records all requests listens at {url}.")
        return url

    def _wait_ready(self, beacon: testkit.Beacon, show: Callable[[], object] | None = None) -> bool:
        """Wait until Beacon is ready and write why it is not; without `once` there is no time limit.

        `show` writes what has arrived meanwhile.
        """
        started = time.monotonic()
        while True:
            try:
                beacon.wait_ready(1.0, stopped=self._environment.asked)
            except TimeoutError:
                if show is None:
                    tour.show(self._environment, self._console)
                else:
                    show()
            else:
                return True
            now = time.monotonic()
            if now - started >= _REASONS_AFTER_S:
                self._console.trouble(f"Not ready yet: {'; '.join(beacon.reasons())}.")
            if self._wanted.once and now - started > _READY_WITHIN_S:
                self._console.trouble(f"Beacon was not ready within {_READY_WITHIN_S:.0f} s.")
                return False

    def _show_addresses(self, beacon: testkit.Beacon) -> None:
        self._console.say()
        self._console.say("To check the state of Beacon:")
        self._console.verbatim(f"BEACON_RUN_DIR={beacon.run_dir} {testkit.SCRIPTS}/beacon status")
        self._console.verbatim(f"curl {beacon.ready_url}")
        self._console.verbatim(f"curl {beacon.metrics_url}")
        self._console.verbatim(
            f"BEACON_RUN_DIR={beacon.run_dir} {testkit.SCRIPTS}/supervisorctl -c {testkit.CONF} status"
        )
        end = "This run ends here by itself." if self._wanted.once else "Ctrl-C ends it all."
        self._console.say(end)
        self._console.say()

    def _show_until_stopped(self, beacon: testkit.Beacon, progress: real.Progress | None = None) -> int:
        """Write notifications and problems until a signal arrives."""
        reported = 0.0
        while not self._environment.asked():
            tour.show(self._environment, self._console)
            if beacon.process is None or beacon.process.poll() is not None:
                self._console.trouble("Beacon's supervisord has ended unexpectedly.")
                return errors.EXIT_FAILURE
            if progress and time.monotonic() - reported >= _PROGRESS_S:
                reported = time.monotonic()
                progress.report()
            time.sleep(_POLL_S)
        return errors.EXIT_OK


def _programs(beacon: testkit.Beacon) -> str:
    return ", ".join(name for name, program in beacon.programs().items() if program.alive)
