"""The store: sole owner of the ledger. It takes requests over the bus and answers after the commit."""
