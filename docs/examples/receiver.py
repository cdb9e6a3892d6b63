#!/usr/bin/env python3
"""A receiver of Beacon's events that loses no event, counts none twice, and detects missing ones.

It uses the standard library only and is meant as a template. Its state is one SQLite file:

    receiver.py serve  --database received.db --port 8088 [--token-file token]
    receiver.py list   --database received.db       print the existing objects, one per line
    receiver.py check  --database received.db       print missing events; exits with 1 if there are any

It answers 204 only after the event is on disk, because Beacon does not repeat an event that was answered with 2xx.
"""

import argparse
import contextlib
import hmac
import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, ledger TEXT, sequence INTEGER, object TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS objects (object TEXT PRIMARY KEY, ledger TEXT, sequence INTEGER, alive INTEGER, value TEXT);
CREATE TABLE IF NOT EXISTS missing (ledger TEXT, sequence INTEGER, object TEXT, PRIMARY KEY (ledger, sequence));
"""
LARGEST = 1024 * 1024


def connect(path: str) -> sqlite3.Connection:
    """Open the database, and create it if it does not exist."""
    database = sqlite3.connect(path, timeout=30, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.executescript(SCHEMA)
    return database


def receive(database: sqlite3.Connection, event: dict[str, Any]) -> str:
    """Process one event in a transaction. Return the outcome: applied, repeated, late, or test."""
    if event.get("test"):
        return "test"  # of `beacon test-event`: it concerns no object, and must not be kept as one
    database.execute("BEGIN IMMEDIATE")
    try:
        outcome = record(database, event)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise
    return outcome


def record(database: sqlite3.Connection, event: dict[str, Any]) -> str:
    """Record one event and update its object, within the caller's transaction."""
    ledger, key, sequence, previous = (event[name] for name in ("ledgerid", "partitionkey", "sequence", "previous"))
    sequence, previous = int(sequence), int(previous)

    # Deduplicate: the id of a change never differs.
    row = (event["id"], ledger, sequence, key, json.dumps(event))
    new = database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", row).rowcount
    database.execute("DELETE FROM missing WHERE ledger = ? AND sequence = ?", (ledger, sequence))
    if not new:
        return "repeated"

    # Order: numbers can be compared only within one ledger.
    found = database.execute("SELECT ledger, sequence FROM objects WHERE object = ?", (key,)).fetchone()
    last_ledger, last = found or (ledger, 0)
    if ledger == last_ledger and sequence < last:
        return "late"  # redelivered by an operator after a newer event: stored, but not applied

    # Loss: `previous` is the sequence of the object's previous event, 0 if none is known.
    arrived = database.execute("SELECT 1 FROM events WHERE ledger = ? AND sequence = ?", (ledger, previous)).fetchone()
    if previous and ledger == last_ledger and not arrived:
        database.execute("INSERT OR IGNORE INTO missing VALUES (?, ?, ?)", (ledger, previous, key))

    # Apply.
    alive = not event["type"].endswith(".deleted")
    value = event["data"]["resource"]["annotationValue"]
    database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", (key, ledger, sequence, alive, value))
    return "applied"


class Handler(BaseHTTPRequestHandler):
    """Answers 2xx if the event is on disk, 4xx if it is never acceptable, 5xx if a retry may succeed."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    database = ""
    token = ""

    def do_POST(self) -> None:
        """Receive one event."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST:
            self.close_connection = True
            self._answer(413 if length.isdigit() else 411)
            return
        body = self.rfile.read(int(length))
        authorization = self.headers.get("Authorization", "")
        if self.token and not hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode()):
            self._answer(401)
        else:
            self._answer(self._process(body))

    def _process(self, body: bytes) -> int:
        try:
            event = json.loads(body)
            with contextlib.closing(connect(self.database)) as database:
                outcome = receive(database, event)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"rejected: {error!r}", file=sys.stderr, flush=True)
            return 400
        except sqlite3.Error as error:
            print(f"not stored, retry later: {error}", file=sys.stderr, flush=True)
            return 503
        print(f"{outcome:8} {event['type'].rpartition('.')[2]:8} {event['partitionkey']} {event['id']}", flush=True)
        return 204

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Do nothing: each event already has a line of output."""


def serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    connect(options.database).close()
    Handler.database = options.database
    Handler.token = Path(options.token_file).read_text(encoding="utf-8").strip() if options.token_file else ""
    server = ThreadingHTTPServer((options.host, options.port), Handler)
    print(f"listening at http://{options.host}:{server.server_address[1]}/", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the existing objects."""
    with contextlib.closing(connect(options.database)) as database:
        for key, value in database.execute("SELECT object, value FROM objects WHERE alive ORDER BY object"):
            print(key, value)
    return 0


def check(options: argparse.Namespace) -> int:
    """Print the missing events. Return 1 if there are any."""
    with contextlib.closing(connect(options.database)) as database:
        missing = database.execute("SELECT sequence, object FROM missing ORDER BY sequence").fetchall()
    for sequence, key in missing:
        print(f"missing: event {sequence} of {key}")
    if not missing:
        print("no event is missing")
    return 1 if missing else 0


def main() -> None:
    """Run the command given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("serve", serve), ("list", show), ("check", check)):
        command = commands.add_parser(name)
        command.add_argument("--database", required=True)
        command.set_defaults(function=function)
    commands.choices["serve"].add_argument("--host", default="127.0.0.1")
    commands.choices["serve"].add_argument("--port", type=int, default=8088)
    commands.choices["serve"].add_argument("--token-file", default="")
    options = parser.parse_args()
    sys.exit(options.function(options))


if __name__ == "__main__":
    main()
