-- What the cleaner looks through.
CREATE INDEX objects_gone ON objects (changed_us, uid) WHERE state = 'gone';

-- How the wall clock stood to the time since boot, and by how much it was set while Beacon looked (positive: forward).
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot TEXT NOT NULL,
    offset_us INTEGER NOT NULL
) STRICT;

CREATE TABLE jumps (
    at_us INTEGER NOT NULL,
    by_us INTEGER NOT NULL
) STRICT;
