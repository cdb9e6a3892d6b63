"""The requests of a delivery: the last one stands in the delivery's row, the earlier ones in the table `attempts`."""

from beacon.store.ledger import database


def keep_last_attempt(ledger: database.Database, delivery: int) -> None:
    """Copy the last request of a delivery into a row of its own, before the delivery's columns are used for another."""
    ledger.run(
        "INSERT INTO attempts (delivery, generation, attempt, started_us, duration_us, code, status, error, counted,"
        " request_id) SELECT id, generation, requests, started_us, duration_us, code, status, error, counted,"
        " request_id FROM deliveries WHERE id = ? AND started_us IS NOT NULL ON CONFLICT DO NOTHING",
        (delivery,),
    )
