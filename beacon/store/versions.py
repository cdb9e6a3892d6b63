"""`python -m beacon.store.versions`: prints the versions of the SQLite library and of the ledger's schema as JSON.

`beacon version` runs it as a subprocess, because only the store's code may load SQLite.
"""

import sys

from beacon import codec
from beacon.store.ledger import database, migrating


def main() -> None:
    """Print the versions."""
    versions = {"sqlite": database.sqlite_version(), "schema": migrating.schema_version()}
    sys.stdout.buffer.write(codec.encode(versions) + b"\n")


if __name__ == "__main__":
    main()
