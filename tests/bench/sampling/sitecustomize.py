"""A sampling profiler for processor time. It runs in processes whose PYTHONPATH contains this directory.

Python imports a module of this name at startup; nothing in beacon/ refers to it. A thread reads the processor time of
every other thread hundreds of times a second, twice within a short interval, and attributes the difference to the
function that the thread executes. The interval must be short compared with the time between two waits, else all time
would be attributed to waiting; therefore the interpreter's switch interval is reduced. Sampling is active while the
file `go` exists in the directory BENCH_PROFILE; the result is written when it is removed. All threads that run no
Python, such as ZeroMQ's, are one entry.
"""

import collections
import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

_EVERY_S = 0.002
_INSTANT_S = 0.00002
_SWITCH_S = 0.000005
_TIMER_SLACK = 29  # PR_SET_TIMERSLACK, see prctl(2): sleeping 20 us takes 70 otherwise
_PER_THREAD = 6  # CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED, as in the kernel's posix-timers.h
_NATIVE = "- threads that run no Python"


def _watch(directory: Path) -> None:
    ctypes.CDLL(None).prctl(_TIMER_SLACK, 1, 0, 0, 0)
    while True:
        if not (directory / "go").exists():
            time.sleep(0.05)
            continue
        spent: collections.Counter[str] = collections.Counter()
        usual_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        while (directory / "go").exists():
            _look(spent)
            time.sleep(_EVERY_S)
        sys.setswitchinterval(usual_s)
        _write(directory, spent)


def _look(spent: "collections.Counter[str]") -> None:
    numbers = [int(name) for name in os.listdir("/proc/self/task")]  # noqa: PTH208  it is done very often
    before = {number: _cpu_s(number) for number in numbers}
    time.sleep(_INSTANT_S)
    after = {number: _cpu_s(number) for number in numbers}
    frames = sys._current_frames()
    inside = {thread.native_id: frames.get(thread.ident or 0) for thread in threading.enumerate()}
    for number in numbers:
        if after[number] > before[number] and number != threading.get_native_id():
            spent[_named(inside.get(number))] += after[number] - before[number]  # type: ignore[assignment]


def _cpu_s(thread: int) -> float:
    try:
        return time.clock_gettime((~thread << 3) | _PER_THREAD)
    except OSError:
        return 0.0  # it has ended


def _named(frame: FrameType | None) -> str:
    if frame is None:
        return _NATIVE
    code = frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-3:])}:{frame.f_lineno} {code.co_qualname}"


def _write(directory: Path, spent: "collections.Counter[str]") -> None:
    words = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    name = next((word.rpartition(".")[2] for word in words if word.startswith("beacon.")), "supervisord")
    part = directory / f".{name}.{os.getpid()}"
    part.write_text(json.dumps({"process": name, "spent": dict(spent.most_common(200))}))
    part.rename(directory / f"{name}.{os.getpid()}.json")


if os.environ.get("BENCH_PROFILE"):
    threading.Thread(target=_watch, args=(Path(os.environ["BENCH_PROFILE"]),), name="sampler", daemon=True).start()
