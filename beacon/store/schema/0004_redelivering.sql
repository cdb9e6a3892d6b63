-- Set by an operator: redelivered whatever has been delivered since, and why somebody gave a delivery up.
ALTER TABLE deliveries ADD COLUMN out_of_order INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN reason TEXT NOT NULL DEFAULT '';
