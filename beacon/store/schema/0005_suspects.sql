-- Deliveries whose request was under way when the notifier died, and has had no answer since. `life` is the notifier of
-- the last death that was counted; a redelivered one (another generation) begins anew.
CREATE TABLE suspects (
    delivery INTEGER PRIMARY KEY REFERENCES deliveries (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    deaths INTEGER NOT NULL,
    life TEXT NOT NULL,
    not_before_us INTEGER NOT NULL
) STRICT;
