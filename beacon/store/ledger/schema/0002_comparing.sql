-- pruned is the highest resourceVersion among the scope's object rows that were removed in this epoch: a list from before
-- it can't be compared with what is left. compared_us is the last instant at which a list or a comparison found the scope
-- whole; 0: never.
ALTER TABLE cursors ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cursors ADD COLUMN compared_us INTEGER NOT NULL DEFAULT 0;
