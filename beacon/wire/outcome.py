"""Whether what a position belongs to was applied."""

from enum import StrEnum


class ApplyResult(StrEnum):
    """What the store says to a request that bears a position."""

    APPLIED = "applied"  # done, and on disk; or it had been before
    OUT_OF_POSITION = "out-of-position"  # not applied: open the stream anew and go on from its cursor
    RECONFIGURED = "reconfigured"  # not applied: built under another configuration than the store's
