-- Shorter rows for the same facts, and several endpoints. Identifiers that are UUIDs are stored as 16 bytes, an object's
-- order key once, the last request in the row of its delivery. Counts and digests are written once per transaction by
-- the store; there are no triggers and no foreign keys. The functions used here are those of `packing`.

-- An endpoint by its name. first_sequence: the last sequence when the name appeared. removed_us: 0 while it is configured.
-- parking: the number of parkings, resumptions and changed secrets; parked_us and paused_us are 0 while it is neither,
-- paused_by and paused_reason are those of the operator who paused it.
-- proper_sent_us, proper_us: when the request of the latest proper answer was sent, and when an answer last came; kept
-- while refusals since then are known. restoring: what was refused is restored as soon as a notifier names its requests.
-- url_digest and selection are empty until a start has recorded them; selection: a digest, and the types; updates: whether
-- `updated` events were emitted then.
CREATE TABLE endpoints (
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 4095),
    name TEXT NOT NULL UNIQUE,
    url_digest BLOB NOT NULL DEFAULT x'',
    first_sequence INTEGER NOT NULL DEFAULT 0,
    removed_us INTEGER NOT NULL DEFAULT 0,
    paused_us INTEGER NOT NULL DEFAULT 0,
    parking INTEGER NOT NULL DEFAULT 0,
    parked_us INTEGER NOT NULL DEFAULT 0,
    parked_cause TEXT NOT NULL DEFAULT '',
    selection TEXT NOT NULL DEFAULT '',
    updates INTEGER NOT NULL DEFAULT 0,
    paused_by TEXT NOT NULL DEFAULT '',
    paused_reason TEXT NOT NULL DEFAULT '',
    proper_sent_us INTEGER NOT NULL DEFAULT 0,
    proper_us INTEGER NOT NULL DEFAULT 0,
    restoring INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The scopes whose objects an endpoint must still be compared with, and the last (namespace, name) that is done.
CREATE TABLE catch_ups (
    endpoint INTEGER NOT NULL,
    api_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    after_namespace TEXT NOT NULL DEFAULT '',
    after_name TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (endpoint, api_group, kind, namespace)
) STRICT, WITHOUT ROWID;

-- The key by which events are ordered. bucket: first byte of SHA-256(partition key) modulo 64.
CREATE TABLE order_keys (
    id INTEGER PRIMARY KEY,
    api_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    UNIQUE (api_group, kind, namespace, name)
) STRICT;

-- What one endpoint has been sent about one object. id: order key << 12 | endpoint. written: the last sequence that was
-- written for it and the state of the object then (uid NULL: absent); accepted: the same of the event with the highest
-- sequence that the endpoint accepted. open: its open deliveries. ready: the id of the one that may be sent; 0: none.
CREATE TABLE views (
    id INTEGER PRIMARY KEY,
    written INTEGER NOT NULL,
    written_uid ANY,
    written_value TEXT,
    accepted INTEGER NOT NULL DEFAULT 0,
    accepted_uid ANY,
    accepted_value TEXT,
    open INTEGER NOT NULL DEFAULT 0,
    ready INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row per endpoint, for each of 64 buckets of objects: the sum modulo 2^128 of the first 16 bytes of
-- SHA-256(uid, NUL, value) of the accepted states that are present (16 bytes, big-endian).
CREATE TABLE digests (
    endpoint INTEGER PRIMARY KEY,
    buckets BLOB NOT NULL
) STRICT;

DROP TRIGGER objects_counted_in;
DROP TRIGGER objects_counted_over;
DROP TRIGGER objects_counted_out;
DROP TRIGGER deliveries_counted_in;
DROP TRIGGER deliveries_counted_over;
DROP TRIGGER deliveries_counted_out;
ALTER TABLE objects RENAME TO old_objects;
ALTER TABLE events RENAME TO old_events;
ALTER TABLE deliveries RENAME TO old_deliveries;
ALTER TABLE attempts RENAME TO old_attempts;
ALTER TABLE suspects RENAME TO old_suspects;
ALTER TABLE actions RENAME TO old_actions;

CREATE TABLE objects (
    uid ANY NOT NULL PRIMARY KEY,
    key INTEGER NOT NULL,
    api_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
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

-- A sequence is never used twice. id and uid: 16 bytes if it is a UUID in its canonical form, else the text. endpoint: the
-- one for which the event was written alone, by its catch-up; 0: it is for all that select it.
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id ANY NOT NULL,
    key INTEGER NOT NULL,
    uid ANY NOT NULL,
    api_version TEXT NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('created', 'updated', 'deleted')),
    cause TEXT NOT NULL,
    source TEXT NOT NULL,
    detected_us INTEGER NOT NULL,
    committed_us INTEGER NOT NULL,
    data TEXT NOT NULL,
    endpoint INTEGER NOT NULL DEFAULT 0
) STRICT;

-- id: sequence << 12 | endpoint. previous: the sequence that was written before for the same endpoint and key. The last
-- columns are the last request of this generation; started_us NULL: none, or its record is in `attempts`. background: of
-- a catch-up, so that it yields to others. refused_us: when it was refused with a status that may park its endpoint, and
-- refused_first: 1 if that was the first refusal of its object. restores: generations that a restore began.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    endpoint INTEGER NOT NULL,
    key INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'ready', 'delivered', 'failed', 'discarded')),
    generation INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    next_attempt_us INTEGER NOT NULL DEFAULT 0,
    last_tried_us INTEGER NOT NULL DEFAULT 0,
    settled_us INTEGER NOT NULL DEFAULT 0,
    forgiven INTEGER NOT NULL DEFAULT 0,
    out_of_order INTEGER NOT NULL DEFAULT 0,
    delivered_us INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    status INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    started_us INTEGER,
    duration_us INTEGER NOT NULL DEFAULT 0,
    counted INTEGER NOT NULL DEFAULT 0,
    request_id TEXT NOT NULL DEFAULT '',
    background INTEGER NOT NULL DEFAULT 0,
    refused_us INTEGER NOT NULL DEFAULT 0,
    refused_first INTEGER NOT NULL DEFAULT 0,
    restores INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Requests that are not, or not completely, in the row of their delivery.
CREATE TABLE attempts (
    delivery INTEGER NOT NULL,
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

CREATE TABLE suspects (
    delivery INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    deaths INTEGER NOT NULL,
    life TEXT NOT NULL,
    not_before_us INTEGER NOT NULL
) STRICT;

CREATE TABLE actions (
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- The endpoint of all deliveries bears the name of the newest one.
INSERT INTO endpoints (id, name)
SELECT 1, coalesce((SELECT endpoint FROM old_deliveries ORDER BY id DESC LIMIT 1), 'default')
WHERE EXISTS (SELECT 1 FROM meta);

INSERT INTO order_keys (api_group, kind, namespace, name, bucket)
SELECT api_group, kind, namespace, name, bucket_of(api_group, kind, namespace, name) FROM (
    SELECT api_group, kind, namespace, name FROM old_objects
    UNION SELECT substr(subject, 1, instr(subject, '/') - 1), kind, namespace, name FROM old_events
);
CREATE TEMP TABLE keys_of (sequence INTEGER PRIMARY KEY, key INTEGER NOT NULL);
INSERT INTO keys_of (sequence, key)
SELECT e.sequence, k.id FROM old_events e JOIN order_keys k
    ON k.api_group = substr(e.subject, 1, instr(e.subject, '/') - 1) AND k.kind = e.kind
    AND k.namespace = e.namespace AND k.name = e.name;

INSERT INTO objects
SELECT packed(o.uid), k.id, o.api_group, o.kind, o.namespace, o.state, o.epoch, o.resource_version, o.judged_by,
    o.accepted_by, o.value, o.labels, o.annotations, o.changed_us
FROM old_objects o JOIN order_keys k USING (api_group, kind, namespace, name);

INSERT INTO events
SELECT e.sequence, packed(e.id), m.key, packed(e.uid), e.api_version, e.type, e.cause, e.source, e.detected_us,
    e.committed_us, e.data, 0
FROM old_events e JOIN keys_of m USING (sequence) ORDER BY e.sequence;

-- The last request belongs into the row of its delivery, unless a verdict of another request replaced its result.
CREATE TEMP TABLE last_of (old INTEGER PRIMARY KEY, new INTEGER NOT NULL);
INSERT INTO last_of SELECT id, sequence << 12 | 1 FROM old_deliveries;
INSERT OR IGNORE INTO deliveries
SELECT d.sequence << 12 | 1, 1, m.key, e.previous, d.state, d.generation, d.attempts, d.requests, d.next_attempt_us,
    d.last_tried_us, d.settled_us, d.forgiven, d.out_of_order, d.delivered_us, d.reason, d.last_code, d.last_status,
    d.last_error, a.started_us, coalesce(a.duration_us, 0), coalesce(a.counted, 0), coalesce(a.request_id, ''), 0, 0, 0, 0
FROM old_deliveries d JOIN keys_of m USING (sequence) JOIN old_events e USING (sequence) LEFT JOIN old_attempts a
    ON a.delivery = d.id AND a.generation = d.generation AND a.attempt = d.requests AND a.code = d.last_code
    AND a.status = d.last_status AND a.error = d.last_error
ORDER BY d.sequence, d.id;
INSERT OR IGNORE INTO attempts
SELECT l.new, a.generation, a.attempt, a.started_us, a.duration_us, a.code, a.status, a.error, a.counted, a.request_id
FROM old_attempts a JOIN last_of l ON l.old = a.delivery JOIN deliveries d ON d.id = l.new
WHERE d.started_us IS NULL OR a.generation <> d.generation OR a.attempt <> d.requests
ORDER BY a.delivery, a.generation, a.attempt;
INSERT OR IGNORE INTO suspects
SELECT l.new, s.generation, s.deaths, s.life, s.not_before_us FROM old_suspects s JOIN last_of l ON l.old = s.delivery;
INSERT INTO actions
SELECT a.id, l.new, a.generation, a.at_us, a.action, a.actor, a.reason
FROM old_actions a JOIN last_of l ON l.old = a.delivery ORDER BY a.id;

UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'old_events'), 0))
WHERE name = 'events';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'events', seq FROM sqlite_sequence
WHERE name = 'old_events' AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'events');

DROP TABLE old_actions;
DROP TABLE old_suspects;
DROP TABLE old_attempts;
DROP TABLE old_deliveries;
DROP TABLE old_events;
DROP TABLE old_objects;
DROP TABLE temp.keys_of;
DROP TABLE temp.last_of;

CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE INDEX events_of_key ON events (key);
CREATE INDEX actions_of_delivery ON actions (delivery, id);
CREATE INDEX objects_of_key ON objects (key);
CREATE INDEX objects_present ON objects (api_group, kind, namespace) WHERE state <> 'gone';
CREATE INDEX objects_gone ON objects (changed_us, uid) WHERE state = 'gone';
CREATE INDEX deliveries_fresh ON deliveries (endpoint) WHERE state = 'ready' AND requests = 0 AND background = 0;
CREATE INDEX deliveries_background ON deliveries (endpoint) WHERE state = 'ready' AND requests = 0 AND background = 1;
CREATE INDEX deliveries_queued ON deliveries (key, endpoint) WHERE state = 'queued';
CREATE INDEX deliveries_due ON deliveries (endpoint, next_attempt_us) WHERE state = 'ready' AND requests > 0;
CREATE INDEX deliveries_refused ON deliveries (endpoint, refused_us) WHERE state = 'failed' AND refused_us > 0;
CREATE INDEX deliveries_tried ON deliveries (endpoint, last_tried_us) WHERE state = 'ready' AND requests > 0;

-- The same rows for people who look into the file.
CREATE VIEW readable_objects AS
SELECT CASE WHEN typeof(o.uid) = 'blob' THEN lower(substr(hex(o.uid), 1, 8) || '-' || substr(hex(o.uid), 9, 4) || '-'
    || substr(hex(o.uid), 13, 4) || '-' || substr(hex(o.uid), 17, 4) || '-' || substr(hex(o.uid), 21)) ELSE o.uid END
    AS uid, o.api_group, o.kind, o.namespace, k.name, o.state, o.epoch, o.resource_version, o.judged_by, o.accepted_by,
    o.value, o.labels, o.annotations, o.changed_us
FROM objects o JOIN order_keys k ON k.id = o.key;

CREATE VIEW readable_events AS
SELECT e.sequence, CASE WHEN typeof(e.id) = 'blob' THEN lower(substr(hex(e.id), 1, 8) || '-' || substr(hex(e.id), 9, 4)
    || '-' || substr(hex(e.id), 13, 4) || '-' || substr(hex(e.id), 17, 4) || '-' || substr(hex(e.id), 21)) ELSE e.id END
    AS id, k.api_group || '/' || k.kind || '/' || k.namespace || '/' || k.name AS subject,
    CASE WHEN typeof(e.uid) = 'blob' THEN lower(substr(hex(e.uid), 1, 8) || '-' || substr(hex(e.uid), 9, 4) || '-'
    || substr(hex(e.uid), 13, 4) || '-' || substr(hex(e.uid), 17, 4) || '-' || substr(hex(e.uid), 21)) ELSE e.uid END
    AS uid, e.api_version, k.api_group, k.kind, k.namespace, k.name, e.type, e.cause, e.source, e.detected_us,
    e.committed_us, e.data
FROM events e JOIN order_keys k ON k.id = e.key;

CREATE VIEW readable_deliveries AS
SELECT d.id, d.id >> 12 AS sequence, p.name AS endpoint, k.api_group || '/' || k.kind || '/' || k.namespace || '/'
    || k.name AS subject, d.previous, d.state, d.generation, d.attempts, d.requests, d.next_attempt_us,
    d.last_tried_us, d.forgiven, d.code AS last_code, d.status AS last_status, d.error AS last_error, d.settled_us,
    d.out_of_order, d.reason, d.delivered_us
FROM deliveries d JOIN order_keys k ON k.id = d.key JOIN endpoints p ON p.id = d.endpoint;

CREATE VIEW readable_attempts AS
SELECT delivery, generation, attempt, started_us, duration_us, code, status, error, counted, request_id FROM attempts
UNION ALL
SELECT id, generation, requests, started_us, duration_us, code, status, error, counted, request_id FROM deliveries
WHERE started_us IS NOT NULL;

-- A tracked object without events: its endpoint knows it.
INSERT INTO views (id, written, written_uid, written_value, accepted, accepted_uid, accepted_value)
SELECT o.key << 12 | 1, 0, o.uid, as_sent(o.value), 0, o.uid, as_sent(o.value) FROM objects o
WHERE o.state = 'tracked' AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.key = o.key)
AND EXISTS (SELECT 1 FROM endpoints)
ON CONFLICT DO NOTHING;

-- What follows from the rows above: views, digests and counts. Only delivered and discarded events were pruned, so that a
-- missing `previous` counts as accepted; its state is then that of the last event that is known to be accepted.
INSERT INTO views (id, written, written_uid, written_value, accepted, accepted_uid, accepted_value, open, ready)
SELECT l.key << 12 | l.endpoint, w.sequence, CASE WHEN w.type <> 'deleted' THEN w.uid END,
    CASE WHEN w.type <> 'deleted' THEN coalesce(json_extract(w.data, '$.resource.annotationValue'), '') END,
    max(l.accepted, l.pruned), CASE WHEN a.type <> 'deleted' THEN a.uid END,
    CASE WHEN a.type <> 'deleted' THEN coalesce(json_extract(a.data, '$.resource.annotationValue'), '') END,
    l.open, l.ready
FROM (
    SELECT d.endpoint, d.key, max(d.id) >> 12 AS written,
        coalesce(max(d.id) FILTER (WHERE d.state = 'delivered' OR d.delivered_us > 0), 0) >> 12 AS accepted,
        sum(d.state IN ('queued', 'ready')) AS open,
        coalesce(max(d.id) FILTER (WHERE d.state = 'ready'), 0) AS ready,
        coalesce(max(d.previous) FILTER (WHERE d.previous > 0 AND NOT EXISTS
            (SELECT 1 FROM deliveries p WHERE p.id = d.previous << 12 | d.endpoint)), 0) AS pruned
    FROM deliveries d GROUP BY d.endpoint, d.key
) l JOIN events w ON w.sequence = l.written
LEFT JOIN events a ON a.sequence = iif(l.pruned > l.accepted AND EXISTS
    (SELECT 1 FROM events x WHERE x.sequence = l.pruned), l.pruned, l.accepted);
INSERT INTO digests (endpoint, buckets)
SELECT v.id & 4095, digest_of(k.bucket, v.accepted_uid, v.accepted_value)
FROM views v JOIN order_keys k ON k.id = v.id >> 12 GROUP BY v.id & 4095;
DELETE FROM counts;
INSERT INTO counts (what, name, state, number) SELECT 'objects', kind, state, count(*) FROM objects GROUP BY kind, state;
INSERT INTO counts (what, name, state, number)
SELECT 'deliveries', CAST(endpoint AS TEXT), state, count(*) FROM deliveries GROUP BY endpoint, state;
