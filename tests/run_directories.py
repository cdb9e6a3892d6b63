"""Run directories as processes find them."""

from pathlib import Path

from beacon.runtime import run_directory


def made(base: Path) -> Path:
    """Make Beacon's private directory in `base`, as a store does that was started by hand."""
    run_dir = run_directory.prepare({run_directory.VARIABLE: str(base)})
    run_directory.boot(run_dir, "")
    return run_dir
