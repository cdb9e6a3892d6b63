"""`python -m beacon.store.verification FILE [FD]`: checks whether a ledger that no store serves keeps its invariants.

`beacon verify` and `beacon backup` run it as a subprocess, because only the store's code may open a ledger. It prints
a line for each violation and changes nothing. To the descriptor FD it writes its progress, in thousandths, one a line.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from beacon import errors
from beacon.boundary import visible
from beacon.store import database

_MOST = 20  # lines of one kind
_PASSES = 6  # an integrity check reads the pages once, then the rows, with random reads of the indexes: measured
_PAGES_SHARE = 0.6  # of the time, about, is spent on the integrity check
_TOLERANCE_US = 5000  # between the clock of an instant and that of a duration


def findings(path: Path, report: Callable[[float], None] = lambda _share: None) -> Iterator[str]:
    """Yield the violations in a ledger, one sentence each; `report` is called with the share that is done.

    Raises:
        errors.StartError: the file can't be opened, or is in use.
    """
    ledger = database.Database.to_read(path)
    try:
        with ledger.reads_reported(lambda share: report(_PAGES_SHARE * share), passes=_PASSES):
            damage = [str(row[0]) for row in ledger.rows(f"PRAGMA integrity_check({_MOST})")]
        if damage != ["ok"]:
            yield from (f"damaged: {line}" for line in damage)
        elif not ledger.row("SELECT 1 FROM sqlite_schema WHERE name = 'deliveries'"):
            yield "it is not a ledger of Beacon"
        else:
            yield from _inconsistencies(ledger, report)
        report(1.0)
    except database.BusyError as error:
        message = f"{path} is being served: omit FILE to check a copy of it"
        raise errors.StartError(message, exit_code=errors.EXIT_TEMPORARY) from error
    except (database.DamagedError, database.RequestError) as error:
        yield f"damaged: {error}"
    finally:
        ledger.close()


def _inconsistencies(ledger: database.Database, report: Callable[[float], None]) -> Iterator[str]:
    for number, (sentence, sql) in enumerate(_RULES):
        report(_PAGES_SHARE + (1 - _PAGES_SHARE) * number / (len(_RULES) + 1))
        for row in ledger.rows(f"{sql} LIMIT {_MOST}"):
            yield sentence.format(*row)
    report(1 - (1 - _PAGES_SHARE) / (len(_RULES) + 1))
    # A clock that was set back makes instants incomparable; the ledger records that in `jumps`.
    set_back = ledger.row("SELECT 1 FROM sqlite_schema WHERE name = 'jumps'") and ledger.row("SELECT 1 FROM jumps")
    if not set_back:
        for row in ledger.rows(f"{_TOO_EARLY} LIMIT {_MOST}", (_TOLERANCE_US,)):
            yield "delivery {} of {} was sent while the earlier delivery {} was in flight".format(*row)


# Events between two events of an object may have been pruned; then `previous` refers to a missing one.
_CHAIN = """
SELECT sequence, subject, previous, before FROM (
    SELECT sequence, subject, previous, lag(sequence, 1, 0) OVER (PARTITION BY subject ORDER BY sequence) AS before
    FROM events
) WHERE previous >= sequence OR previous < before
OR (previous > before AND previous IN (SELECT sequence FROM events))"""
_RULES = (
    ("event {} of {}: previous is {} where {} comes before it", _CHAIN),
    (
        "delivery {} has no event {}",
        "SELECT id, sequence FROM deliveries WHERE sequence NOT IN (SELECT sequence FROM events)",
    ),
    (
        "delivery {} of {} was sent while the earlier delivery {} is open",
        (
            "SELECT d.id, d.subject, e.id FROM deliveries d JOIN deliveries e ON e.endpoint = d.endpoint"
            " AND e.subject = d.subject AND e.sequence < d.sequence AND e.state IN ('queued', 'ready')"
            " WHERE d.generation = 0 AND e.generation = 0 AND (d.requests > 0 OR d.state = 'ready')"
        ),
    ),
    (
        "deliveries {} and {} of {} may be sent at the same time",
        (
            "SELECT d.id, e.id, d.subject FROM deliveries d JOIN deliveries e ON e.endpoint = d.endpoint"
            " AND e.subject = d.subject AND e.sequence < d.sequence WHERE d.state = 'ready' AND e.state = 'ready'"
        ),
    ),
    (
        "delivery {} of {} is queued, but no delivery of its object is ready",
        (
            "SELECT d.id, d.subject FROM deliveries d WHERE d.state = 'queued'"
            " AND NOT EXISTS (SELECT 1 FROM deliveries r"
            " WHERE r.endpoint = d.endpoint AND r.subject = d.subject AND r.state = 'ready')"
        ),
    ),
    (
        "scope {} {} {}: the cursor {} is ahead of {}, the highest that was read",
        "SELECT api_group, kind, namespace, resource_version, highest FROM cursors WHERE resource_version > highest",
    ),
    (
        "scope {} {} {}: the cursor {} is behind object {} at {}",
        (
            "SELECT c.api_group, c.kind, c.namespace, c.resource_version, o.name, o.resource_version FROM cursors c"
            " JOIN objects o ON o.api_group = c.api_group AND o.kind = c.kind"
            " AND (c.namespace = '' OR c.namespace = o.namespace) AND o.epoch = c.epoch"
            " WHERE c.resource_version > 0 AND o.resource_version > c.resource_version"
        ),
    ),
    (
        "scope {} {} {}: the cursor is of epoch {}, the ledger of epoch {}",
        (
            "SELECT api_group, kind, namespace, cursors.epoch, meta.epoch FROM cursors, meta"
            " WHERE cursors.epoch > meta.epoch"
        ),
    ),
)
_TOO_EARLY = """
SELECT d.id, d.subject, e.id FROM attempts later JOIN deliveries d ON d.id = later.delivery
JOIN deliveries e ON e.endpoint = d.endpoint AND e.subject = d.subject AND e.sequence < d.sequence
JOIN attempts earlier ON earlier.delivery = e.id AND earlier.generation = 0
WHERE later.generation = 0 AND later.attempt = 1 AND later.started_us > 0 AND earlier.started_us > 0
AND earlier.started_us + earlier.duration_us > later.started_us + ?"""


def main(path: Path, progress: int | None = None) -> int:
    """Print the violations, report the progress to a descriptor if there is one, and return the exit code."""
    try:
        found = list(findings(path, _writer(progress)))
    except errors.StartError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.writelines(f"{visible.escaped(line)}\n" for line in found)
    return errors.EXIT_FAILURE if found else errors.EXIT_OK


def _writer(progress: int | None) -> Callable[[float], None]:
    """Return a function that writes each thousandth once; a reader that is gone is no reason to stop the check."""
    written = -1

    def write(share: float) -> None:
        nonlocal written, progress
        thousandths = round(1000 * share)
        if progress is None or thousandths <= written:
            return
        written = thousandths
        try:
            os.write(progress, f"{thousandths}\n".encode())
        except OSError:
            progress = None

    return write


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
