-- Deliveries whose request was in flight when the notifier died, without a response since. `life` is the notifier of
-- the last death that was counted; a redelivered one (another generation) starts again.
CREATE TABLE suspects (
    delivery INTEGER PRIMARY KEY REFERENCES deliveries (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    deaths INTEGER NOT NULL,
    life TEXT NOT NULL,
    not_before_us INTEGER NOT NULL
) STRICT;
