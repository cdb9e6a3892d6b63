-- Indexes for pruning.
CREATE INDEX objects_gone ON objects (changed_us, uid) WHERE state = 'gone';

-- Offset of the wall clock from the time since boot, and the jumps that Beacon observed (positive: forward).
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot TEXT NOT NULL,
    offset_us INTEGER NOT NULL
) STRICT;

CREATE TABLE jumps (
    at_us INTEGER NOT NULL,
    by_us INTEGER NOT NULL
) STRICT;
