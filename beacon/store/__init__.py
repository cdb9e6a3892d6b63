"""The store: sole owner of the ledger. It receives requests over the bus and replies after the commit.

May import `runtime`, `bus`, `wire` and below; no other process. `database` is the only user of apsw. Start reading at
`service.StoreService.process`, then `watch_positions` and `journal` (observations to events), `deliveries` (claims).
"""
