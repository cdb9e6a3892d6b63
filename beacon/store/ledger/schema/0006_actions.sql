-- What operators did to deliveries, the latest few of each. actor is the caller's own statement: no proof of identity.
CREATE TABLE actions (
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE INDEX actions_of_delivery ON actions (delivery, id);
