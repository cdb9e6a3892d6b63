"""The result of a request that carries a position."""

from enum import StrEnum


class ApplyResult(StrEnum):
    """Whether the store applied a request that carries a position."""

    APPLIED = "applied"  # applied and committed, now or before
    OUT_OF_POSITION = "out-of-position"  # not applied: reopen the stream and continue from its cursor
    RECONFIGURED = "reconfigured"  # not applied: the sender has another configuration than the store
