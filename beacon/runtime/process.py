"""Runs a process: signals, death of the parent, threads, heartbeats, reports, the exit code.

A process ends in one of three ways: after a request to stop, with exit code 0; after a `BeaconError`, with one log line
and its exit code; after an unexpected exception, with a traceback and exit code 70. supervisord then decides whether to
restart it. No process continues after an unexpected exception, because its state may be invalid.
"""

import contextlib
import ctypes
import functools
import gc
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import beacon
from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.runtime import heartbeat, log, metrics, parent_death, run_directory, stop_flag, text_log

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_WIND_DOWN_S = 5.0  # how long the other threads may take to stop after one has failed
_PATIENCE_S = 1.0  # how long the store may take before the wait for it is logged
_TRIM_S = 10.0  # how often free memory is returned to the system
_MOST_FILES = 65_536  # enough for any configuration; libraries may look at every number below the limit


def run(name: str, main: Callable[["Context"], None]) -> NoReturn:
    """Run one process and exit; `main` returns when `context.stop` is set.

    `name` is the process' role, letters only; at most one process per role runs in a run directory.
    """
    log.configure(name, format=text_log.expected_format())
    context: Context | None = None
    try:
        parent_death.die_with_parent(os.environ)
        _raise_file_limit()
        stop = _stop_on_signals()
        context = _enter(name, stop)
        log.get().info("started", pid=os.getpid())
        gc.freeze()  # the objects that exist now are permanent: no collection needs to visit them again
        main(context)
    except Exception as error:  # noqa: BLE001  only here, and for the threads below
        code = _log_reason(error)
        if context is not None:
            context.report_exit_reason(error, code)
    else:
        code = errors.EXIT_OK
    if context is not None:
        code = context.failure or code
    log.get().info("ended", code=code)
    sys.exit(code)


class Context:
    """The process as seen by its own code; thread-safe."""

    def __init__(self, name: str, *, run_dir: Path, stop: stop_flag.StopFlag) -> None:
        """Represent the process `name`; `run_dir` is Beacon's private directory."""
        self.name = name
        self.run_dir = run_dir
        self.stop = stop
        self.failure = 0  # exit code of the first failed thread
        self._reporter = run_directory.Reporter(run_dir, name)
        self._threads: list[threading.Thread] = []

    def heartbeat(self, thread: str) -> heartbeat.Heartbeat:
        """Create the calling thread's heartbeat; without one for a minute the thread is considered hung."""
        directory = run_directory.heartbeats_directory(self.run_dir)
        return heartbeat.Heartbeat(directory, self.name, thread, report=functools.partial(_log_heartbeat, thread))

    def report(self, component: str, state: Mapping[str, object], *, part: str = "") -> None:
        """Publish a component's state, `{"state": ..., ...}` of JSON values; it is written only if it has changed.

        A component may consist of several parts, each with a state of its own.
        """
        self._reporter.report(component, state, part=part)

    def sleep(self, seconds: float) -> bool:
        """Wait until the time is over or the process is asked to stop; return True if it is."""
        return self.stop.wait(seconds)

    def spawn(self, thread_name: str, target: Callable[[], None]) -> threading.Thread:
        """Start a daemon thread.

        An uncaught exception in the thread terminates the process; a normal return does not.
        """
        thread = threading.Thread(target=self._guard, args=(target,), name=thread_name, daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()]
        self._threads.append(thread)
        thread.start()
        return thread

    def join(self) -> None:
        """Wait until every spawned thread has ended."""
        for thread in self._threads:
            thread.join()

    def fail(self, error: BaseException) -> None:
        """Terminate the process because of an uncaught exception in one of its threads."""
        if isinstance(error, errors.Stopping) and self.stop.is_set():
            return
        if not self.failure:
            self.failure = _log_reason(error)
            self.report_exit_reason(error, self.failure)
        self.stop.set()
        # Threads that wait for the failed one would never stop: exit without them after a while.
        last_resort = threading.Timer(_WIND_DOWN_S, os._exit, args=(self.failure,))
        last_resort.daemon = True
        last_resort.start()

    def report_exit_reason(self, error: BaseException, code: int) -> None:
        """Publish for the sentinel why the process ends; the next process of this role removes the report."""
        if code != errors.EXIT_OK:
            reason = str(error) if isinstance(error, errors.BeaconError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):  # the run directory may be the cause
                self.report(run_directory.EXIT_REASON, {"state": "ended", "code": code, "reason": log.masked(reason)})

    def _guard(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Exception as error:  # noqa: BLE001  see the module's docstring
            self.fail(error)


def check_files(needed: int, purpose: str) -> None:
    """Check at start that the process may have `needed` files open.

    Raises:
        errors.StartError: the limit is lower; the message names it.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < needed:
        message = (
            f"{purpose} need up to {needed} open files, but the limit is {limit}: raise it (RLIMIT_NOFILE; `ulimit -n`,"
            " or the container runtime's default), or configure fewer namespaces"
        )
        raise errors.StartError(message, exit_code=errors.EXIT_CONFIG)


def _raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: container runtimes often set 1024, but allow more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_heartbeat(thread: str, reason: str) -> None:
    if reason:
        log.get().warning("heartbeat failed", thread=thread, reason=reason)
    else:
        log.get().info("heartbeat works again", thread=thread)


def obtain_settings(context: Context, client: bus.Client) -> Mapping[str, object]:
    """Request the configuration from the store, wait for it as long as necessary, and configure the log.

    Return the plain values, for `settings.from_plain`.

    Raises:
        errors.Stopping: the process was asked to stop.
    """
    hello = wire.Hello(process=context.name)
    try:
        reply = client.try_call(hello, timeout_s=_PATIENCE_S)
    except errors.TransientError:
        log.get().info("waiting for the store")
        reply = client.call(hello)
    log_as(context.name, settings.from_plain(reply.settings).app)
    return reply.settings


def log_as(name: str, app: settings.AppSettings) -> None:
    """Apply the log level, the log format and the name of the configuration."""
    log.configure(name, level=app.log_level, format=app.log_format, app=app.name)
    log.get().info("configured", version=app.version or beacon.VERSION, pid=os.getpid())


def _enter(name: str, stop: stop_flag.StopFlag) -> Context:
    """Prepare the run directory and return the process' context.

    Raises:
        errors.StartError: the run directory can't be used.
    """
    try:
        return _entered(name, stop)
    except OSError as error:
        message = f"{run_directory.VARIABLE}={os.environ[run_directory.VARIABLE]} can't be used: {error.strerror}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error


def _entered(name: str, stop: stop_flag.StopFlag) -> Context:
    run_dir = run_directory.prepare(os.environ)
    supervisor = run_directory.supervisor_of(os.environ, os.getppid())
    if name == "store":
        run_directory.boot(run_dir, supervisor)
    else:
        run_directory.await_boot(run_dir, supervisor, stop)
    run_directory.forget(run_dir, name)
    metrics.start(name, run_directory.metrics_directory(run_dir))
    log.on_drop(metrics.LOG_LINES_DROPPED.labels(process=name).inc)
    context = Context(name, run_dir=run_dir, stop=stop)
    threading.excepthook = lambda left: context.fail(left.exc_value or SystemExit())
    return context


def _stop_on_signals() -> stop_flag.StopFlag:
    """Return a flag that SIGTERM and SIGINT set.

    A thread waits for the signals instead of a handler: a handler interrupts the main thread, and setting the flag
    while that thread holds the flag's lock would deadlock.
    """
    stop = stop_flag.StopFlag()
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # inherited by all later threads

    def wait_for_signals() -> None:
        # Not sigtimedwait: CPython's returns as if a signal had come when the process was frozen beyond the timeout.
        while True:
            signal.sigwait(_STOP_SIGNALS)
            stop.set()

    def trim() -> None:
        while not stop.wait(_TRIM_S):
            _trim_memory()

    threading.Thread(target=wait_for_signals, name="signals", daemon=True).start()
    threading.Thread(target=trim, name="trim", daemon=True).start()
    return stop


def _trim_memory() -> None:
    """Return free memory within the heap to the system; glibc itself returns only memory at the heap's end.

    A burst leaves such free areas. Other C libraries have no `malloc_trim`, and manage their heap differently.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _log_reason(error: BaseException) -> int:
    """Log why the process ends, and return its exit code."""
    if isinstance(error, errors.Stopping):
        return errors.EXIT_OK
    if isinstance(error, errors.ConfigError):
        foreign = isinstance(error.__cause__, errors.ForeignClusterError)
        for problem in error.problems:
            log.get().error("wrong cluster" if foreign else "configuration refused", problem=problem)
        return errors.EXIT_CONFIG
    if isinstance(error, errors.BeaconError):
        code = error.exit_code if isinstance(error, errors.StartError) else _code_of(error)
        log.get().error("failed", reason=str(error), code=code)
        return code
    text = "".join(traceback.format_exception(error))
    log.get().error("failed unexpectedly", error=type(error).__name__, traceback=text)
    return errors.EXIT_SOFTWARE


def _code_of(error: errors.BeaconError) -> int:
    return errors.EXIT_TEMPORARY if isinstance(error, errors.TransientError) else errors.EXIT_FAILURE
