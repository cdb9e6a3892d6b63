-- Set by an operator: redeliver even after later events of the object, and the reason of a discard.
ALTER TABLE deliveries ADD COLUMN out_of_order INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN reason TEXT NOT NULL DEFAULT '';
-- When an earlier generation was delivered, 0 if none was: the receiver has that event.
ALTER TABLE deliveries ADD COLUMN delivered_us INTEGER NOT NULL DEFAULT 0;

-- 1: this file is a copy of a ledger that is still in use; it gets another id when it is served.
ALTER TABLE meta ADD COLUMN copied INTEGER NOT NULL DEFAULT 0;
