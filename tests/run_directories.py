"""Run directories as processes find them."""

from pathlib import Path

from beacon import rundir


def made(base: Path) -> Path:
    """Make Beacon's private directory in `base`, as a store does that was started by hand."""
    run_dir = rundir.prepare({rundir.VARIABLE: str(base)})
    rundir.boot(run_dir, "")
    return run_dir
