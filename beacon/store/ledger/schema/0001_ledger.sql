-- The ledger as docs/architecture.md describes it. Times are integer microseconds UTC. Append-only: change nothing here,
-- add a numbered file.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ledger TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    cluster TEXT NOT NULL DEFAULT '',
    created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE objects (
    uid TEXT PRIMARY KEY,
    api_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('tracked', 'released', 'gone', 'unmanaged')),
    epoch INTEGER NOT NULL,
    resource_version INTEGER NOT NULL,
    judged_by TEXT NOT NULL,
    accepted_by TEXT NOT NULL,
    value TEXT NOT NULL,
    labels TEXT NOT NULL,
    annotations TEXT NOT NULL,
    changed_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX objects_present ON objects (api_group, kind, namespace, name) WHERE state <> 'gone';

-- subject is the order key "group/Kind/namespace/name"; a sequence is never used twice.
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL,
    uid TEXT NOT NULL,
    api_version TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    previous INTEGER NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('created', 'updated', 'deleted')),
    cause TEXT NOT NULL,
    source TEXT NOT NULL,
    detected_us INTEGER NOT NULL,
    committed_us INTEGER NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE INDEX events_of_subject ON events (subject, sequence);

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence INTEGER NOT NULL REFERENCES events (sequence),
    endpoint TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'ready', 'delivered', 'failed', 'discarded')),
    generation INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    next_attempt_us INTEGER NOT NULL DEFAULT 0,
    last_tried_us INTEGER NOT NULL DEFAULT 0,
    forgiven INTEGER NOT NULL DEFAULT 0,
    last_code TEXT NOT NULL DEFAULT '',
    last_status INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    settled_us INTEGER NOT NULL DEFAULT 0,
    UNIQUE (sequence, endpoint)
) STRICT;

CREATE INDEX deliveries_open ON deliveries (endpoint, subject, sequence) WHERE state IN ('queued', 'ready');
CREATE INDEX deliveries_ready ON deliveries (endpoint, requests > 0, sequence) WHERE state = 'ready';
CREATE INDEX deliveries_due ON deliveries (endpoint, next_attempt_us) WHERE state = 'ready' AND requests > 0;
CREATE INDEX deliveries_tried ON deliveries (endpoint, last_tried_us) WHERE state = 'ready' AND requests > 0;

CREATE TABLE attempts (
    delivery INTEGER NOT NULL REFERENCES deliveries (id),
    generation INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    code TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    counted INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (delivery, generation, attempt)
) STRICT, WITHOUT ROWID;

-- resource_version 0: no position, the scope must be listed, for `reason`. highest is the highest resourceVersion that
-- any process has read of the scope in this epoch; positioned_us is when the position was last confirmed.
CREATE TABLE cursors (
    api_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    label TEXT NOT NULL DEFAULT '',
    resource_version INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    fingerprint TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    highest INTEGER NOT NULL DEFAULT 0,
    positioned_us INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (api_group, kind, namespace)
) STRICT, WITHOUT ROWID;

-- to_us NULL: the interval is still open.
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    api_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    reason TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    from_us INTEGER,
    to_us INTEGER,
    from_version INTEGER NOT NULL,
    to_version INTEGER NOT NULL DEFAULT 0,
    differences INTEGER NOT NULL DEFAULT 0,
    certainty TEXT NOT NULL DEFAULT 'open' CHECK (certainty IN ('open', 'differences', 'nothing-found', 'unknown'))
) STRICT;

CREATE INDEX gaps_open ON gaps (api_group, kind, namespace) WHERE to_us IS NULL;

-- Counts that triggers maintain, so that no query scans a table.
CREATE TABLE counts (
    what TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (what, name, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER objects_counted_in AFTER INSERT ON objects BEGIN
    INSERT INTO counts VALUES ('objects', new.kind, new.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER objects_counted_over AFTER UPDATE OF state ON objects WHEN old.state <> new.state BEGIN
    UPDATE counts SET number = number - 1 WHERE what = 'objects' AND name = old.kind AND state = old.state;
    INSERT INTO counts VALUES ('objects', new.kind, new.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER objects_counted_out AFTER DELETE ON objects BEGIN
    UPDATE counts SET number = number - 1 WHERE what = 'objects' AND name = old.kind AND state = old.state;
END;
CREATE TRIGGER deliveries_counted_in AFTER INSERT ON deliveries BEGIN
    INSERT INTO counts VALUES ('deliveries', new.endpoint, new.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER deliveries_counted_over AFTER UPDATE OF state ON deliveries WHEN old.state <> new.state BEGIN
    UPDATE counts SET number = number - 1 WHERE what = 'deliveries' AND name = old.endpoint AND state = old.state;
    INSERT INTO counts VALUES ('deliveries', new.endpoint, new.state, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER deliveries_counted_out AFTER DELETE ON deliveries BEGIN
    UPDATE counts SET number = number - 1 WHERE what = 'deliveries' AND name = old.endpoint AND state = old.state;
END;
