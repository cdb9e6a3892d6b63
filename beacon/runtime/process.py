"""What every process needs around its main: signals, death of the parent, threads, heartbeats, reports, the exit code.

A process ends in one of three ways: it was asked to stop and says nothing of it; an error of ours ends it with one line
and the exit code that goes with it; an unexpected error ends it with a traceback and code 70. supervisord decides what
comes next. No process handles an unexpected error itself: whatever state it has is void.
"""

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import beacon
from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.runtime import heartbeat, log, metrics, parent_death, run_directory

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_WIND_DOWN_S = 5.0  # how long the others may take to stop after a thread has failed
_PATIENCE_S = 1.0  # how long the store may take before a line says that it is waited for
_TRIM_S = 10.0  # how often memory is given back


def run(name: str, main: Callable[["Context"], None]) -> NoReturn:
    """Run one process to its end; `main` returns when `context.stop` is set.

    `name` is the process' role: of letters only, one living process per role and run directory.
    """
    log.configure(name)
    context: Context | None = None
    try:
        parent_death.die_with_parent(os.environ)
        stop = _stop_on_signals()
        context = _enter(name, stop)
        log.get().info("started", pid=os.getpid())
        gc.freeze()  # what is there now stays: no collection need look at it again
        main(context)
    except Exception as error:  # noqa: BLE001  the one place, but for the threads below
        code = _say(error)
        if context is not None:
            context.leave_word(error, code)
    else:
        code = errors.EXIT_OK
    if context is not None:
        code = context.failure or code
    log.get().info("ended", code=code)
    sys.exit(code)


class Context:
    """A process as its own code sees it; for all its threads."""

    def __init__(self, name: str, *, run_dir: Path, stop: threading.Event) -> None:
        """Stand for the process `name`; `run_dir` is Beacon's private directory."""
        self.name = name
        self.run_dir = run_dir
        self.stop = stop
        self.failure = 0  # exit code that a failed thread asks for
        self._reporter = run_directory.Reporter(run_dir, name)
        self._threads: list[threading.Thread] = []

    def heart(self, thread: str) -> heartbeat.Heart:
        """Make the calling thread's heartbeat; a thread that does not beat for a minute counts as hung."""
        return heartbeat.Heart(run_directory.hearts_directory(self.run_dir), self.name, thread)

    def report(self, component: str, state: Mapping[str, Any]) -> None:
        """Publish a component's state, `{"state": ..., ...}` in plain values; written only when it changed."""
        self._reporter.report(component, state)

    def sleep(self, seconds: float) -> bool:
        """Wait, but no longer than until the process is to stop; True when it is."""
        return self.stop.wait(seconds)

    def spawn(self, thread_name: str, target: Callable[[], None]) -> threading.Thread:
        """Start a daemon thread. An error that leaves it ends the whole process; so does no other end of it."""
        thread = threading.Thread(target=self._guard, args=(target,), name=thread_name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def join(self) -> None:
        """Wait until every spawned thread has ended."""
        for thread in self._threads:
            thread.join()

    def fail(self, error: BaseException) -> None:
        """End the process because of an error that left one of its threads."""
        if isinstance(error, errors.Stopping) and self.stop.is_set():
            return
        if not self.failure:
            self.failure = _say(error)
            self.leave_word(error, self.failure)
        self.stop.set()
        # Whoever waits for what the failed thread held would wait for ever.
        last_resort = threading.Timer(_WIND_DOWN_S, os._exit, args=(self.failure,))
        last_resort.daemon = True
        last_resort.start()

    def leave_word(self, error: BaseException, code: int) -> None:
        """Leave for the sentinel why the process ends; its next life takes that away."""
        if code != errors.EXIT_OK:
            reason = str(error) if isinstance(error, errors.BeaconError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):  # the run directory may be what is broken
                self.report(run_directory.LAST_WORD, {"state": "ended", "code": code, "reason": log.masked(reason)})

    def _guard(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Exception as error:  # noqa: BLE001  see the module's text
            self.fail(error)


def obtain_settings(context: Context, client: bus.Client) -> Mapping[str, Any]:
    """Ask the store for the configuration with which it started, as long as it takes, and log as it says.

    Gives the plain values, for `settings.from_plain`.

    Raises:
        errors.Stopping: the process is to stop.
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
    """Log as the configuration says from now on."""
    log.configure(name, level=app.log_level, format=app.log_format, app=app.name)
    log.get().info("configured", version=app.version or beacon.VERSION, pid=os.getpid())


def _enter(name: str, stop: threading.Event) -> Context:
    """Take possession of the run directory.

    Raises:
        errors.StartError: that is not possible.
    """
    try:
        return _entered(name, stop)
    except OSError as error:
        message = f"{run_directory.VARIABLE}={os.environ[run_directory.VARIABLE]} can't be used: {error.strerror}"
        raise errors.StartError(message, exit_code=errors.EXIT_CANNOT_CREATE) from error


def _entered(name: str, stop: threading.Event) -> Context:
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


def _stop_on_signals() -> threading.Event:
    """Give an event that SIGTERM and SIGINT set, however often they come.

    A thread waits for them instead of a handler: a handler runs in between two steps of the main thread, and an event
    that is set while the same thread holds its lock never returns. Between signals it gives memory back.
    """
    stop = threading.Event()
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # inherited by every thread to come

    def wait_for_signals() -> None:
        while True:
            if signal.sigtimedwait(_STOP_SIGNALS, _TRIM_S) is None:
                _give_memory_back()
            else:
                stop.set()

    threading.Thread(target=wait_for_signals, name="signals", daemon=True).start()
    return stop


def _give_memory_back() -> None:
    """Give what lies free within the heap back to the system, which of itself happens only at the heap's end.

    A burst leaves such holes. Another C library than glibc keeps its heap in other ways.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _say(error: BaseException) -> int:
    """Log why the process ends and give its exit code."""
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
