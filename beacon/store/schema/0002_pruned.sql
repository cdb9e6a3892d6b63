-- The highest resourceVersion of an object's row that the cleaner removed, in the cursor's epoch: whoever compares with a
-- list below it can't tell "never known" from "forgotten".
ALTER TABLE cursors ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;

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
