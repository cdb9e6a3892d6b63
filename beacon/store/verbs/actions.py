"""The record of operators' actions on deliveries: who, when, and why; the latest few of each delivery.

The names are what the command stated, so they are shortened here and escaped wherever they are shown.
"""

from dataclasses import dataclass

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import database

_KEPT = 10  # actions of one delivery
_LONGEST_ACTOR = 200
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionsApplied:
    """A request of an operator was applied: for the log, after the commit.

    One command sends many requests; `left` is the number of its deliveries that are still to come.
    """

    action: model.OperatorAction
    operation: str
    actor: str
    reason: str
    done: int
    refused: int
    left: int


class Actions:
    """Writes and reads the record; within the service's transaction."""

    def __init__(self, ledger: database.Database) -> None:
        """Work on the given ledger."""
        self._ledger = ledger

    def record(
        self, delivery: int, generation: int, action: model.OperatorAction, *, actor: str, reason: str, now_us: int
    ) -> None:
        """Add an action, and drop the delivery's oldest ones."""
        self._ledger.run(
            "INSERT INTO actions (delivery, generation, at_us, action, actor, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (delivery, generation, now_us, action, shortened_actor(actor), shortened_reason(reason)),
        )
        self._ledger.run(
            "DELETE FROM actions WHERE delivery = ?1 AND id <="
            " (SELECT id FROM actions WHERE delivery = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (delivery, _KEPT),
        )

    def of(self, delivery: int) -> tuple[wire.RecordedAction, ...]:
        """Return the actions on a delivery, in ascending order."""
        rows = self._ledger.rows(
            "SELECT generation, at_us, action, actor, reason FROM actions WHERE delivery = ? ORDER BY id", (delivery,)
        )
        return tuple(
            wire.RecordedAction(
                generation=row[0], at_us=row[1], action=model.OperatorAction(row[2]), actor=row[3], reason=row[4]
            )
            for row in rows
        )


def shortened_actor(text: str) -> str:
    """Return the name of an actor, shortened."""
    return text[:_LONGEST_ACTOR]


def shortened_reason(text: str) -> str:
    """Return the reason of an action, shortened."""
    return text[:_LONGEST_REASON]
