"""The ledger's identity: its id, its epoch, and the cluster that it is bound to.

Runs within a transaction of the service.
"""

import uuid
from dataclasses import dataclass

from beacon import errors
from beacon.store.ledger import database, packing, session_state


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerIdentity:
    """The ledger's row of `meta`."""

    ledger: str
    epoch: int
    cluster: str


_IDENTITY: session_state.StateKey[LedgerIdentity] = session_state.StateKey("identity")


class Identity:
    """Reads and changes the ledger's row of `meta`."""

    def __init__(self, ledger: database.Database, state: session_state.SessionState) -> None:
        """Work on the given ledger."""
        self._ledger = ledger
        self._state = state
        self.refused = ""  # the cluster that was refused last

    def begin(self, now_us: int) -> bool:
        """Assign an id to a new ledger, and another one to a copy. Return True if the ledger was a copy.

        The original of a copy has used the numbers that follow, so the copy skips them.
        """
        self._ledger.run(
            "INSERT INTO meta (one, ledger, created_us) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
            (str(uuid.uuid4()), now_us),
        )
        if not self._ledger.run("UPDATE meta SET ledger = ?, copied = 0 WHERE copied = 1", (str(uuid.uuid4()),)):
            return False
        self._ledger.run(
            "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'events'",
            (packing.SKIPPED_NUMBERS,),
        )
        return True

    def get(self) -> LedgerIdentity:
        """Return the ledger's id, epoch and cluster."""
        identity = self._state.get(_IDENTITY)
        if identity is None:
            identity = self._read()
            self._state.put(_IDENTITY, identity)
        return identity

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        self._ledger.run("UPDATE meta SET epoch = ?", (epoch,))
        self._state.remove(_IDENTITY)

    def set_cluster(self, cluster: str) -> None:
        """Bind the ledger to a cluster."""
        self._ledger.run("UPDATE meta SET cluster = ?", (cluster,))
        self._state.remove(_IDENTITY)

    def bound_to(self, cluster: str) -> LedgerIdentity:
        """Bind the ledger to a cluster when its UID is first known, and return the identity.

        Raises:
            errors.ForeignClusterError: the ledger is bound to another cluster.
        """
        identity = self.get()
        if not cluster or cluster == identity.cluster:
            return identity
        if identity.cluster:
            self.refused = cluster
            message = (
                f"the ledger belongs to cluster {identity.cluster}, the API server to cluster {cluster}:"
                " `beacon adopt` binds the ledger to that one"
            )
            raise errors.ForeignClusterError(message)
        self.set_cluster(cluster)
        return self.get()

    def _read(self) -> LedgerIdentity:
        row = self._ledger.row("SELECT ledger, epoch, cluster FROM meta")
        if row is None:
            raise database.DamagedError("the ledger has no identity")
        return LedgerIdentity(ledger=row[0], epoch=row[1], cluster=row[2])
